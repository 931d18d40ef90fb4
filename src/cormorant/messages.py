"""What the stations of the road hand to each other: immutable values, and nothing that acts.

A `Request` goes out, an `Outcome` (a `Page` or a `Failure`) comes home. `Fetch`, `Wait` and
`FINISHED` are what a scheduler answers; `Done` is what an engine hands back. All are frozen,
keyword-only and picklable, so that they cross threads and processes unharmed.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from cormorant.content import charset

if TYPE_CHECKING:
    from cormorant.content.links import Link, Links

Headers: TypeAlias = tuple[tuple[str, str], ...]

REDIRECTS = frozenset((301, 302, 303, 307, 308))


class Kind(enum.StrEnum):
    """Why there is no good page: the whole list, see `docs/reference.md`."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    REDIRECT = "redirect"
    BLOCKED = "blocked"
    BAD_URL = "bad_url"
    WORKER_LOST = "worker_lost"
    LOCAL = "local"
    CANCELLED = "cancelled"
    CALLBACK = "callback"


class Timings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Seconds each phase of the last hop took; 0.0 where a phase did not happen.

    `queue` is the wait between the scheduler's word and the wire (a thread's or a process's hand-over);
    `dns`, `connect`, `tls`, `first_byte` (request sent until the answer began) and `body` follow
    each other, and `total` is their sum as libcurl saw it, without `queue` and without the time in which the
    caller kept the loop from running.
    """

    queue: float = 0.0
    dns: float = 0.0
    connect: float = 0.0
    tls: float = 0.0
    first_byte: float = 0.0
    body: float = 0.0
    total: float = 0.0


class Redirect(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One hop that pointed elsewhere: where it was asked, what it answered, how long it took."""

    url: str
    status: int
    seconds: float


