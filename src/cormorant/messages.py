"""What the stations of the road hand to each other: immutable values, and nothing that acts.

A `Request` goes out, an `Outcome` (a `Page` or a `Failure`) comes home. `Fetch`, `Wait` and
`FINISHED` are what a scheduler answers; `Done` is what an engine hands back. All are frozen,
keyword-only and picklable, so that they cross threads and processes unharmed.
"""

from __future__ import annotations

import enum
from typing import Any, Final, TypeAlias

import msgspec

from cormorant.content import charset

Headers: TypeAlias = tuple[tuple[str, str], ...]


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


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One hop to make. `url` is the identity of the whole fetch, `target` what this hop asks for.

    `seconds` is what is left of the total deadline; `released_at` is the monotonic instant at which
    the scheduler let it go (0.0: not scheduled).
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


class Page(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An answer that arrived whole, whatever its status. `body` is decoded from its Content-Encoding.

    `headers` are pairs in the order received; `fetched_at` is seconds since the epoch, UTC;
    `data` is what a parse function returned.
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
    data: Any = None

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

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


class Failure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fetch that gave no whole page: what went wrong, and whatever was known by then.

    `status`, `headers` and `body` are set when an answer had begun (a cut page keeps what came);
    `phase` names where a timeout or an error struck: dns, connect, tls, first_byte, body, job.
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
        data=page.data,
    )


def first_value(headers: Headers, name: str) -> str | None:
    """Return the first value of header `name`, whatever its case, or None."""
    wanted = name.lower()
    for key, value in headers:
        if key.lower() == wanted:
            return value
    return None
