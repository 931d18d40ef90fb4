"""What the addresses on a page stand for: `href` to clean URL. For `links`.

By the WHATWG URL standard's parser, with what the HTML standard adds: the base is `<base href>`'s, and a query is
written in the page's own character set. Most addresses on a page are plain paths, for which resolving is joining two
texts; a call of the parser costs five times that.
"""

from __future__ import annotations

import functools
import re

from cormorant import urls
from cormorant.content import charset
from cormorant.errors import BadURL

# `../` or `/` or nothing, then a path and a query in which nothing is encoded, special or a scheme.
_PLAIN = re.compile(r"(/|(?:\.\./)*+)([\w~-][\w.~/-]*+(?:\?[\w=&.~+-]*+)?)\Z", re.ASCII)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_WRITTEN_AS_THEY_ARE = frozenset(range(0x21, 0x7F)) - frozenset(b"\"#<>'")


class Addresses:
    """Resolves the addresses on the page at the clean URL `url`, of which each is looked at once."""

    def __init__(self, url: str, base_href: str | None, charset_name: str) -> None:
        self._base = (base_href and _clean(base_href, url)) or url
        self._charset = "utf-8" if charset_name in ("utf-16le", "utf-16be", "replacement") else charset_name
        self._known: dict[str, str | None] = {}
        self._folders: dict[str, str | None] = {}

    def resolve(self, href: str) -> str | None:
        """Return the clean URL that `href` stands for, without credentials; None when that is no http(s) URL."""
        plain = _PLAIN.match(href)
        if plain and len(href) <= urls.MAX_URL_CHARACTERS:
            way, path = plain.groups()
            if "/." not in path:
                folder = self._folders[way] if way in self._folders else self._open(way)
                return folder and folder + path
        return self._known[href] if href in self._known else self._look_at(href)

    def _open(self, way: str) -> str | None:
        folder = self._folders[way] = _clean(way or "./", self._base)
        return folder

    def _look_at(self, href: str) -> str | None:
        if href.startswith(urls.PREFIXES) and href.isascii():
            url = _clean_absolute(href)
        else:
            encodes = self._charset != "utf-8" and not href.isascii()
            url = _clean(_with_query_in(self._charset, href) if encodes else href, self._base)
        self._known[href] = url
        return url


def _clean(href: str, base: str | None) -> str | None:
    try:
        return urls.split_credentials(urls.clean(href, base))[0]
    except BadURL:
        return None


@functools.lru_cache(maxsize=4096)
def _clean_absolute(href: str) -> str | None:
    return _clean(href, None)


def _with_query_in(name: str, href: str) -> str:
    """Write the query as a browser does on a page in the charset `name`.

    Source: https://url.spec.whatwg.org/#query-state and #string-percent-encode-after-encoding.
    """
    address, mark, fragment = href.partition("#")
    path, question, query = address.partition("?")
    return path + question + _NOT_ASCII.sub(lambda run: _encoded(run[0], name), query) + mark + fragment


def _encoded(text: str, name: str) -> str:
    try:
        written = charset.encode(text, name)
    except UnicodeEncodeError:  # one by one; what the charset lacks becomes an (encoded) character reference
        if len(text) == 1:
            return f"%26%23{ord(text)}%3B"
        return "".join(_encoded(character, name) for character in text)
    return "".join(chr(byte) if byte in _WRITTEN_AS_THEY_ARE else f"%{byte:02X}" for byte in written)
