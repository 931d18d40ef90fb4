"""page = f(seed, host, path): what the site answers to a URL, and what a right client makes of it. Pure.

`answer` is one hop as it goes over the wire, read by the server; `expected` is the end of the whole
fetch, read by whoever checks a client. Draws come from one hash of seed, host and path; the port is
left out of it, so that a site on another port has the same latencies and sizes.
"""

from __future__ import annotations

import enum
import functools
import gzip
import hashlib
import html
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urljoin

from cormorant.lab.site.distribution import Distribution
from cormorant.lab.site.workload import KINDS, Workload
from cormorant.messages import Kind

_HTML = ("content-type", "text/html; charset=utf-8")
_TEXT = ("content-type", "text/plain; charset=utf-8")
_MOST_BYTES = 64 * 1024 * 1024
_FILLER = b"All the birds are under water at once; whichever surfaces first is served first. "
_REDIRECTS = (301, 302, 303, 307, 308)


class Manner(enum.Enum):
    """How a body goes out: in one piece, half and then a closed connection, in pieces, or never."""

    WHOLE = "whole"
    CUT = "cut"
    DRIP = "drip"
    HANG = "hang"


class Answer(NamedTuple):
    """One hop on the wire. `seconds` pass before its first byte; `body` is as encoded."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float = 0.0
    manner: Manner = Manner.WHOLE


class Expected(NamedTuple):
    """What a fetch of a URL must end in. `seconds` is the site's own share, all hops together."""

    status: int | None
    body: bytes
    kind: Kind | None
    final_url: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether a whole page with a status below 400 must come of it (a `Page` that is `ok`)."""
        return self.kind is None and self.status is not None and self.status < 400


class _Place(NamedTuple):
    """Where a URL of the site points: `/KIND/NUMBER` and, on the way of a redirect, `/HOPS` done."""

    authority: str
    host: str
    port: int
    path: str
    kind: str
    number: int
    hops: int


class _Draw(NamedTuple):
    """The seeded facts of one URL."""

    seconds: float
    size: int
    choice: int


def expected(workload: Workload, url: str) -> Expected:
    """Say how a fetch of the site's `url` must end for a client that follows redirects and waits long enough."""
    seconds = 0.0
    while True:
        hop = answer(workload, url)
        seconds += hop.seconds + (workload.drip_seconds if hop.manner is Manner.DRIP else 0.0)
        headers = dict(hop.headers)
        if "location" not in headers:
            break
        url = urljoin(url, headers["location"])
    if hop.manner is Manner.HANG:
        return Expected(None, b"", Kind.TIMEOUT, url, seconds)
    if hop.manner is Manner.CUT:
        return Expected(hop.status, sent(hop), Kind.TRUNCATED, url, seconds)
    body = gzip.decompress(hop.body) if "content-encoding" in headers else hop.body
    return Expected(hop.status, body, None, url, seconds)


def answer(workload: Workload, url: str) -> Answer:
    """Return what the site says to `url`, which has a plain ASCII path; unknown paths are 404."""
    place = _place(url)
    make = _MAKERS.get(place.kind) if place is not None else None
    if place is None or make is None:
        return _not_found(workload, url)
    return make(workload, url, place)


