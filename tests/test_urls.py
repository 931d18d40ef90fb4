"""`urls.clean` against the web platform's own tests, and the two cuts made in a clean URL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant import urls
from cormorant.errors import BadURL

DATA = Path(__file__).parents[2] / "shared" / "data" / "url"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no test data at {DATA}")


def cases(name: str) -> list[dict[str, Any]]:
    """Read one data file; its strings are comments."""
    listed = json.loads((DATA / name).read_text(encoding="utf-8"))
    return [case for case in listed if isinstance(case, dict)]


def cleaned(text: str, base: str | None = None) -> str | None:
    """Return the clean form, or None where there is none."""
    try:
        return urls.clean(text, base)
    except BadURL:
        return None


def right(case: dict[str, Any]) -> str | None:
    """Return what a WPT case comes to for us: its href without the fragment, None for other schemes and failures."""
    href = str(case.get("href", ""))
    return href.partition("#")[0] if href.startswith(("http://", "https://")) else None


@needs_data
def test_every_wpt_case_is_right() -> None:
    """871 of 871: the same href as browsers, and a refusal wherever they fail or the scheme is not ours."""
    wpt = cases("urltestdata.json")
    wrong = [
        (case["input"], case["base"], got, right(case))
        for case in wpt
        if (got := cleaned(case["input"], case["base"])) != right(case)
    ]
    assert wrong == []
    assert len(wpt) == 871
    assert sum(right(case) is not None for case in wpt) == 247


@needs_data
def test_every_host_is_ascii_as_the_standard_says() -> None:
    """87 of 87 hosts of `toascii.json`, IDNA included."""
    hosts = cases("toascii.json")
    wrong = [
        (case["input"], got)
        for case in hosts
        if (got := cleaned(f"https://{case['input']}/x")) != (case["output"] and f"https://{case['output']}/x")
    ]
    assert wrong == []
    assert len(hosts) == 87


@needs_data
def test_clean_is_clean_again() -> None:
    """Cleaning twice changes nothing, and a clean URL is ASCII without space or control characters."""
    for case in cases("urltestdata.json"):
        url = cleaned(case["input"], case["base"])
        if url is not None:
            assert urls.clean(url) == url
            assert url.isascii()
            assert not any(character <= " " or character == "\x7f" for character in url)


@given(st.text())
def test_any_text_is_a_clean_url_or_bad(text: str) -> None:
    """No text raises anything but BadURL."""
    for whole in (text, "http://a.example/" + text, "http://" + text):
        url = cleaned(whole)
        assert url is None or urls.clean(url) == url


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("example.org/page", "https://example.org/page"),
        ("just words", "absolute"),
        ("ftp://a.example/", "'ftp'"),
        ("javascript:alert(1)", "'javascript'"),
        ("data:,x", "'data'"),
        ("file:///etc/passwd", "'file'"),
        ("mailto:a@b.example", "'mailto'"),
        ("http://", "absolute"),
        ("http://a b/", "absolute"),
        ("http://a.example:99999/", "absolute"),
        ("\ud800", "absolute"),
        ("https://a.example/" + "x" * 8192, "8192"),
    ],
)
def test_bad_url_says_what_to_write(text: str, hint: str) -> None:
    """The message shows the fix."""
    with pytest.raises(BadURL, match=hint.replace("(", "\\(")):
        urls.clean(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("HTTP://EXAMPLE.org:80", "http://example.org/"),
        ("https://a.example:443/x/../y/./z", "https://a.example/y/z"),
        (" http://a.example/a b\n", "http://a.example/a%20b"),
        ("http://a.example/?", "http://a.example/?"),
        ("http://a.example/#top", "http://a.example/"),
        ("http://a.example?#", "http://a.example/?"),
        ("http://bücher.example/ü?ü", "http://xn--bcher-kva.example/%C3%BC?%C3%BC"),
        ("http:\\\\a.example\\b", "http://a.example/b"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://\uff11\uff12\uff17.0.0.1/", "http://127.0.0.1/"),
        ("http://a.example./", "http://a.example./"),
        ("http://a.example/\r\nX-Evil: 1", "http://a.example/X-Evil:%201"),
    ],
)
def test_clean_form(text: str, url: str) -> None:
    """What people write, and what goes on the wire."""
    assert urls.clean(text) == url


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "http://a.example/b"),
        ("c?d", "http://a.example/x/c?d"),
        ("?q", "http://a.example/x/y?q"),
        ("//b.example", "http://b.example/"),
        ("", "http://a.example/x/y?old"),
        ("\\\\b.example\\c", "http://b.example/c"),
        ("https://b.example/#f", "https://b.example/"),
    ],
)
def test_clean_against_a_base(location: str, url: str) -> None:
    """Links and Locations are resolved by the same rules."""
    assert urls.clean(location, "http://a.example/x/y?old") == url


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://a.example/", "http://a.example"),
        ("https://a.example:8443/x?y=/", "https://a.example:8443"),
        ("http://user:p%40ss@a.example/x@y", "http://a.example"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("http://u@[::1]:8000/", "http://[::1]:8000"),
    ],
)
def test_origin(url: str, origin: str) -> None:
    """Scheme, host and port, without credentials."""
    assert urls.clean(url) == url
    assert urls.origin(url) == origin


@pytest.mark.parametrize(
    ("url", "bare", "pair"),
    [
        ("http://a.example/x@y", "http://a.example/x@y", None),
        ("http://user:p%40ss@a.example/x?y", "http://a.example/x?y", ("user", "p%40ss")),
        ("http://user@a.example:81/", "http://a.example:81/", ("user", "")),
        ("http://:secret@a.example/", "http://a.example/", ("", "secret")),
        ("http://user@[::1]/@", "http://[::1]/@", ("user", "")),
    ],
)
def test_split_credentials(url: str, bare: str, pair: tuple[str, str] | None) -> None:
    """Credentials come off, the rest stays as it is."""
    assert urls.clean(url) == url
    assert urls.split_credentials(url) == (bare, pair)
