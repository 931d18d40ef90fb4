"""What a body's charset is called and how it is read: the standard's cases, and no bytes that raise."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import time

import pytest
import webencodings
from hypothesis import given, settings
from hypothesis import strategies as st

from cormorant.content import charset

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"
ENCODING = DATA / "encoding"
MIMESNIFF = DATA / "mimesniff" / "mime-types.json"
NAMES = sorted({webencodings.lookup(label).name for label in webencodings.labels.LABELS})
RUSSIAN = "Мы рады приветствовать вас на нашем сайте. Здесь вы найдёте новости и погоду."


def prescan_cases() -> list[tuple[bytes, str]]:
    cases = []
    for path in sorted(ENCODING.glob("*.dat")):
        for case in re.split(rb"(?:\A|\n)#data\n", path.read_bytes())[1:]:
            body, _, name = case.partition(b"\n#encoding\n")
            cases.append((body, name.split(b"\n")[0].decode().strip().lower()))
    return cases


@pytest.mark.skipif(not ENCODING.is_dir(), reason="../shared/data/encoding is absent")
def test_prescan_of_the_html_standard() -> None:
    cases = prescan_cases()
    wrong = [
        (body[-200:], name, found)
        for body, name in cases
        if (found := charset.declared(body, None) or charset.DEFAULT) != name
    ]
    assert (len(cases), wrong) == (82, [])


@pytest.mark.skipif(not MIMESNIFF.is_file(), reason="../shared/data/mimesniff is absent")
def test_the_charset_parameter_of_the_mime_sniffing_standard() -> None:
    cases = [case for case in json.loads(MIMESNIFF.read_text()) if isinstance(case, dict) and "encoding" in case]
    wrong = [
        (case["input"], case["encoding"], found)
        for case in cases
        if (found := charset.declared(b"", case["input"])) != (case["encoding"] and case["encoding"].lower())
    ]
    assert len(cases) > 20
    assert wrong == []


@pytest.mark.parametrize(
    ("body", "content_type", "name"),
    [
        (b"\xef\xbb\xbfx", "text/html; charset=gbk", "utf-8"),
        (b"\xfe\xff\0x", "text/html; charset=utf-8", "utf-16be"),
        (b"\xff\xfex\0", None, "utf-16le"),
        (b"<meta charset=gbk>", "text/html; charset=Shift_JIS", "shift_jis"),
        (b"<meta charset=gbk>", "text/html; charset=unheard-of", "gbk"),
        (b"<meta charset=gbk>", "text/html; charset=utf-7", "gbk"),
        (b"<!--><meta charset=gbk>-->", None, "gbk"),
        (b"<meta charset=gbk charset=big5>", None, "gbk"),
        (b"<meta charset=utf-7>", None, "utf-8"),
        (b'<?xml version="1.0" encoding="koi8-r"?><a/>', "application/xml", "koi8-r"),
        (b'<?xml version="1.0" encoding="koi8-r"?><a><meta charset=gbk></a>', "application/xml", "koi8-r"),
        (b'<?xml version="1.0" encoding="koi8-r"?><html><meta charset=gbk>', "text/html", "gbk"),
        (b'<?xml version="1.0" encoding="utf-16"?><a/>', "application/xml", "utf-8"),
        ('<?xml version="1.0"?><a/>'.encode("utf-16-le"), "application/xml", "utf-16le"),
        ('<?xml version="1.0"?><a/>'.encode("utf-16-be"), None, "utf-16be"),
        (b"plain", None, "utf-8"),
        (b"", None, "utf-8"),
        (b"", "text/plain; charset=latin-1", "utf-8"),
        (b"", "text/plain; charset=latin1", "windows-1252"),
        (b"", "text/plain; charset=us-ascii", "windows-1252"),
        (b"", "text/plain; charset=GB2312", "gbk"),
        (b"", "text/plain; charset=KS_C_5601-1987", "euc-kr"),
        (b"", 'text/plain; x=";charset=gbk"; charset="utf\\-8"', "utf-8"),
        (b"", "text/plain; charset=\udcff", "utf-8"),
        (b"\x1b$B4A;z\x1b(B", None, "iso-2022-jp"),
        ("grüße".encode(), "text/html", "utf-8"),
        ("grüße".encode("latin-1"), "text/html", "windows-1252"),
        (RUSSIAN.encode("koi8-r"), "text/html", "koi8-r"),
        (RUSSIAN.encode("cp1251"), None, "windows-1251"),
        ("日本最大級のポータルサイト。検索、オークション。".encode("cp932"), None, "shift_jis"),
    ],
)
def test_the_order_of_authorities(body: bytes, content_type: str | None, name: str) -> None:
    assert charset.of(body, content_type) == name


@pytest.mark.parametrize(
    ("name", "body", "text"),
    [
        ("windows-1252", b"\x80\x81\x9d\xe9", "\u20ac\x81\x9d\xe9"),
        ("windows-1253", b"\xaa", "\ufffd"),
        ("windows-1255", b"\xca\x81", "\u05ba\x81"),
        ("koi8-u", b"\xae\xbe", "\u045e\u040e"),
        ("shift_jis", b"\x87\x40", "①"),
        ("euc-kr", b"\x8c\x63", "똠"),
        ("gbk", b"\x81\x30\x81\x30\xc4\xe3", "\x80你"),
        ("big5", b"\x87\x40", "\u43f0"),
        ("x-user-defined", b"A\x80\xff", "A\uf780\uf7ff"),
        ("macintosh", b"\xdb", "€"),
        ("x-mac-cyrillic", b"\xff", "€"),
        ("iso-8859-8-i", b"\xe0", "א"),
        ("replacement", b"abc", "\ufffd"),
        ("utf-16le", b"\xff\xfea\0\0\xd8", "a\ufffd"),
        ("utf-8", b"\xef\xbb\xbfa\xff", "a\ufffd"),
    ],
)
def test_bytes_read_as_browsers_read_them(name: str, body: bytes, text: str) -> None:
    assert charset.decode(body, name) == text


@pytest.mark.parametrize("name", NAMES)
def test_strict_reading_is_all_or_nothing(name: str) -> None:
    text = "plain <b>text</b>\n"
    if name != "replacement":
        assert charset.decode_strict(charset.encode(text, name), name) == text
    whole = [bytes([byte]) for byte in range(256) if charset.decode_strict(bytes([byte]), name) is not None]
    assert all("\ufffd" not in charset.decode(body, name) for body in whole)
    assert charset.decode(b"\xff\xff\xff", name) is not None


def test_a_byte_order_mark_is_dropped_when_read_and_kept_when_exact() -> None:
    body = b"\xef\xbb\xbfabc"
    assert charset.decode(body, "utf-8") == charset.decode_strict(body, "utf-8") == "abc"
    assert charset.decode_exact(body, "utf-8") == "\ufeffabc"


def test_text_with_two_spellings_is_not_exact() -> None:
    odd = b"\x1b(B\x1b(Babc"
    assert charset.decode_strict(odd, "iso-2022-jp") == "abc"
    assert charset.decode_exact(odd, "iso-2022-jp") is None


@pytest.mark.parametrize(
    ("body", "content_type", "answer"),
    [
        (b"x", "text/html; charset=x", True),
        (b"x", "Text/Plain", True),
        (b"{}", "application/json", True),
        (b"{}", "application/problem+json", True),
        (b"<a/>", "image/svg+xml", True),
        (b"<a/>", "application/xml;x=y", True),
        (b"x", "application/javascript", True),
        (b"x", "application/x-ndjson", True),
        (b"x", "application/octet-stream", False),
        (b"x", "image/png", False),
        (b"x", "application/jsonish", False),
        (b"x", "application/xml-dtd", False),
        (b"a\tb\r\n\x0c\x1b[0m", None, True),
        (b"", None, True),
        (b"a\0b", None, False),
        (b"a\x01b", "", False),
        (b"\x89PNG\r\n\x1a\n", "nonsense", False),
        (b"\xff\xfea\0", None, True),
        (b"a" * 1024 + b"\0", None, True),
    ],
)
def test_what_counts_as_text(body: bytes, content_type: str | None, answer: bool) -> None:
    assert charset.is_text(body, content_type) is answer


BODIES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            (
                *(
                    b"<meta ",
                    b"<",
                    b">",
                    b"/",
                    b"charset",
                    b"=",
                    b'"',
                    b"'",
                    b"utf-8",
                    b"gbk",
                    b" ",
                    b"content=",
                    b"<!--",
                ),
                *(
                    b"-->",
                    b"http-equiv=",
                    b"Content-Type",
                    b";",
                    b"<?xml ",
                    b"encoding=",
                    b"?>",
                    b"\xff",
                    b"\xfe",
                    b"\0",
                ),
            )
        ),
        max_size=30,
    ).map(b"".join),
)


@settings(max_examples=500, deadline=None)
@given(BODIES, st.one_of(st.none(), st.text(max_size=60), st.text(max_size=20).map("text/html; charset={}".format)))
def test_any_page_has_a_charset_that_reads_it(body: bytes, content_type: str | None) -> None:
    name = charset.of(body, content_type)
    assert name in NAMES
    text = charset.decode(body, name)
    strict = charset.decode_strict(body, name)
    assert strict is None or strict == text
    charset.is_text(body, content_type)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.sampled_from(NAMES))
def test_exact_text_gives_its_bytes_back(body: bytes, name: str) -> None:
    charset.decode(body, name)
    text = charset.decode_exact(body, name)
    assert text is None or charset.encode(text, name) == body


@pytest.mark.parametrize("name", [name for name in NAMES if name not in charset._MULTI_BYTE and name != "replacement"])
def test_single_bytes_are_exact(name: str) -> None:
    for byte in range(256):
        body = bytes([byte])
        text = charset.decode_strict(body, name)
        assert text is None or charset.decode_exact(body, name) == text


@pytest.mark.parametrize(
    "piece", [b"<meta ", b"<meta charset", b"<p a=b ", b"<!--", b"<a '", b"charset=", b"<?xml encoding ", b"<meta/"]
)
def test_hostile_heads_take_no_time(piece: bytes) -> None:
    body = b"<meta charset" + piece * (1_000_000 // len(piece)) + b"<meta charset"
    began = time.perf_counter()
    charset.declared(body, "text/html" + ';"' * 100_000)
    assert time.perf_counter() - began < 1


def test_the_detector_is_loaded_for_a_guess_only() -> None:
    program = (
        "import sys; from cormorant.content import charset\n"
        "charset.of(b'caf\\xc3\\xa9', None); charset.of(b'caf\\xe9', 'text/html; charset=latin1')\n"
        "assert 'charset_normalizer' not in sys.modules\n"
        "charset.of(b'caf\\xe9', None)\n"
        "assert 'charset_normalizer' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
