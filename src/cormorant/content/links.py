"""Where an HTML page leads, and what it asks of robots. For `Page.links` and the crawl.

Laws: pure and total (no bytes make `find` raise); its time is linear in the size of the page, of which it reads
`MOST_HTML_BYTES`; a link is a clean http(s) URL without fragment and credentials, and a page gives each once, where it
stands first. Nothing is followed or left out by opinion here: `nofollow` is told, and `policies` decide.

What counts as a link: `<a>`, `<area>`, frames, a refresh by `<meta>`, and of `<link>` the pages (next, prev, canonical,
other languages), never what a page is made of (style sheets, icons, preloads). Templates are not looked into.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec
from selectolax.lexbor import LexborHTMLParser, LexborNode

from cormorant.content import flat, html
from cormorant.content.addresses import Addresses
from cormorant.content.html import is_html as is_html  # what `find` is for
from cormorant.content.robots import PRODUCT_TOKEN

MOST_HTML_BYTES = 2_000_000
MOST_LINKS = 10_000
MOST_TEXT_CHARACTERS = 200
MOST_TEXT_NODES = 64
LONGEST_READ = 20 * MOST_TEXT_CHARACTERS  # white space included

_TAGS = "[href],iframe[src],frame[src],meta[content]"
_ADDRESS_IN = {"a": "href", "area": "href", "link": "href", "frame": "src", "iframe": "src"}
_LEADS_ON = frozenset(("next", "prev", "canonical"))
_NOFOLLOW = frozenset(("nofollow", "ugc", "sponsored"))
_ROBOTS_NAMES = ("robots", PRODUCT_TOKEN)
_TITLES = ("alt", "title", "aria-label")
# https://html.spec.whatwg.org/#shared-declarative-refresh-steps
_REFRESH = re.compile(
    r"""[\t\n\f\r ]*(?:\d+[\d.]*|\.[\d.]*)(?:[\t\n\f\r ]*[;,]|[\t\n\f\r ])[\t\n\f\r ]*"""
    r"""(?:url[\t\n\f\r ]*=[\t\n\f\r ]*)?(?:"([^"]*)|'([^']*)|(.+))""",
    re.IGNORECASE | re.DOTALL,
)
# Rules of X-Robots-Tag that have a colon of their own; before any other stands a robot's name.
_WITH_VALUE = frozenset(("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"))

Attributes: TypeAlias = dict[str, str | None]
Tag: TypeAlias = tuple[str, LexborNode, Attributes]


class Link(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One way out of a page. `text` is what the link says, or else what its image or its title says.

    `tag` is a, area, link, frame, iframe or meta; `rel` is in lower case; `nofollow` also stands for ugc and sponsored.
    """

    url: str
    text: str = ""
    rel: str = ""
    tag: str = "a"
    nofollow: bool = False


class Links(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a page says: its links, what it asks of robots, and how many links beyond MOST_LINKS were `left_out`."""

    links: tuple[Link, ...] = ()
    noindex: bool = False
    nofollow: bool = False
    left_out: int = 0


def find(body: bytes, url: str, charset_name: str) -> Links:
    """Return the links of the HTML page `body`, which came from the clean URL `url`."""
    page = html.utf8(body[:MOST_HTML_BYTES], charset_name)
    tree = LexborHTMLParser(page if flat.is_tame(page) else flat.flatten(page))
    tags = [(node.tag or "", node, node.attributes) for node in tree.css(_TAGS)]
    addresses = Addresses(url, _base_href(tags), charset_name)
    links: dict[str, Link] = {}
    beyond: set[str] = set()
    for name, node, attributes in tags:
        href = _address(name, attributes)
        target = None if href is None else addresses.resolve(href)
        if target is None:
            continue
        if target not in links and len(links) == MOST_LINKS:
            beyond.add(target)
            continue
        rel = (attributes.get("rel") or "").lower()
        nofollow = bool(rel) and not _NOFOLLOW.isdisjoint(rel.split())
        if target in links and (nofollow or not links[target].nofollow):
            continue  # else this one may be followed where the first may not
        links[target] = Link(url=target, text=_text(node, attributes), rel=rel, tag=name, nofollow=nofollow)
    noindex, nofollow = robots_tag(_robots_rules(tags))
    return Links(links=tuple(links.values()), noindex=noindex, nofollow=nofollow, left_out=len(beyond))


def robots_tag(values: Iterable[str]) -> tuple[bool, bool]:
    """Return (noindex, nofollow) as the values of `X-Robots-Tag` headers ask us or all robots for.

    Source: https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag
    """
    rules: set[str] = set()
    for value in values:
        agent = ""
        for part in value.lower().split(","):
            name, colon, rest = (word.strip() for word in part.partition(":"))
            if colon and name not in _WITH_VALUE:
                agent, name = name, rest
            if agent in ("", "*", PRODUCT_TOKEN):
                rules.add(name)
    everything = "none" in rules
    return everything or "noindex" in rules, everything or "nofollow" in rules


def _base_href(tags: list[Tag]) -> str | None:
    return next((attributes.get("href") for name, _, attributes in tags if name == "base"), None)


def _robots_rules(tags: list[Tag]) -> Iterator[str]:
    """Yield what `<meta>` asks robots for, in the form of a header."""
    for name, _, attributes in tags:
        if name == "meta" and (attributes.get("name") or "").strip().lower() in _ROBOTS_NAMES:
            yield attributes.get("content") or ""


def _address(name: str, attributes: Attributes) -> str | None:
    """Return the address that the tag `name` leads to, as it is written; None when it leads nowhere."""
    if name == "meta":
        return _refresh(attributes)
    if name not in _ADDRESS_IN or (name == "link" and not _leads_on(attributes)):
        return None
    return attributes.get(_ADDRESS_IN[name]) or ""


def _leads_on(link: Attributes) -> bool:
    """Tell whether a `<link>` leads to a page."""
    rel = (link.get("rel") or "").lower().split()
    return not _LEADS_ON.isdisjoint(rel) or ("alternate" in rel and "hreflang" in link)


def _refresh(meta: Attributes) -> str | None:
    """Return the address that a `<meta http-equiv="refresh">` sends to, if it is one."""
    if (meta.get("http-equiv") or "").strip().lower() != "refresh":
        return None
    sends = _REFRESH.match(meta.get("content") or "")
    return sends and (sends[1] or sends[2] or sends[3])


def _text(node: LexborNode, attributes: Attributes) -> str:
    """Return what a link says."""
    child = node.first_child
    if child is None:
        return _title(attributes)
    says_one_thing = child.next is None and child.is_text_node
    text = _collapsed(child.text_content or "") if says_one_thing else _text_within(node)
    return text or _title(attributes)


def _text_within(node: LexborNode) -> str:
    """Return the text within a link, or of its first image that has one; looks at its first nodes only.

    Links may stand within links (by way of a table, say), so that looking at everything would be quadratic.
    """
    texts: list[str] = []
    characters, image = 0, ""
    for number, inner in enumerate(node.traverse(include_text=True)):
        if number > MOST_TEXT_NODES or characters > LONGEST_READ:
            break
        if inner.is_text_node:
            texts.append((inner.text_content or "")[:LONGEST_READ])
            characters += len(texts[-1])
        elif not image and inner.tag == "img":
            image = _title(inner.attributes)
    return _collapsed("".join(texts)) or image


def _title(attributes: Attributes) -> str:
    for name in _TITLES:
        if text := _collapsed(attributes.get(name) or ""):
            return text
    return ""


def _collapsed(text: str) -> str:
    return " ".join(text[:LONGEST_READ].split())[:MOST_TEXT_CHARACTERS]
