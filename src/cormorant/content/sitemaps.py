"""What a sitemap lists: bytes in, clean URLs out (https://www.sitemaps.org/protocol.html). For crawls.

Laws: pure; reading never raises, whatever the bytes; what it costs is bounded, by the protocol's limits (50 MB, 50,000
URLs) and by some of ours for what no sitemap holds; a sitemap that breaks off gives what came before. Known are
urlset, sitemapindex, RSS, Atom and lists of lines, each also as gzip, in any encoding, under any namespace or none.

XML is read by expat: it is exact, fast and in the standard library, where an HTML parser loses RSS's `<link>` and
CDATA. No entity is ever expanded and nothing is fetched: before expat sees the text, each `&` that starts none of
XML's own five entities is made a plain one (which also mends the bare `&` of careless URLs), and a DOCTYPE with
declarations ends the reading, for declared attributes could grow without bounds too.
"""

from __future__ import annotations

import re
import zlib
from xml.parsers import expat

import msgspec

from cormorant import urls
from cormorant.content import charset
from cormorant.errors import BadURL

MOST_BYTES = 50 * 1024 * 1024  # decoded
MOST_URLS = 50_000
LONGEST_LASTMOD = 40

_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 16 * 1024
_MOST_MEMBERS = 10_000
# What 50 MB of nonsense could cost: seconds for elements, gigabytes for open ones, names and attributes.
_MOST_ENTRIES = 2 * MOST_URLS
_MOST_ELEMENTS = 2_000_000
_MOST_NAMES = 1000
_MOST_MENDED = 1_000_000
_DEEPEST = 64
_LONGEST_TAG = 1024 * 1024
_ROOTS = frozenset(("urlset", "sitemapindex", "rss", "rdf", "feed"))
_HOLDERS = _ROOTS | {"channel"}
# The elements that list something, and which of their children say where it is and when it changed.
_ENTRIES = {
    "url": {"loc": "loc", "lastmod": "lastmod"},
    "sitemap": {"loc": "loc", "lastmod": "lastmod"},
    "item": {"link": "loc", "pubdate": "lastmod", "date": "lastmod"},
    "entry": {"updated": "lastmod", "modified": "lastmod"},
}
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]+")
_LINE = re.compile(r"\S[^\r\n]*")


