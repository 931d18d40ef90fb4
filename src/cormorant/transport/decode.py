"""Undoes Content-Encoding: raw bytes as received in, the page's body out. For both transports.

Laws: never raises, whatever the bytes; holds at most `max_bytes` and one chunk of output (a chain: of two
links at once); a body counts as whole only when its coding says so, end mark and checksum included; a body that
plainly is not in the coding its header names is kept as it is.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from cormorant.messages import Kind

CHUNK = 64 * 1024
MAX_CODINGS = 5
# Members and frames cost time without giving output: 10,000 are 640 MB of the usual 64 KiB blocks.
MAX_MEMBERS = 10_000
ZSTD_WINDOW_LOG = 23  # 8 MiB, the most that RFC 9659 allows in HTTP

_SLICE = 16 * 1024  # decoders copy what is left of their input: small slices keep a bomb linear
_GZIP_MAGIC = b"\x1f\x8b"
# A frame's magic number, a skippable frame's, or the beginning of one where the bytes end.
_ZSTD_START = re.compile(
    rb"\x28(?:\Z|\xb5(?:\Z|\x2f(?:\Z|\xfd)))|[\x50-\x5f](?:\Z|\x2a(?:\Z|\x4d(?:\Z|\x18)))", re.DOTALL
)
_ZEROS = re.compile(rb"\0*")
# Compressed data begins so once in five million times; an HTML page or JSON text always does.
_PLAIN = re.compile(rb"[\t\n\r\x20-\x7e]{16}")
_BROTLI_LIMIT = CHUNK // 2  # the library's blocks are 32 KiB, then 64 KiB, and it overshoots by one
_CUT = "the body ends before its {} stream does"
_TOO_LARGE = "the body is larger than {:,} bytes; max_body raises the limit"
_DAMAGED = "the {} stream is damaged"


class Decoded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A body with its Content-Encoding undone; `problem` (with `message`) says why it is not the whole one.

    truncated   the stream ends early or its checksum is wrong; `body` holds what came
    protocol    the stream is damaged or the header is absurd; `body` holds what could be read
    too_large   more than the limit; `body` is empty
    """

    body: bytes
    problem: Kind | None = None
    message: str | None = None


class _Problem(Exception):
    """Ends one coding: `kind` None means that the body is not in this coding at all."""

    def __init__(self, kind: Kind | None, message: str = "") -> None:
        self.kind = kind
        self.message = message


