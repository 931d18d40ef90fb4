"""Pages that would hang a tree builder, made harmless before it sees them. For `links`, which needs no tree.

The HTML standard's rules are quadratic in places, and lexbor keeps to them: a start tag looks through everything that
is open (10^5 nested `<div>`: a minute), an attribute through those before it, and an open `<font>` is built again in
every paragraph (60 KB: 3 GB). None of it can be interrupted.

Laws: pure and total; each function is linear in the size of the page; a page that `is_tame` says yes to costs a second
at most; a flattened page keeps its links, their attributes and texts, and loses what nests: all else that is a tag.
It errs towards flattening (a page whose blocks merely look like attributes), which costs time and no links.
"""

from __future__ import annotations

import re

MOST_TAGS = 16_000  # nested: 0.5 s
FEW_TAGS = 2_000  # half of them formatting that stays open, half paragraphs: 0.5 million nodes of 400 bytes
MOST_NODES = 1_000_000
MOST_ATTRIBUTES = 100  # of a link; the rest is dropped
SMALL_PAGE_BYTES = 64 * 1024  # all of it attributes of one tag: 0.5 s
# With n attributes in a tag, a page of nothing but such tags takes a second at n * bytes = 2.3e9: 5,000 in 0.5 MB. Four
# bytes each, they cover whole blocks of half that size, wherever they begin.
BLOCK_TIMES_PAGE_BYTES = 5 * 10**9
BLOCK_ATTRIBUTES = 16  # in 2.5 KB of a tag of 2 MB, with so many attributes that it takes 0.5 s

# https://html.spec.whatwg.org/#formatting, without <a>, of which only one is ever open.
_FORMATTING_NAMES = b"b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u"
_OPEN_WITHOUT_ATTRIBUTES = 3 * 13  # the standard remembers three of a kind

_LIKE_FORMATTING = re.compile(rb"<[bcefinstuBCEFINSTU][a-zA-Z]{0,5}[\s/]")  # no fewer, and five times as fast

# Formatting with attributes, unless the same tag plainly ends before the next one begins.
_PLAIN_ATTRIBUTE = rb"""\s+[\w-]+(?:="[^"<>]*"|='[^'<>]*'|=[\w-]+)?"""
_FORMATTING = re.compile(
    rb"<(%b)(?=[\s/])(?!(?:%b)*+\s*+>[^<]*+</\1\s*+>)" % (_FORMATTING_NAMES, _PLAIN_ATTRIBUTE), re.IGNORECASE
)

# https://html.spec.whatwg.org/#before-attribute-name-state
_ATTRIBUTE = (
    rb"""[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+(?:"%(cut)b)|'[^']*+(?:'%(cut)b)|[^\s>"'][^\s>]*+)?+)?+"""
)
_WHOLE = _ATTRIBUTE % {b"cut": b""}
_CUT = _ATTRIBUTE % {b"cut": rb"|\Z"}
_BLOCKS = tuple(
    re.compile(rb"%b(?:%b){%d,}+[\s/]*+\Z" % (before, _CUT, BLOCK_ATTRIBUTES))
    for before in (b"", rb'[^"]*+"', rb"[^']*+'")  # a block may begin within a value
)

_TOKEN = re.compile(
    rb"<!--.*?(?:-->|\Z)"
    rb"|<(script|style|textarea|title|xmp|noembed|noframes)(?=[\s/>])(?:%(all)b)*+[\s/]*+>?.*?(?=</\1[\s/>]|\Z)"
    rb"|(<(?:a|area|base|frame|frameset|iframe|img|link|meta)(?=[\s/>])(?:%(all)b){0,%(most)d}+)(?:%(all)b)*+[\s/]*+>?"
    rb"|(</(?:a|frameset|iframe)(?=[\s/>]))(?:%(all)b)*+[\s/]*+>?"
    rb"|</?[a-z][^\s/>]*+(?:%(all)b)*+[\s/]*+>?" % {b"all": _WHOLE, b"most": MOST_ATTRIBUTES},
    re.IGNORECASE | re.DOTALL,
)


def is_tame(page: bytes) -> bool:
    """Tell whether a tree of `page` is sure to be built in reasonable time and memory."""
    tags = page.count(b"<")
    if tags > MOST_TAGS:
        return False
    if tags > FEW_TAGS and not _is_within(MOST_NODES // tags - _OPEN_WITHOUT_ATTRIBUTES, page):
        return False
    return len(page) <= SMALL_PAGE_BYTES or not _may_be_one_tag(page)


def _is_within(most: int, page: bytes) -> bool:
    """Tell whether `page` has at most so many formatting tags that may stay open."""
    return len(_LIKE_FORMATTING.findall(page)) <= most or len(_FORMATTING.findall(page)) <= most


def _may_be_one_tag(page: bytes) -> bool:
    """Tell whether any part of `page` could be nothing but attributes, whatever stands before it."""
    size = BLOCK_TIMES_PAGE_BYTES // len(page)
    starts = range(0, len(page) - size + 1, size)
    return any(block.match(page, start, start + size) for start in starts for block in _BLOCKS)


def flatten(page: bytes) -> bytes:
    """Return `page` with its links, images and directives as the only tags."""
    return _TOKEN.sub(_kept, page)


def _kept(token: re.Match[bytes]) -> bytes:
    """Return what stays of a token; `</>` is nothing at all to a parser, and keeps its neighbours apart."""
    kept = token[2] or token[3]
    return kept + b">" if kept else b"</>"