class SitemapLink(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A clean URL, and `lastmod` as it is written there."""

    url: str
    lastmod: str | None = None


class Sitemap(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one sitemap lists: pages in `links`, further sitemaps in `sitemaps`, each once and in their order.

    `left_out` counts what was read that is no http(s) URL or above 50,000; `problem` says in words why this may not be
    all, or is None.
    """

    links: tuple[SitemapLink, ...] = ()
    sitemaps: tuple[SitemapLink, ...] = ()
    left_out: int = 0
    problem: str | None = None


class _Stop(Exception):
    """Ends the reading; the message becomes the problem."""


def read(body: bytes, url: str) -> Sitemap:
    """Read the sitemap that was fetched from the clean `url`; relative URLs in XML are resolved against that."""
    body, problem = _unpacked(body)
    text = charset.decode(body, charset.of(body, "application/xml")).lstrip("\ufeff\t\n\r ")
    if not text:
        return Sitemap(problem=problem or "the sitemap is empty")
    found = _read_xml(text, url) if text.startswith("<") else _read_lines(text, is_whole=problem is None)
    problems = "; ".join(filter(None, (problem, found.problem)))
    return msgspec.structs.replace(found, problem=problems or None)


def _unpacked(body: bytes) -> tuple[bytes, str | None]:
    """Return at most 50 MB of the body without its gzip, and what is wrong with it."""
    problem = None
    if body.startswith(_GZIP_MAGIC):
        body, problem = _gunzip(body)
    if len(body) > MOST_BYTES:
        return body[:MOST_BYTES], f"larger than {MOST_BYTES:,} bytes, of which the first were read"
    return body, problem


def _gunzip(packed: bytes) -> tuple[bytes, str | None]:
    """Undo gzip, of one member or several (RFC 1952 2.2), up to just above the limit."""
    pieces: list[bytes] = []
    room, at = MOST_BYTES + 1, 0
    for _ in range(_MOST_MEMBERS):
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
        while at < len(packed) and room > 0 and not decoder.eof:
            piece = packed[at : at + _PIECE]
            try:
                pieces.append(decoder.decompress(piece, room))
            except zlib.error:
                return b"".join(pieces), "the gzip stream is damaged"
            room -= len(pieces[-1])
            at += len(piece) - len(decoder.unused_data)
        if not decoder.eof:
            return b"".join(pieces), "the gzip stream breaks off"
        if not packed.startswith(_GZIP_MAGIC, at):  # the end, or padding
            return b"".join(pieces), None
    return b"".join(pieces), f"more than {_MOST_MEMBERS:,} gzip members"


def _read_lines(text: str, *, is_whole: bool) -> Sitemap:
    """Read a list of absolute URLs, one a line. They are resolved against nothing: any line would become one."""
    listing, problem = _Listing(None), None
    end = len(text) if is_whole else max(text.rfind("\n"), text.rfind("\r")) + 1  # half an URL is another URL
    try:
        for line in _LINE.finditer(text, 0, end):
            listing.add(line[0], None)
    except _Stop as stop:
        problem = str(stop)
    if not listing.found:
        problem = "neither XML nor a list of URLs, one a line"
    return Sitemap(links=listing.links(), left_out=listing.left_out, problem=problem)


def _read_xml(text: str, url: str) -> Sitemap:
    entries, problem = _Entries(url), None
    try:
        _feed(entries, _mended(text).encode())
    except _Stop as stop:
        problem = str(stop)
    except expat.ExpatError as error:
        problem = f"the XML is broken: {error}"
    return entries.sitemap(problem)


def _feed(entries: _Entries, text: bytes) -> None:
    """Parse UTF-8 piece by piece, which bounds what one tag and all names together may cost."""
    names: dict[str, str] = {}
    parser = expat.ParserCreate("utf-8", None, names)
    parser.buffer_text = True
    parser.StartElementHandler = entries.start
    parser.EndElementHandler = entries.end
    parser.CharacterDataHandler = entries.characters
    parser.StartDoctypeDeclHandler = _refuse_declarations
    for at in range(0, len(text), _PIECE):
        parser.Parse(text[at : at + _PIECE], False)
        if at - parser.CurrentByteIndex > _LONGEST_TAG:
            raise _Stop(f"a tag or a comment is longer than {_LONGEST_TAG:,} bytes")
        if len(names) > _MOST_NAMES:
            raise _Stop(f"more than {_MOST_NAMES:,} different names of elements and attributes")
    parser.Parse(b"", True)


def _mended(text: str) -> str:
    """Return `text` without what makes no XML: bare ampersands (outside of CDATA) and control characters."""
    text = _NOT_XML.sub("", text, count=_MOST_MENDED)
    if text.count("&") + text.count("<![CDATA[") > _MOST_MENDED:  # then expat stops at the first bare one
        return text
    before, *sections = text.split("<![CDATA[")
    mended = [_BARE_AMPERSAND.sub("&amp;", before)]
    for section in sections:
        inside, end, outside = section.partition("]]>")
        mended.append(f"{inside}{end}{_BARE_AMPERSAND.sub('&amp;', outside)}")
    return "<![CDATA[".join(mended)


def _refuse_declarations(name: str, system: str | None, public: str | None, has_declarations: int) -> None:
    if has_declarations:
        raise _Stop("the DOCTYPE declares entities or attributes, which no sitemap needs; not read on")


class _Entries:
    """Gathers what expat tells of `url`, `sitemap`, `item` and `entry` elements and their children."""

    def __init__(self, url: str) -> None:
        self._links, self._sitemaps = _Listing(url), _Listing(url)
        self._alternates: dict[str, None] = {}
        self._path: list[str] = []
        self._elements = self._entry_depth = 0
        self._entry: str | None = None
        self._fields: dict[str, str] = {}
        self._text: list[str] | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take in a start tag."""
        local, path = name.rpartition(":")[2].lower(), self._path
        self._guard(name, local)
        path.append(local)
        self._text = None
        if self._entry is None:
            if local in _ENTRIES and len(path) > 1 and path[-2] in _HOLDERS:
                self._entry, self._entry_depth, self._fields = local, len(path), {}
        elif len(path) == self._entry_depth + 1:
            if local in _ENTRIES[self._entry]:
                self._text = []
            elif local == "link":
                self._link(attributes)

    def characters(self, text: str) -> None:
        """Take in some text of the innermost element."""
        if self._text is not None:
            self._text.append(text)

    def end(self, name: str) -> None:
        """Take in an end tag."""
        local = self._path.pop()
        if self._entry is None:
            return
        if self._text is not None:
            if text := "".join(self._text).strip():  # an <atom:link href> in an RSS item has none
                self._fields.setdefault(_ENTRIES[self._entry][local], text)
            self._text = None
        elif len(self._path) < self._entry_depth:
            self._settle()

    def sitemap(self, problem: str | None) -> Sitemap:
        """Return all that came; of an entry that did not end, what is whole."""
        if "loc" in self._fields:
            self._settle()
        for text in self._alternates:  # behind the others, which must not lose their room to them
            self._links.take(text, None)
        return Sitemap(
            links=self._links.links(),
            sitemaps=self._sitemaps.links(),
            left_out=self._links.left_out + self._sitemaps.left_out,
            problem=problem,
        )

    def _guard(self, name: str, local: str) -> None:
        self._elements += 1
        if not self._path and local not in _ROOTS:
            raise _Stop(f"no sitemap: the XML's root element is <{name[:40]}>")
        if len(self._path) == _DEEPEST:
            raise _Stop(f"elements are nested more than {_DEEPEST} deep")
        if self._elements > _MOST_ELEMENTS:
            raise _Stop(f"more than {_MOST_ELEMENTS:,} elements; not read on")

    def _link(self, attributes: dict[str, str]) -> None:
        """Take Atom's `<link href>`, and of `<xhtml:link rel="alternate">` the same page in another language."""
        href = attributes.get("href", "").strip()
        if not href or attributes.get("rel", "alternate") != "alternate":
            return
        if self._entry == "entry" and "loc" not in self._fields:
            self._fields["loc"] = href
        elif self._entry != "sitemap" and (href in self._alternates or len(self._alternates) < MOST_URLS):
            self._alternates[href] = None
        else:
            self._links.left_out += 1

    def _settle(self) -> None:
        listing = self._sitemaps if self._entry == "sitemap" else self._links
        fields, self._fields, self._entry = self._fields, {}, None
        listing.add(fields.get("loc", ""), fields.get("lastmod"))


class _Listing:
    """Clean URLs with their `lastmod`, each once, at most 50,000; relative ones only with a `base`."""

    def __init__(self, base: str | None) -> None:
        self._base = base
        self.found: dict[str, str | None] = {}
        self.left_out = self._offered = 0

    def add(self, text: str, lastmod: str | None) -> None:
        """Take in an entry. Raises _Stop when there were far too many."""
        self.take(text, lastmod)
        self._offered += 1
        if self._offered == _MOST_ENTRIES:
            raise _Stop(f"{_MOST_ENTRIES:,} entries, twice what a sitemap may hold; not read on")

    def take(self, text: str, lastmod: str | None) -> None:
        """Take in an entry's URL, or count it as left out."""
        url = self._clean(text.strip())
        if url is None or (len(self.found) == MOST_URLS and url not in self.found):
            self.left_out += 1
        elif url not in self.found:
            self.found[url] = lastmod if lastmod and len(lastmod) <= LONGEST_LASTMOD else None

    def links(self) -> tuple[SitemapLink, ...]:
        """Return what was found."""
        return tuple(SitemapLink(url=url, lastmod=lastmod) for url, lastmod in self.found.items())

    def _clean(self, text: str) -> str | None:
        try:
            if self._base is None:
                urls.refuse_control_characters(text)
            return urls.clean(text, self._base) if text else None
        except BadURL:
            return None