class _Output(io.BytesIO):
    """What one coding gave so far, never more than `limit` (0: any) and one chunk."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def add(self, chunk: bytes) -> None:
        self.write(chunk)
        if self.limit and self.tell() > self.limit:
            raise _Problem(Kind.TOO_LARGE, _TOO_LARGE.format(self.limit))

    def clear(self) -> None:
        self.seek(0)
        self.truncate()


def decode(raw: bytes | Sequence[bytes], encodings: str | None, max_bytes: int) -> Decoded:
    """Undo `encodings` (the Content-Encoding value; several are undone from right to left) on `raw`.

    `max_bytes` bounds the result; 0 means no limit. A coding we do not know ends the work: the body stays as it is.
    """
    body = raw if isinstance(raw, bytes) else b"".join(raw)
    codings = [name.strip().lower() for name in encodings.split(",")] if encodings and body else []
    codings = [name for name in codings if name not in ("", "identity")]
    problem: _Problem | None = None
    if len(codings) > MAX_CODINGS:
        problem = _Problem(Kind.PROTOCOL, f"{len(codings)} content codings; at most {MAX_CODINGS} are undone")
        codings = []
    for coding in reversed(codings):
        if coding not in _UNDO:
            break
        body, trouble = _undo(coding, body, max_bytes)
        if trouble is not None and (problem is None or trouble.kind is Kind.TOO_LARGE):
            problem = trouble
        if not body:
            break
    if max_bytes and len(body) > max_bytes:
        body, problem = b"", _Problem(Kind.TOO_LARGE, _TOO_LARGE.format(max_bytes))
    return Decoded(body=body) if problem is None else Decoded(body=body, problem=problem.kind, message=problem.message)


def _undo(coding: str, body: bytes, limit: int) -> tuple[bytes, _Problem | None]:
    output = _Output(limit)
    try:
        _UNDO[coding](body, output)
    except _Problem as problem:
        if problem.kind is None:
            return body, None
        return b"" if problem.kind is Kind.TOO_LARGE else output.getvalue(), problem
    return output.getvalue(), None


def _gzip(raw: bytes, output: _Output) -> None:
    """Read gzip members one after another (RFC 1952), zero padding between them, rubbish after the last."""
    if not _GZIP_MAGIC.startswith(raw[:2]):
        raise _Problem(None)
    at = 0
    for _ in range(MAX_MEMBERS):
        at = _inflate(raw, _after_gzip_header(raw, at), output, _GZIP)
        padding = _ZEROS.match(raw, at)
        at = padding.end() if padding else at
        rest = raw[at : at + 2]
        if not rest or not _GZIP_MAGIC.startswith(rest):
            return
    raise _Problem(Kind.PROTOCOL, f"more than {MAX_MEMBERS} gzip members")


def _after_gzip_header(raw: bytes, at: int) -> int:
    """Return where the member's deflate stream begins (RFC 1952, 2.3)."""
    method, flags = raw[at + 2 : at + 4] if len(raw) >= at + 10 else b"\x08\x00"
    at += 10
    if method != 8 or flags & 0xE0:
        raise _Problem(Kind.PROTOCOL, _DAMAGED.format("gzip"))
    if flags & 4:
        at += 2 + int.from_bytes(raw[at : at + 2], "little")
    for named in (8, 16):
        if flags & named:
            end = raw.find(b"\0", at)
            at = end + 1 if end >= 0 else len(raw) + 1
    at += flags & 2
    if at > len(raw):
        raise _Problem(Kind.TRUNCATED, _CUT.format("gzip"))
    return at


class _Trailer(NamedTuple):
    """What follows a deflate stream: `size` bytes that must equal `packed(checksum, length)`."""

    name: str
    size: int
    start: int
    update: Callable[[bytes, int], int]
    packed: Callable[[int, int], bytes]


_GZIP = _Trailer("gzip", 8, 0, zlib.crc32, lambda crc, length: struct.pack("<II", crc, length & 0xFFFFFFFF))
_ZLIB = _Trailer("deflate", 4, 1, zlib.adler32, lambda adler, _: struct.pack(">I", adler))
_BARE = _Trailer("deflate", 0, 0, lambda _, __: 0, lambda _, __: b"")