class Found(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a crawl came to a URL: `depth` links away from a seed, on the page `source`, by a link with this `text`.

    A URL out of a sitemap has the sitemap as its source, depth 0, and `lastmod` as the sitemap wrote it.
    """

    depth: int = 0
    source: str = ""
    text: str = ""
    lastmod: str | None = None


class Purpose(enum.StrEnum):
    """What an answer is for: a page goes to the user, the others to the scheduler alone."""

    PAGE = "page"
    ROBOTS = "robots"
    SITEMAP = "sitemap"
    ADDRESS = "address"  # no request at all: what does the name stand for?


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One hop to make. `url` is the identity of the whole fetch, `target` what this hop asks for.

    `seconds` is what is left of the total deadline; `released_at` is the monotonic instant at which
    the scheduler let it go (0.0: not scheduled). Higher `priority` goes first. `max_body` (bytes) stands before the
    option of that name, and has the body read even where pages are fetched without. `ending` is an outcome that stands
    already (`sealed`): nothing is asked for.
    """

    url: str
    target: str
    input: str = ""
    line: int | None = None
    method: str = "GET"
    headers: Headers = ()
    body: bytes | None = None
    seconds: float = 30.0
    attempts: int = 1
    redirects: tuple[Redirect, ...] = ()
    released_at: float = 0.0
    purpose: Purpose = Purpose.PAGE
    found: Found | None = None
    priority: int = 0
    max_body: int | None = None
    ending: bytes | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An answer that arrived whole, whatever its status. `body` is decoded from its Content-Encoding.

    `headers` are pairs in the order received; `fetched_at` is seconds since the epoch, UTC; `found` is how a crawl
    came here; `data` is what a parse function returned.
    """

    url: str
    status: int
    headers: Headers = ()
    body: bytes = b""
    input: str = ""
    line: int | None = None
    final_url: str = ""
    attempts: int = 1
    redirects: tuple[Redirect, ...] = ()
    fetched_at: float = 0.0
    timings: Timings = Timings()
    ip: str | None = None
    http_version: str | None = None
    found: Found | None = None
    data: Any = None

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def unchanged(self) -> bool:
        """Whether the server answered that the page is as it was (304, to a conditional request)."""
        return self.status == 304

    @property
    def kind(self) -> None:
        """Always None: a page of any status is no failure."""
        return None

    @property
    def message(self) -> None:
        """Always None: a page has nothing to explain."""
        return None

    @property
    def truncated(self) -> bool:
        """Always False: a page that was cut short is a `Failure`."""
        return False

    def __repr__(self) -> str:
        return f"<Page {self.status} {self.url} {len(self.body):,} bytes>"

    def header(self, name: str) -> str | None:
        """Return the first value of header `name`, whatever its case, or None."""
        return first_value(self.headers, name)

    @property
    def charset(self) -> str:
        """Name the body's character set: byte order mark, header, `<meta>`, then a guess."""
        return charset.of(self.body, self.header("content-type"))

    @property
    def text(self) -> str:
        """Decode the body; bytes that do not fit become U+FFFD."""
        return charset.decode(self.body, self.charset)

    def json(self) -> Any:
        """Return the body as JSON (RFC 8259: UTF-8, a byte order mark is tolerated). Raises ValueError."""
        return msgspec.json.decode(self.body.removeprefix(b"\xef\xbb\xbf"))

    def links(self) -> tuple[Link, ...]:
        """Return the links of an HTML page: absolute http(s) URLs, each once, in the order of the document."""
        return self.look().links

    def look(self) -> Links:
        """Return the links of an HTML page with what it asks of robots; nothing of other pages, and of redirects."""
        from cormorant.content import links

        if self.status in REDIRECTS or not links.is_html(self.header("content-type"), self.body):
            return links.Links()
        return links.find(self.body, self.final_url or self.url, self.charset)

    @property
    def robots(self) -> tuple[bool, bool]:
        """Return (noindex, nofollow), as `X-Robots-Tag` and `<meta name="robots">` ask for."""
        from cormorant.content.links import robots_tag

        tagged = robots_tag([value for name, value in self.headers if name.lower() == "x-robots-tag"])
        seen = self.look()
        return tagged[0] or seen.noindex, tagged[1] or seen.nofollow

    def select(self, css: str) -> list[Any]:
        """Return the nodes that match a CSS selector, in the order of the document.

        A node has `text()` and `attributes` (https://selectolax.readthedocs.io/). Raises UsageError for a selector
        that is none.
        """
        from cormorant.content import html

        return html.select(self.body, self.charset, css)


class Failure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fetch that gave no whole page: what went wrong, and whatever was known by then.

    `status`, `headers` and `body` are set when an answer had begun (a cut page keeps what came);
    `phase` names where a timeout or an error struck: dns, connect, tls, first_byte, body, job; robots for a page that
    its host's robots.txt keeps us from.
    """

    url: str
    kind: Kind
    message: str
    phase: str | None = None
    status: int | None = None
    headers: Headers = ()
    body: bytes = b""
    input: str = ""
    line: int | None = None
    final_url: str = ""
    attempts: int = 1
    redirects: tuple[Redirect, ...] = ()
    fetched_at: float = 0.0
    timings: Timings = Timings()
    ip: str | None = None
    http_version: str | None = None
    found: Found | None = None
    data: Any = None

    def __repr__(self) -> str:
        return f"<Failure {self.kind} {self.url} {self.message!r}>"

    @property
    def ok(self) -> bool:
        """Always False."""
        return False

    @property
    def truncated(self) -> bool:
        """Whether `body` is only the beginning of the page."""
        return self.kind is Kind.TRUNCATED

    def header(self, name: str) -> str | None:
        """Return the first value of header `name`, whatever its case, or None."""
        return first_value(self.headers, name)


Outcome: TypeAlias = Page | Failure


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What `map` hands over for one item: `value` when `ok`, else `kind`, `message` and `traceback`.

    `index` counts the items from 0; `seconds` runs from the engine's start of the job to its end.
    """

    item: Any
    index: int
    ok: bool
    value: Any = None
    kind: Kind | None = None
    message: str | None = None
    traceback: str | None = None
    seconds: float = 0.0


class Fault(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why a job has no value: `kind` and `message`, and the user's traceback as text when there is one."""

    kind: Kind
    message: str
    traceback: str | None = None


class Lead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a page or a sitemap points to: a clean URL, the words of the link, and what is said of it."""

    url: str
    text: str = ""
    lastmod: str | None = None
    nofollow: bool = False


class Harvest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a crawl's job brings home: the outcome, and where it leads.

    `sitemaps` are those a sitemap index names; `left_out` counts the links beyond what is read of one page.
    """

    outcome: Outcome
    leads: tuple[Lead, ...] = ()
    sitemaps: tuple[str, ...] = ()
    left_out: int = 0


class LineOver(msgspec.Struct, frozen=True, gc=False, tag="line", array_like=True):
    """A line of input, given to the share of a fleet that owns its host. `text` is UTF-8, with surrogates passed."""

    text: bytes
    number: int | None = None


class LinkOver(msgspec.Struct, frozen=True, gc=False, tag="link", array_like=True):
    """A link that a page of one share has to a host of another."""

    lead: Lead
    found: Found


class SitemapOver(msgspec.Struct, frozen=True, gc=False, tag="sitemap", array_like=True):
    """A sitemap on a host of another share: how many indexes lie above it, and the nearest."""

    url: str
    depth: int
    index: str


class HopOver(msgspec.Struct, frozen=True, gc=False, tag="hop", array_like=True):
    """A request that is redirected to a host of another share, which brings it to its end. `page` is the redirect."""

    request: Request
    page: Page


class HostOver(msgspec.Struct, frozen=True, gc=False, tag="host", array_like=True):
    """A request whose host was found at the `address` of another share, which makes it."""

    request: Request
    address: str


HandedOver: TypeAlias = LinkOver | SitemapOver | HopOver | HostOver


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A URL that a crawl saw and did not fetch: why, where it was found, and how deep it lies."""

    url: str
    reason: str
    source: str = ""
    depth: int = 0


class Done(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job that ended in an engine: `value`, or `fault` when it raised, was late or was lost."""

    ticket: int
    value: Any = None
    fault: Fault | None = None


class Fetch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The scheduler's word to start a job: `argument` for the work, at most `seconds` for it."""

    ticket: int
    argument: Any
    seconds: float


class Wait(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Nothing may start before `until` (same clock as `next(now)`; None: not before something settles)."""

    until: float | None = None


class Finished(enum.Enum):
    """The type of `FINISHED`."""

    FINISHED = "finished"


FINISHED: Final = Finished.FINISHED


def sealed(outcome: Outcome) -> bytes:
    """Return an outcome without `data` as bytes, for a request that holds its own `ending`."""
    return msgspec.msgpack.encode(outcome)


def unsealed(ending: bytes) -> Outcome:
    """Return the outcome that was sealed."""
    raw = msgspec.msgpack.decode(ending)
    return msgspec.convert(raw, Failure) if "kind" in raw else msgspec.convert(raw, Page)


def failed(page: Page, kind: Kind, message: str, phase: str | None = None) -> Failure:
    """Return the failure a page turned into, keeping what is known of the page."""
    return Failure(
        kind=kind,
        message=message,
        phase=phase,
        url=page.url,
        status=page.status,
        headers=page.headers,
        body=page.body,
        input=page.input,
        line=page.line,
        final_url=page.final_url,
        attempts=page.attempts,
        redirects=page.redirects,
        fetched_at=page.fetched_at,
        timings=page.timings,
        ip=page.ip,
        http_version=page.http_version,
        found=page.found,
        data=page.data,
    )


def first_value(headers: Headers, name: str) -> str | None:
    """Return the first value of header `name`, whatever its case, or None."""
    wanted = name.lower()
    for key, value in headers:
        if key.lower() == wanted:
            return value
    return None