def sent(cut: Answer) -> bytes:
    """Return what a cut page sends of its body."""
    return cut.body[: len(cut.body) // 2]


def _good(workload: Workload, url: str, place: _Place) -> Answer:
    draw = _draw(workload, url)
    return Answer(200, [_HTML], _document(workload, url, place, draw.size), draw.seconds)


def _gzip(workload: Workload, url: str, place: _Place) -> Answer:
    good = _good(workload, url, place)
    return good._replace(headers=[_HTML, ("content-encoding", "gzip")], body=gzip.compress(good.body, 6, mtime=0))


def _slow(workload: Workload, url: str, place: _Place) -> Answer:
    good = _good(workload, url, place)
    return good._replace(seconds=good.seconds + workload.slow_seconds)


def _drip(workload: Workload, url: str, place: _Place) -> Answer:
    return _with_length(_good(workload, url, place), Manner.DRIP)


def _cut(workload: Workload, url: str, place: _Place) -> Answer:
    return _with_length(_good(workload, url, place), Manner.CUT)


def _with_length(good: Answer, manner: Manner) -> Answer:
    """Say the length aloud: these bodies are streamed, and the library then adds none of its own."""
    return good._replace(headers=[_HTML, ("content-length", str(len(good.body)))], manner=manner)


def _hang(workload: Workload, url: str, place: _Place) -> Answer:
    return Answer(200, [], b"", manner=Manner.HANG)


def _not_found(workload: Workload, url: str, place: _Place | None = None) -> Answer:
    return Answer(404, [_HTML], _short(url, "404 Not Found"), _draw(workload, url).seconds)


def _server_error(workload: Workload, url: str, place: _Place) -> Answer:
    return Answer(500, [_HTML], _short(url, "500 Internal Server Error"), _draw(workload, url).seconds)


def _redirect(workload: Workload, url: str, place: _Place) -> Answer:
    """`/redirect/N` leads over `/redirect/N/1`, … (relative) to `/page/N` of the next host (absolute)."""
    hops = 1 + _draw(workload, f"http://{place.authority}/redirect/{place.number}").choice % 3
    draw = _draw(workload, url)
    location = f"/redirect/{place.number}/{place.hops + 1}"
    if place.hops + 1 >= hops:
        location = f"http://{workload.host(place.number + 1)}:{place.port}/page/{place.number}"
    status = _REDIRECTS[draw.choice % len(_REDIRECTS)]
    return Answer(status, [_HTML, ("location", location)], _short(url, f"to {location}"), draw.seconds)


def _bytes(workload: Workload, url: str, place: _Place) -> Answer:
    """`/bytes/N`: N bytes at once, the same on every host; the raw speed of the road."""
    if place.number > _MOST_BYTES:
        return _not_found(workload, url)
    return Answer(200, [("content-type", "application/octet-stream")], _zeros(place.number))


def _list(workload: Workload, url: str, place: _Place) -> Answer:
    """`/urls.txt`: every URL of the workload, one a line, to be piped into `cormorant fetch -i -`."""
    return Answer(200, [_TEXT], "".join(f"{line}\n" for line in workload.urls(place.port)).encode())


def _front(workload: Workload, url: str, place: _Place) -> Answer:
    """`/`: what there is to see here."""
    rows = "".join(f'<li><a href="/{kind}/1">/{kind}/1</a> {html.escape(what)}</li>\n' for kind, what in KINDS.items())
    rest = '<li><a href="/bytes/10240">/bytes/10240</a> that many bytes at once</li>\n'
    rest += '<li><a href="/urls.txt">/urls.txt</a> the whole list</li>\n'
    return Answer(200, [_HTML], _short(url, "The embedded site", f"<ul>\n{rows}{rest}</ul>"))


_MAKERS: dict[str, Callable[[Workload, str, _Place], Answer]] = {
    "page": _good,
    "gzip": _gzip,
    "slow": _slow,
    "drip": _drip,
    "hang": _hang,
    "not-found": _not_found,
    "server-error": _server_error,
    "cut": _cut,
    "redirect": _redirect,
    "bytes": _bytes,
    "urls.txt": _list,
    "": _front,
}


def _place(url: str) -> _Place | None:
    """Take a URL of the site apart; None when its path does not have the form of ours."""
    authority, _, path = url[len("http://") :].partition("/")
    host, _, port = authority.partition(":")
    kind, *numbers = path.partition("?")[0].split("/")
    if len(numbers) > 2 or not all(part.isascii() and part.isdecimal() and len(part) <= 15 for part in numbers):
        return None
    number, hops = (*map(int, numbers), 0, 0)[:2]
    return _Place(authority, host, int(port) if port.isdecimal() else 80, path, kind, number, hops)


def _draw(workload: Workload, url: str) -> _Draw:
    authority, _, path = url[len("http://") :].partition("/")
    text = f"{workload.seed} {authority.partition(':')[0]}/{path}"
    digest = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=20).digest(), "big")
    # 52 bits and a half: the largest value is still below 1 as a float.
    latency, size = (((digest >> shift & (1 << 52) - 1) + 0.5) / (1 << 52) for shift in (0, 52))
    seconds = _distribution(workload.latency).at(latency)
    return _Draw(seconds, round(_distribution(str(workload.body_bytes)).at(size)), digest >> 104)


@functools.lru_cache(maxsize=32)
def _distribution(text: str) -> Distribution:
    return Distribution.parse(text)


def _document(workload: Workload, url: str, place: _Place, size: int) -> bytes:
    """Build a page of `size` bytes (or as few as hold its URL, title and links), its links leading into the list."""
    others = (place.number + 1, place.number + 2, 2 * place.number + 1) if workload.pages else ()
    pointed = [workload.url(other % workload.pages, place.port) for other in others]
    links = "".join(f'<li><a href="{link}">{link}</a></li>\n' for link in pointed)
    head = _opening(url, f"Page {place.number} of {place.authority}") + f"<ul>\n{links}</ul>\n<p>".encode()
    tail = b"</p>\n</body></html>\n"
    room = max(0, size - len(head) - len(tail))
    return head + (_FILLER * (room // len(_FILLER) + 1))[:room] + tail


def _short(url: str, title: str, more: str = "") -> bytes:
    return _opening(url, title) + f"{more}</body></html>\n".encode()


def _opening(url: str, title: str) -> bytes:
    """Return the beginning of every page, with its own URL in it."""
    title, url = html.escape(title), html.escape(url)
    head = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
    return f'{head}<body><h1>{title}</h1>\n<p id="url">{url}</p>\n'.encode()


@functools.lru_cache(maxsize=8)
def _zeros(length: int) -> bytes:
    return b"0" * length