def _inflate(raw: bytes, at: int, output: _Output, trailer: _Trailer) -> int:
    """Inflate the raw deflate stream at `at`, check its trailer and return where that ends.

    The checksums are ours: zlib would throw away the last chunk of a body whose checksum is wrong.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    piece, length, checksum = b"", 0, trailer.start
    while not inflater.eof:
        if not piece:
            piece = raw[at : at + _SLICE]
            at += len(piece)
            if not piece:
                raise _Problem(Kind.TRUNCATED, _CUT.format(trailer.name))
        full = True
        while full and not inflater.eof:  # a full chunk may leave more inside, with no input left to show for it
            try:
                chunk = inflater.decompress(piece, CHUNK)
            except zlib.error:
                raise _Problem(Kind.PROTOCOL, _DAMAGED.format(trailer.name)) from None
            piece = inflater.unconsumed_tail
            length, checksum = length + len(chunk), trailer.update(chunk, checksum)
            output.add(chunk)
            full = len(chunk) == CHUNK
    at -= len(inflater.unused_data)
    found = raw[at : at + trailer.size]
    if len(found) < trailer.size:
        raise _Problem(Kind.TRUNCATED, _CUT.format(trailer.name))
    if found != trailer.packed(checksum, length):
        raise _Problem(Kind.TRUNCATED, f"the {trailer.name} checksum does not fit: cut or changed on the way")
    return at + trailer.size


def _unless_plain(raw: bytes, output: _Output, read: Callable[[bytes, _Output], int]) -> None:
    """Read a coding that has no magic number; a body that does not fit and looks like text was never coded."""
    try:
        end = read(raw, output)
    except _Problem as problem:
        damaged = problem.kind is Kind.PROTOCOL and not output.tell()
        if problem.kind is not Kind.TOO_LARGE and (damaged or _PLAIN.match(raw)):
            raise _Problem(None) from None
        raise
    if end < len(raw) and (_PLAIN.match(raw) or not output.tell()):
        raise _Problem(None)


def _deflate_end(raw: bytes, output: _Output) -> int:
    """Read `deflate` as the standard says (zlib, RFC 1950) or as some servers do (bare, RFC 1951); return its end."""
    if raw[0] & 0x0F == 8 and raw[0] >> 4 <= 7 and int.from_bytes(raw[:2], "big") % 31 == 0 and not raw[1] & 0x20:
        try:
            return _inflate(raw, 2, output, _ZLIB)
        except _Problem as problem:
            if problem.kind is not Kind.PROTOCOL or output.tell():
                raise
    return _inflate(raw, 0, output, _BARE)


def _brotli_end(raw: bytes, output: _Output) -> int:
    """Read one brotli stream (RFC 7932) and return where it ends."""
    import brotli

    decoder, at = brotli.Decompressor(), 0
    try:
        for at in range(0, len(raw), _SLICE):
            _feed_brotli(decoder, raw[at : at + _SLICE], output)
    except brotli.error:
        return _brotli_end_within(raw, at, output)
    if not decoder.is_finished():
        raise _Problem(Kind.TRUNCATED, _CUT.format("br"))
    return len(raw)


def _brotli_end_within(raw: bytes, failed: int, output: _Output) -> int:
    """Find the end in the slice that failed: bytes after it are an error to the library, which swallows the output."""
    import brotli

    decoder = brotli.Decompressor()
    output.clear()
    steps: list[int] = [*range(0, failed, _SLICE), *range(failed, min(failed + _SLICE, len(raw)) + 1)]
    with contextlib.suppress(brotli.error):
        for start, end in itertools.pairwise(steps):
            if decoder.is_finished():
                return start
            _feed_brotli(decoder, raw[start:end], output)
    raise _Problem(Kind.PROTOCOL, _DAMAGED.format("br"))


def _feed_brotli(decoder: Any, piece: bytes, output: _Output) -> None:
    """Feed `piece` and take everything it gives: the library says that it wants more while it still holds output."""
    chunk = decoder.process(piece, output_buffer_limit=_BROTLI_LIMIT)
    while chunk or not decoder.can_accept_more_data():
        output.add(chunk)
        chunk = decoder.process(b"", output_buffer_limit=_BROTLI_LIMIT)


def _zstandard(raw: bytes, output: _Output) -> None:
    """Read zstd frames one after another (RFC 8878), rubbish after the last."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    if not _ZSTD_START.match(raw):
        raise _Problem(None)
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    at = 0
    for _ in range(MAX_MEMBERS):
        if not _ZSTD_START.match(raw, at):
            return
        try:
            at = _zstd_frame(zstd.ZstdDecompressor(options=options), raw, at, output)
        except zstd.ZstdError as error:
            kind = Kind.TRUNCATED if "checksum" in str(error) else Kind.PROTOCOL
            raise _Problem(kind, str(error)) from None
    raise _Problem(Kind.PROTOCOL, f"more than {MAX_MEMBERS} zstd frames")


def _zstd_frame(decoder: Any, raw: bytes, at: int, output: _Output) -> int:
    """Read the frame at `at` and return where it ends."""
    while not decoder.eof:
        piece = b""
        if decoder.needs_input:
            piece = raw[at : at + _SLICE]
            at += len(piece)
            if not piece:
                raise _Problem(Kind.TRUNCATED, _CUT.format("zstd"))
        output.add(decoder.decompress(piece, CHUNK))
    return at - len(decoder.unused_data)


_UNDO: Final[dict[str, Callable[[bytes, _Output], None]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": lambda raw, output: _unless_plain(raw, output, _deflate_end),
    "br": lambda raw, output: _unless_plain(raw, output, _brotli_end),
    "zstd": _zstandard,
}
