"""Content-Encoding is undone whole or not called whole: real streams, every cut of them, bombs and rubbish."""

from __future__ import annotations

import gzip
import pathlib
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cormorant.messages import Kind
from cormorant.transport.decode import CHUNK, MAX_MEMBERS, Decoded, decode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data" / "compressed"
with_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/compressed is absent")

TEXT = "".join(f"<p>line {number}: grüße, 你好</p>\n" for number in range(60)).encode()
NOISE = b"".join(b"%d %d;" % (n * n, n**3) for n in range(40_000))
MEBIBYTE = 1 << 20


def bare(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


def quick_br(data: bytes) -> bytes:
    return brotli.compress(data, quality=5)


def checked_zstd(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


def full_gzip(data: bytes) -> bytes:
    """Build a gzip member with every optional header field."""
    header = b"\x1f\x8b\x08\x1f" + bytes(6) + struct.pack("<H", 5) + b"extra" + b"name\0" + b"comment\0" + b"\x12\x34"
    return header + bare(data) + struct.pack("<II", zlib.crc32(data), len(data))


STREAMS = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "gzip-every-header-field": ("x-gzip", full_gzip(TEXT)),
    "gzip-of-nothing": ("gzip", gzip.compress(b"")),
    "deflate-zlib": ("deflate", zlib.compress(TEXT)),
    "deflate-bare": ("deflate", bare(TEXT)),
    "br": ("br", brotli.compress(TEXT)),
    "zstd": ("zstd", zstd.compress(TEXT)),
    "zstd-checksum": ("zstd", checked_zstd(TEXT)),
    "chain": ("gzip, br", brotli.compress(gzip.compress(TEXT))),
}
PLAIN = {
    "html": b"<!DOCTYPE html><title>no coding here</title>",
    "json": b'{"a": [1, 2, 3], "b": "no coding here"}',
    "text": b"hello, this was never compressed at all.\n" * 20,
    "like-cut-br": b'\nxnameida  the ""xhellohello  :  }',
    "like-cut-deflate": b":2  {]]:2the\n\n[1a}x nullworld",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
}
CODINGS = ["gzip", "x-gzip", "deflate", "br", "zstd", "identity", "", "foo", "gzip, br", "deflate,zstd", "br, br, br"]
each_stream = pytest.mark.parametrize(("coding", "raw"), STREAMS.values(), ids=STREAMS.keys())


def expected(name: str) -> bytes:
    return b"" if name == "gzip-of-nothing" else TEXT


@pytest.mark.parametrize("name", STREAMS)
def test_a_whole_stream_gives_its_body(name: str) -> None:
    coding, raw = STREAMS[name]
    assert decode(raw, coding, 0) == Decoded(body=expected(name))


@pytest.mark.parametrize("name", STREAMS)
def test_chunks_are_one_body(name: str) -> None:
    coding, raw = STREAMS[name]
    chunks = [raw[at : at + 7] for at in range(0, len(raw), 7)]
    assert decode(chunks, coding.upper(), len(TEXT)) == Decoded(body=expected(name))


@each_stream
def test_every_cut_is_truncated_and_keeps_what_came(coding: str, raw: bytes) -> None:
    for size in range(1, len(raw)):
        decoded = decode(raw[:size], coding, 0)
        assert decoded.problem is Kind.TRUNCATED, size
        assert TEXT.startswith(decoded.body), size
        assert decoded.message


@pytest.mark.parametrize("size", range(CHUNK - 20, CHUNK + 300, 9))
def test_output_that_waits_inside_the_decoder_is_taken(size: int) -> None:
    assert decode(bare(b"ab" * size), "deflate", 0) == Decoded(body=b"ab" * size)


@pytest.mark.parametrize("name", [name for name in STREAMS if name not in ("gzip-of-nothing", "chain")])
def test_a_late_cut_keeps_most_of_the_body(name: str) -> None:
    coding, raw = STREAMS[name]
    big = {"gzip": gzip.compress, "x-gzip": full_gzip, "br": quick_br}.get(coding)
    raw = big(NOISE) if big else {"deflate-zlib": zlib.compress, "deflate-bare": bare}.get(name, zstd.compress)(NOISE)
    decoded = decode(raw[:-1], coding, 0)
    assert decoded.problem is Kind.TRUNCATED
    assert len(decoded.body) > len(NOISE) * 0.8
    assert NOISE.startswith(decoded.body)


@pytest.mark.parametrize("tail", [b"\0", bytes(2000), b"rubbish", b"<!-- served in 3 ms -->", b"\r\n"])
@each_stream
def test_rubbish_after_the_end_is_left_out(coding: str, raw: bytes, tail: bytes) -> None:
    body = decode(raw, coding, 0).body
    assert decode(raw + tail, coding, 0) == Decoded(body=body)


def test_rubbish_after_a_long_br_stream_is_left_out() -> None:
    assert decode(quick_br(NOISE) + b"rubbish", "br", 0) == Decoded(body=NOISE)


@pytest.mark.parametrize(
    ("coding", "member", "padding"),
    [("gzip", gzip.compress, b""), ("gzip", gzip.compress, bytes(512)), ("zstd", checked_zstd, b"")],
    ids=["gzip", "gzip-padded", "zstd"],
)
def test_members_are_one_body(coding: str, member: Callable[[bytes], bytes], padding: bytes) -> None:
    first, second = member(TEXT[:1000]), member(TEXT[1000:])
    assert decode(first + padding + second, coding, 0) == Decoded(body=TEXT)
    for size in range(1, len(second)):
        assert decode(first + padding + second[:size], coding, 0).problem is Kind.TRUNCATED, size


def test_skippable_zstd_frames_are_skipped() -> None:
    skippable = b"\x5a\x2a\x4d\x18" + struct.pack("<I", 4) + b"meta"
    assert decode(skippable + zstd.compress(TEXT) + skippable, "zstd", 0) == Decoded(body=TEXT)
    assert decode(zstd.compress(TEXT) + skippable[:-1], "zstd", 0).problem is Kind.TRUNCATED


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_endless_empty_members_end(coding: str) -> None:
    member = gzip.compress(b"") if coding == "gzip" else b"\x50\x2a\x4d\x18\0\0\0\0"
    assert decode(member * (MAX_MEMBERS + 1), coding, 0).problem is Kind.PROTOCOL


@pytest.mark.parametrize(
    ("coding", "raw"),
    [("gzip", gzip.compress(TEXT)), ("deflate", zlib.compress(TEXT)), ("zstd", checked_zstd(TEXT))],
    ids=["gzip", "deflate", "zstd"],
)
def test_a_wrong_checksum_is_truncated(coding: str, raw: bytes) -> None:
    at = -5 if coding == "gzip" else -1
    damaged = bytearray(raw)
    damaged[at] ^= 1
    decoded = decode(bytes(damaged), coding, 0)
    assert decoded.problem is Kind.TRUNCATED
    assert "checksum" in (decoded.message or "")
    if coding != "zstd":
        assert decoded.body == TEXT


def test_a_wrong_length_is_truncated() -> None:
    raw = gzip.compress(TEXT)
    assert decode(raw[:-1] + b"\x7f", "gzip", 0).problem is Kind.TRUNCATED


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_damage_in_the_middle_is_a_protocol_problem(coding: str) -> None:
    whole = {"gzip": gzip.compress, "deflate": zlib.compress, "br": quick_br, "zstd": zstd.compress}[coding](NOISE)
    damaged = whole[: len(whole) // 2] + b"\xff" * 64 + whole[len(whole) // 2 + 64 :]
    decoded = decode(damaged, coding, 0)
    assert decoded.problem in (Kind.PROTOCOL, Kind.TRUNCATED)
    assert decoded.body[:1000] == NOISE[:1000]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
@pytest.mark.parametrize("body", PLAIN.values(), ids=PLAIN.keys())
def test_a_body_that_was_never_coded_is_kept(coding: str, body: bytes) -> None:
    assert decode(body, coding, 0) == Decoded(body=body)


@pytest.mark.parametrize("coding", [None, "", "identity", " , identity,", "foo", "utf-8", "gzip, foo"])
def test_nothing_to_undo_leaves_the_body(coding: str | None) -> None:
    raw = gzip.compress(TEXT)
    assert decode(raw, coding, 0) == Decoded(body=raw)
    assert decode([raw[:9], raw[9:]], coding, 0) == Decoded(body=raw)


def test_a_chain_is_undone_up_to_the_coding_we_do_not_know() -> None:
    raw = gzip.compress(TEXT)
    assert decode(brotli.compress(raw), "foo, br", 0) == Decoded(body=raw)


@pytest.mark.parametrize("coding", CODINGS)
def test_an_empty_body_is_empty(coding: str) -> None:
    assert decode(b"", coding, 10) == decode([], coding, 0) == Decoded(body=b"")


def test_five_codings_are_undone_and_six_are_not() -> None:
    raw = TEXT
    for _ in range(5):
        raw = gzip.compress(raw)
    assert decode(raw, ",".join(["gzip"] * 5), 0) == Decoded(body=TEXT)
    six = decode(gzip.compress(raw), ",".join(["gzip"] * 6), 0)
    assert six.problem is Kind.PROTOCOL
    assert "6 content codings" in (six.message or "")


@pytest.mark.parametrize("name", [name for name in STREAMS if name != "gzip-of-nothing"])
def test_the_limit_counts_decoded_bytes(name: str) -> None:
    coding, raw = STREAMS[name]
    assert decode(raw, coding, len(TEXT)) == Decoded(body=TEXT)
    late = decode(raw, coding, len(TEXT) - 1)
    assert (late.body, late.problem) == (b"", Kind.TOO_LARGE)


def test_the_limit_holds_without_a_coding() -> None:
    assert decode(TEXT, None, len(TEXT)).problem is None
    assert decode([TEXT, b"!"], None, len(TEXT)) == Decoded(
        body=b"",
        problem=Kind.TOO_LARGE,
        message=f"the body is larger than {len(TEXT):,} bytes; max_body raises the limit",
    )


@pytest.mark.parametrize("limit", [MEBIBYTE, 4 * MEBIBYTE])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_a_bomb_takes_no_more_memory_than_the_limit(coding: str, limit: int) -> None:
    zeros = bytes(64 * MEBIBYTE)
    raw = {
        "gzip": gzip.compress,
        "deflate": bare,
        "br": lambda data: brotli.compress(data, quality=1),
        "zstd": zstd.compress,
        "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)),
    }[coding](zeros)
    del zeros
    tracemalloc.start()
    decoded = decode(raw, coding, limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (decoded.body, decoded.problem) == (b"", Kind.TOO_LARGE)
    assert peak < limit * 1.25 + 8 * CHUNK


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(CODINGS), st.sampled_from([0, 1, 100]))
def test_any_bytes_give_an_answer(raw: bytes, coding: str, limit: int) -> None:
    decoded = decode(raw, coding, limit)
    assert decoded.problem in (None, Kind.TRUNCATED, Kind.PROTOCOL, Kind.TOO_LARGE)
    assert (decoded.problem is None) == (decoded.message is None)
    assert not limit or len(decoded.body) <= limit


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(STREAMS)), st.integers(0, 10_000), st.integers(1, 255), st.binary(max_size=9))
def test_a_damaged_stream_gives_an_answer(name: str, at: int, flip: int, tail: bytes) -> None:
    coding, raw = STREAMS[name]
    damaged = bytearray(raw)
    damaged[at % len(raw)] ^= flip
    decoded = decode(bytes(damaged) + tail, coding, MEBIBYTE)
    assert (decoded.problem is None) == (decoded.message is None)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000), st.lists(st.sampled_from(["gzip", "deflate", "br", "zstd"]), max_size=5))
