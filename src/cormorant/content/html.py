"""Bytes to a tree of HTML, and CSS selectors upon it. For `Page.select` and `links`.

The parser is lexbor, by way of selectolax: it builds the tree browsers build, from any bytes. It is given UTF-8, read
from the page's own character set first.
"""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from cormorant.content import charset
from cormorant.errors import UsageError

SNIFFED_BYTES = 1024

_TYPES = ("text/html", "application/xhtml+xml")
# https://mimesniff.spec.whatwg.org/#identifying-a-resource-with-an-unknown-mime-type; XHTML by what follows its prolog.
_BEGINNING = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\f\r ]*(?:<!--|(?:<\?xml[^>]*>\s*+)?(?:<!--.*?-->\s*)*+<(?:!doctype html|html|head|script|"
    rb"iframe|h1|div|font|table|a|style|title|b|body|br|p)[\t\n\f\r />])",
    re.IGNORECASE | re.DOTALL,
)
# In XML a tag may end itself; to an HTML parser these would stay open, and most of them swallow the page.
_ENDS_ITSELF = re.compile(
    rb"""<(a|iframe|noframes|script|style|textarea|title)(\s[^<>]*["'\s])?/>""",
    re.IGNORECASE,
)


def is_html(content_type: str | None, body: bytes) -> bool:
    """Tell whether this is HTML or XHTML: by its type; without one, by how it begins."""
    essence = (content_type or "").partition(";")[0].strip().lower()
    if "/" in essence:
        return essence in _TYPES
    return _BEGINNING.match(body, 0, SNIFFED_BYTES) is not None


def select(body: bytes, charset_name: str, css: str) -> list[LexborNode]:
    """Return the nodes that match the selector `css`, each once, in the order of the document.

    Raises UsageError when `css` is no selector.
    """
    try:
        found = LexborHTMLParser(utf8(body, charset_name)).css(css)
    except (SelectolaxError, TypeError, UnicodeError):
        raise UsageError(
            f"{css!r} is no CSS selector; write one such as 'h1', 'a[href]' or 'div.price > p' (pseudo-elements and "
            ":contains are not known; for a text write 'p:lexbor-contains(\"word\" i)')"
        ) from None
    return list({node.mem_id: node for node in found}.values())  # one that matches twice is found twice


def utf8(body: bytes, charset_name: str) -> bytes:
    """Return `body`, which is in the character set `charset_name`, as the parser wants it."""
    if charset_name == "utf-8":
        page = body.removeprefix(b"\xef\xbb\xbf")
    else:
        page = charset.decode(body, charset_name).encode("utf-8", "replace")
    return _ENDS_ITSELF.sub(rb"<\1\2></\1>", page) if page.startswith(b"<?xml") else page
