"""Which URLs are one: what the identity ignores, and what it must not."""

from __future__ import annotations

import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant import urls
from cormorant.errors import BadURL

CASES = pathlib.Path(__file__).parents[2] / "shared" / "data" / "url" / "urltestdata.json"


@pytest.mark.parametrize(
    ("written", "identity"),
    [
        ("HTTP://A.Example:80", "http://a.example/"),
        ("https://a.example:443/#x", "https://a.example/"),
        ("http://a.example/%7Euser/%41%2D%2e%5F", "http://a.example/~user/A-._"),
        ("http://a.example/?%71=%61&x=%c3%a9", "http://a.example/?q=a&x=%C3%A9"),
        ("http://a.example/a%2fb%3fc%23d%26", "http://a.example/a%2Fb%3Fc%23d%26"),
        ("http://a.example/a%2Fb", "http://a.example/a%2Fb"),
        ("http://a.example/%2541%25%zz%4", "http://a.example/%2541%25%zz%4"),
        ("http://a.example/a/%2e%2E/b%2e", "http://a.example/b."),
        ("http://us%65r:p%2f@a.example/%65", "http://us%65r:p%2f@a.example/e"),
        ("http://a.example/x?utm_source=1", "http://a.example/x?utm_source=1"),
    ],
)
def test_identity(written: str, identity: str) -> None:
    assert urls.canonical(urls.clean(written)) == identity


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.example/A", "http://a.example/a"),
        ("http://a.example/a", "http://a.example/a/"),
        ("http://a.example/?a=1&b=2", "http://a.example/?b=2&a=1"),
        ("http://a.example/?a=1", "http://a.example/?a=1&a=1"),
        ("http://a.example/?", "http://a.example/"),
        ("http://a.example/?a", "http://a.example/?a="),
        ("http://a.example/a%2Fb", "http://a.example/a/b"),
        ("http://a.example/?a=b%26c", "http://a.example/?a=b&c"),
        ("http://a.example/a+b", "http://a.example/a%20b"),
        ("http://a.example/index.html", "http://a.example/"),
        ("http://a.example/", "https://a.example/"),
        ("http://www.a.example/", "http://a.example/"),
    ],
)
@pytest.mark.parametrize("tracking", [False, True])
def test_what_means_something_stays(one: str, other: str, tracking: bool) -> None:
    assert urls.canonical(urls.clean(one), tracking) != urls.canonical(urls.clean(other), tracking)


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("utm_source=a&b=2&gclid=3&a=1", "?b=2&a=1"),
        ("utm_campaign=x", ""),
        ("fbclid", ""),
        ("a=1&msclkid=&b=2", "?a=1&b=2"),
        ("UTM_source=1&Gclid=2", "?UTM_source=1&Gclid=2"),
        ("utmost=1&xgclid=2&gclids=3&a_gl=4", "?utmost=1&xgclid=2&gclids=3&a_gl=4"),
        ("a=utm_source&b=gclid", "?a=utm_source&b=gclid"),
        ("u=/x?utm_source=1&b", "?u=/x?utm_source=1&b"),
        ("%75tm_source=1&g%63lid=2&a", "?a"),
        ("a&&b&", "?a&&b&"),
        ("a&&b&_gl=1&", "?a&&b&"),
        ("", "?"),
    ],
)
def test_tracking_parameters(query: str, left: str) -> None:
    assert urls.canonical(f"https://a.example/x?{query}", tracking=True) == f"https://a.example/x{left}"


@pytest.mark.parametrize("name", sorted(urls.TRACKING))
def test_every_tracking_parameter_is_known(name: str) -> None:
    assert urls.canonical(f"https://a.example/?x=1&{name}=1&y", tracking=True) == "https://a.example/?x=1&y"


@pytest.mark.skipif(not CASES.is_file(), reason="../shared/data/url is absent")
def test_identities_are_clean_and_final() -> None:
    """Of all of WPT's URLs: the identity is a URL, its own identity, and names the same host."""
    count = 0
    for case in json.loads(CASES.read_text(encoding="utf-8")):
        if isinstance(case, dict) and str(case.get("href")).startswith(urls.PREFIXES):
            url = urls.clean(case["input"], case["base"])
            identity = urls.canonical(url)
            assert urls.clean(identity) == identity == urls.canonical(identity)
            assert urls.origin(identity) == urls.origin(url)
            count += 1
    assert count == 247


@given(st.text(alphabet="aA%2e4f7/.?&=u_~é", max_size=30), st.booleans())
def test_an_identity_is_its_own(text: str, tracking: bool) -> None:
    try:
        url = urls.clean(f"http://a.example/{text}")
    except BadURL:
        return
    identity = urls.canonical(url, tracking)
    assert urls.clean(identity) == identity == urls.canonical(identity, tracking)
