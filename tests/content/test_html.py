"""Trees and selectors: any bytes give a tree, a bad selector says so; and which pages are HTML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant.content import html
from cormorant.errors import UsageError

PAGE = b"<!doctype html><h1>Title</h1><p><a href=/x id=1 class=c>One</a><p class=c><a name=y id=2>Two</a>"


def texts(css: str, body: bytes = PAGE, name: str = "utf-8") -> list[str]:
    return [node.text() for node in html.select(body, name, css)]


def test_nodes_have_text_and_attributes() -> None:
    assert html.select(PAGE, "utf-8", "h1")[0].text() == "Title"
    assert html.select(PAGE, "utf-8", "a")[0].attributes["href"] == "/x"


def test_nodes_live_on() -> None:
    """A node keeps its tree, whatever became of the page."""
    nodes = [node for _ in range(50) for node in html.select(bytes(PAGE), "utf-8", "a")]
    assert {node.text() for node in nodes} == {"One", "Two"}


@pytest.mark.parametrize(
    ("css", "found"),
    [
        ("a", ["One", "Two"]),
        ("p > a[href]", ["One"]),
        ("#\\32", ["Two"]),
        (".c", ["One", "Two"]),
        ("a:not([href])", ["Two"]),
        ("video", []),
        (' p:has(a) a:lexbor-contains("two" i) ', ["Two"]),
    ],
)
def test_selectors(css: str, found: list[str]) -> None:
    assert texts(css) == found


def test_each_node_once_in_order() -> None:
    """lexbor gives a node for each selector of a list that it matches."""
    assert texts("[name], a, [id], h1") == ["Title", "One", "Two"]


@pytest.mark.parametrize("css", ["", "a[", "!!", "a >", "a,,b", "p:foo", "a::text", "a:contains(x)", ":has(", "\ud800"])
def test_bad_selectors(css: str) -> None:
    with pytest.raises(UsageError, match="is no CSS selector; write one such as 'h1'"):
        html.select(PAGE, "utf-8", css)


def test_the_charset_is_read() -> None:
    assert texts("b", "<b>ж</b>".encode("cp1251"), "windows-1251") == ["ж"]
    assert texts("b", "\ufeff<b>ж</b>".encode("utf-16le"), "utf-16le") == ["ж"]
    assert texts("b", b"\xef\xbb\xbf<b>x\xff</b>") == ["x\ufffd"]


@given(st.binary(max_size=200), st.sampled_from(["utf-8", "utf-16be", "gb18030", "x-user-defined", "replacement"]))
def test_no_bytes_raise(body: bytes, name: str) -> None:
    for node in html.select(body, name, "*"):
        assert isinstance(node.text(), str)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/html", b"", True),
        ("Text/HTML; charset=utf-8", b"\x89PNG", True),
        ("application/xhtml+xml", b"", True),
        ("text/plain", b"<html>", False),
        ("application/json", b"<html>", False),
        ("image/svg+xml", b"<html>", False),
        (None, b"<!DOCTYPE HTML><p>", True),
        (None, b"\xef\xbb\xbf\n <html lang=en>", True),
        ("", b"<!-- a comment --> <table>", True),
        ("html", b"<body>", True),
        (None, b"<?xml version='1.0'?>\n<!-- x --><!DOCTYPE html PUBLIC 'x'><html>", True),
        (None, b"<?xml version='1.0'?><urlset>", False),
        (None, b"<br>", True),
        (None, b"<b", False),
        (None, b"<abbr>", False),
        (None, b"text <html>", False),
        (None, b'{"a": "<html>"}', False),
        (None, b"\x89PNG\r\n", False),
        (None, b"", False),
    ],
)
def test_is_html(content_type: str | None, body: bytes, expected: bool) -> None:
    assert html.is_html(content_type, body) is expected