def test_what_was_coded_comes_back(body: bytes, codings: list[str]) -> None:
    coders = {"gzip": gzip.compress, "deflate": zlib.compress, "br": quick_br, "zstd": zstd.compress}
    raw = body
    for coding in codings:
        raw = coders[coding](raw)
    assert decode(raw, ", ".join(codings), 0) == Decoded(body=body)


@with_data
@pytest.mark.parametrize(
    ("name", "coding"),
    [
        ("html-gzip.bin", "gzip"),
        ("html-br.bin", "br"),
        ("html-rawdeflate.bin", "deflate"),
        ("html-zlibdeflate.bin", "deflate"),
        ("html-zstd-static-content-size.bin", "zstd"),
        ("html-zstd-static-no-content-size.bin", "zstd"),
        ("html-zstd-streaming-no-content-size.bin", "zstd"),
        ("html-gzip-deflate.bin", "gzip, deflate"),
        ("html-gzip-deflate-gzip.bin", "gzip, deflate, gzip"),
    ],
)
def test_streams_of_others(name: str, coding: str) -> None:
    raw = (DATA / name).read_bytes()
    whole = decode(raw, coding, MEBIBYTE)
    assert whole.problem is None
    assert whole.body.rstrip().endswith(b"</html>")
    for size in range(1, len(raw), 1 + len(raw) // 500):
        assert decode(raw[:size], coding, MEBIBYTE).problem is Kind.TRUNCATED, size


@with_data
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_bombs_of_others(coding: str) -> None:
    raw = (DATA / f"bomb-{coding}.bin").read_bytes()
    assert decode(raw, coding, MEBIBYTE).problem is Kind.TOO_LARGE


@with_data
@pytest.mark.parametrize("name", ["truncated-crc-error.gz", "truncated-crc-error-short.gz", "unexpected-eof.gz"])
def test_broken_streams_of_others_keep_their_page(name: str) -> None:
    decoded = decode((DATA / name).read_bytes(), "gzip", MEBIBYTE)
    assert decoded.problem is Kind.TRUNCATED
    if name == "unexpected-eof.gz":
        assert decoded.body.decode("latin-1") == (DATA / "unexpected-eof-output.txt").read_text("utf-8")
    else:
        assert decoded.body.rstrip(b">\n").endswith(b"</html")
