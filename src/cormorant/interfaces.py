"""Every contract of the house on one page, as Protocols: nobody inherits, everybody obeys.

Obligations come first in each docstring: who may call, from which thread, for how long, with which clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec

from cormorant.messages import Done, Fetch, Finished, HandedOver, LeftOut, Outcome, Request, Wait

Trace: TypeAlias = tuple[Request, str | None, bool]
"""A request that was found, None, and whether it was asked for; or one that has ended and where it was redirected."""
Deliver: TypeAlias = Callable[[Outcome], None]
Entry: TypeAlias = tuple[str, int | None]  # a line of input and its number


class Scheduler(Protocol):
    """Decides what happens next. Pure: no I/O, no thread, no clock of its own; `now` is any monotonic clock.

    Each ticket handed out by `next` must be settled exactly once. O(log hosts) a call. The counters may be read
    from another thread.
    """

    @property
    def offered(self) -> int:
        """Entries read from the input so far."""
        ...

    @property
    def duplicates(self) -> int:
        """Entries left out because they were listed before."""
        ...

    @property
    def retried(self) -> int:
        """Attempts made again."""
        ...

    @property
    def redirected(self) -> int:
        """Redirects followed."""
        ...

    @property
    def left_out(self) -> Mapping[str, int]:
        """Entries that a crawl left out, by reason."""
        ...

    reports_left_out: bool
    """Whether `take_left_out` will be called; else what is left out is counted alone."""

    @property
    def services(self) -> int:
        """Answers that were for the scheduler itself: robots.txt, sitemaps."""
        ...

    @property
    def in_flight(self) -> int:
        """Jobs started and not come home."""
        ...

    @property
    def input_ended(self) -> bool:
        """Whether the whole input was read."""
        ...

    def next(self, now: float) -> Fetch | Wait | Finished:
        """Say what to start, until when to wait, or that all is settled."""
        ...

    def settle(self, done: Done, now: float) -> None:
        """Take one ended job home. What it leads to (an outcome, a redirect, a retry) is decided here."""
        ...

    def outcomes(self) -> list[Any]:
        """Hand over, once, everything that has reached its end since the last call, in that order."""
        ...

    def take_left_out(self) -> list[LeftOut]:
        """Hand over, once, what a crawl left out since the last call, if that is to be reported."""
        ...

    def stop(self) -> None:
        """Start nothing more: `next` answers Wait until what is under way is settled, then FINISHED."""
        ...


class Engine(Protocol):
    """Overlaps the waiting of one worker's jobs. Used from one thread, never owns a loop over requests.

    A job is `work(argument)`. The caller keeps at most `width` jobs started and not yet collected, and
    collects each exactly once. The deadline of a job runs from `start`; when it passes, the job is
    ended (or abandoned, where nothing can end it) and collected with a `timeout` fault.
    """

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        """Begin a job that may take `seconds`. Does not wait for it."""
        ...

    def collect(self, timeout: float | None) -> list[Done]:
        """Return every job that has ended; when none has, wait at most `timeout` seconds (None: until one has)."""
        ...

    def close(self) -> None:
        """End everything still running and leave nothing behind. Safe to call twice."""
        ...


class OneLoop(Protocol):
    """What an engine offers besides whose jobs share one loop, so that one blocking call stops them all."""

    def caller_from_threads(self) -> Callable[[Callable[[], None]], object]:
        """Return what any thread may call to have a function run in the loop's next round.

        To be asked in the loop's thread. Once the loop is closed it does nothing, or raises RuntimeError.
        """
        ...


class AwaitedEngine(Protocol):
    """An `Engine` inside a running event loop: `collect` and `close` are awaited, the rest is the same."""

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        """Begin a job that may take `seconds`."""
        ...

    async def collect(self, timeout: float | None) -> list[Done]:
        """Return every job that has ended; when none has, wait at most `timeout` seconds."""
        ...

    async def close(self) -> None:
        """End everything still running and leave nothing behind. Safe to call twice."""
        ...


class Wire(Protocol):
    """What a job fetches through: makes one hop and waits for it as the job's engine waits."""

    def fetch(self, request: Request) -> Outcome:
        """Make one hop, within `request.seconds`; redirects are returned, not followed.

        Never raises for what the web does.
        """
        ...


class Transport(Wire, Protocol):
    """A `Wire` of one's own, that waits by blocking its thread."""

    def interrupt(self) -> None:
        """Make a `fetch` that is under way return soon. The one method that may be called from another thread."""
        ...

    def close(self) -> None:
        """Drop every connection. Safe to call twice."""
        ...


class AwaitedWire(Protocol):
    """A `Wire` inside a running event loop."""

    async def fetch(self, request: Request) -> Outcome:
        """Make one hop, within `request.seconds`; redirects are returned, not followed."""
        ...


class Loop(Protocol):
    """What an evented transport asks of whichever loop hosts it. The loop calls back `ready` and `expired`."""

    def watch(self, descriptor: int, reading: bool, writing: bool) -> None:
        """From now on report this socket by `EventedTransport.ready`; both False: forget it."""
        ...

    def wake_in(self, seconds: float | None) -> None:
        """Call `EventedTransport.expired` once, this much later; replaces the last wish, None withdraws it."""
        ...


class EventedTransport(Protocol):
    """Many hops at once over a loop it does not own. Everything is called in the loop's thread.

    `ready` and `expired` only move bytes; the loop calls `deliver_ended` once after each round of them, and
    only from there `deliver` is called: never from inside a libcurl callback, never from `start`.
    """

    def start(self, request: Request, deliver: Deliver) -> object:
        """Begin one hop; `deliver(outcome)` follows exactly once. Returns a key for `cancel`."""
        ...

    def cancel(self, key: object) -> None:
        """Drop a hop that was started; its `deliver` is not called any more. Unknown keys are ignored."""
        ...

    def ready(self, descriptor: int, readable: bool, writable: bool) -> None:
        """Hear from the loop that a watched socket is ready."""
        ...

    def expired(self) -> None:
        """Hear from the loop that the time asked for by `wake_in` is over."""
        ...

    def deliver_ended(self) -> None:
        """Deliver every hop that has ended. Cheap when none has; call it after each round."""
        ...

    def paused(self, seconds: float) -> None:
        """Hear, before the next round, that nobody ran the loop for so long: no hop is later for it."""
        ...

    def close(self) -> None:
        """Drop every hop and connection without delivering. Safe to call twice."""
        ...


class Transports(Protocol):
    """Where engines get their way to the wire. Picklable, so that it reaches worker processes."""

    def blocking(self) -> Transport:
        """Return a transport that waits by blocking its thread; used by one thread at a time."""
        ...

    def evented(self, loop: Loop) -> EventedTransport:
        """Return a transport that waits through `loop`."""
        ...


class Frontier(Protocol):
    """What is still to fetch, and what was seen. Used from one thread; hosts are `urls.origin` strings."""

    def is_new(self, url: str, by: Request | None = None) -> bool:
        """Remember `url` as seen; returns whether it was not before. `by` is the request that is redirected there."""
        ...

    def knows(self, url: str) -> bool:
        """Return whether `url` was seen before, and remember nothing."""
        ...

    def add(self, host: str, request: Request, first: bool = False) -> None:
        """Put a request at the end of its host's queue (a crawl: behind those as urgent), or at its head."""
        ...

    def take(self, host: str) -> Request:
        """Take the first request of a host that has one."""
        ...

    def has(self, host: str) -> bool:
        """Return whether anything waits for `host`."""
        ...

    def __len__(self) -> int:
        """Count the requests waiting."""
        ...


class RobotsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a host answered at `fetched_at` (seconds since the epoch, by a wall clock that may have been set).

    `file` are the bytes of its robots.txt, read at `url`; None: it has none, and everything may be fetched.
    """

    origin: str
    fetched_at: float
    url: str = ""
    file: bytes | None = None


class Books(Protocol):
    """A frontier's memory of what came of its requests, for a run that may be killed and goes on.

    What is settled in the order in which outcomes are handed over is committed in that order (`jobs.Job.commit`);
    what is not committed is open, and fetched again when the run goes on.
    """

    def settle(self, request: Request, outcome: Outcome | None) -> None:
        """Note that a request has reached its end, before what it leads to is added; None: nothing is handed over."""
        ...

    def settle_line(self, text: str, line: int | None) -> None:
        """Note the outcome of a line that is no URL."""
        ...

    def keep_robots(self, answer: RobotsAnswer) -> None:
        """Keep what a host answered to the question for its robots.txt."""
        ...

    def robots(self, at_most: int, keep_seconds: float) -> Iterator[RobotsAnswer]:
        """Yield what hosts answered within the last `keep_seconds`, the latest `at_most` of it, the oldest first."""
        ...

    def hosts(self) -> list[str]:
        """Return the hosts that something waits for."""
        ...

    def lines_again(self) -> list[Entry]:
        """Return, once, the lines that are no URL and whose outcomes were not committed: they were offered before."""
        ...

    def settle_guest(self, request: Request, outcome: Outcome) -> None:
        """Note the outcome of a request that another share began, and that nothing more is asked for."""
        ...

    def guests_again(self) -> list[Request]:
        """Return, once, the requests of that kind whose outcomes (`ending`) were not committed."""
        ...

    @property
    def asked_for(self) -> int:
        """How many pages were asked for, and have ended."""
        ...

    def trail(self, is_whole: bool = False) -> Iterator[Trace]:
        """Yield what a crawl has found so far, in that order: all, or what its bounds count apart from pages."""
        ...


class Neighbours(Protocol):
    """The other shares of a fleet, as the scheduler of one share sees them."""

    def owns(self, url: str) -> bool:
        """Return whether the host of `url` is this share's own."""
        ...

    def owns_address(self, address: str) -> bool:
        """Return whether hosts at `address` are this share's own, where that decides."""
        ...

    def hand_over(self, item: HandedOver) -> None:
        """Have an item travel to the share that owns its host, with the commit that keeps what led to it."""
        ...


class Rounds(Protocol):
    """Hears of every wait of an engine's loop, in the loop's thread. Must not raise, block or switch."""

    def waited(self, began: float, ended: float, ready: int) -> None:
        """Hear that the loop asked the kernel at `began` (monotonic) and had `ready` sockets of ours at `ended`.

        May come late (gevent: before the next wait), but in order.
        """
        ...


class Observer(Protocol):
    """Stands beside one worker (`Worker.observe`) and hears what happens, by standing before the real stations.

    Each method gets a station and returns what takes its place, before the run. Nothing is paid for where nobody
    observes.
    """

    @property
    def rounds(self) -> Rounds | None:
        """Who hears of the loop's rounds. Under asyncio this means Python's own loop: uvloop does not tell."""
        ...

    def scheduler(self, scheduler: Scheduler) -> Scheduler:
        """Return the scheduler that the pump will ask."""
        ...

    def work(self, work: Work) -> Work:
        """Return the work that jobs will do; picklable if `work` is, async if it is."""
        ...

    def transports(self, transports: Transports) -> Transports:
        """Return where engines get their way to the wire; picklable if `transports` is."""
        ...


class Sink(Protocol):
    """Where outcomes go. Used from one thread. Raises OutputError, naming the file, when it cannot."""

    def write(self, outcome: Any) -> None:
        """Append one outcome (or one Result of `map`)."""
        ...

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        ...

    def close(self) -> None:
        """Flush and close. Safe to call twice."""
        ...


class Part(msgspec.Struct, frozen=True, gc=False):
    """One file of an output: `name` relative to the output's folder, and how much of it is committed.

    `length` is in bytes (of a SQLite file in rows: its bytes cannot be cut). To a sealed part nothing is added. `tail`
    is a digest of its last bytes, by which it is known again; of a SQLite file empty.
    """

    name: str
    length: int
    is_sealed: bool
    tail: str = ""


class Committed(msgspec.Struct, frozen=True):
    """What of an output is on stable storage, in the order of writing: all that a later run will find of it."""

    parts: tuple[Part, ...]


class DurableSink(Sink, Protocol):
    """A sink that survives power loss: what was written before a `sync` is there after it, whole.

    Opened with `resume=Committed` every file is cut back to its committed length, files of the output's own names
    that are not in it are removed, and writing goes on. A file shorter than that, or missing, is an OutputError: the
    output was changed by somebody else. After a write or a sync that failed nothing is called committed any
    more: every further `write`, `flush` and `sync` raises OutputError, because the kernel may have dropped what it
    could not store and reports it once (https://wiki.postgresql.org/wiki/Fsync_Errors). `close` stays quiet then.
    """

    def sync(self, complete: bool = False) -> Committed | None:
        """Put everything written so far on stable storage, and return what the output holds.

        May take as long as the disk does; the files, and for new ones their folder, are synced. None: not yet;
        nothing written since the last answer may be called settled (a Parquet file counts when it is complete).
        `complete`: what is open is completed too, and the answer is never None.
        Raises UsageError where the output is a stream, which nobody can cut back.
        """
        ...


Work: TypeAlias = Callable[[Any], Any] | Callable[[Any], Awaitable[Any]]


class Post(Protocol):
    """A worker's way to its driver and back. `send` may be called from any thread, `receive` from one."""

    heard_at: float
    """When the driver was heard last (monotonic)."""

    def send(self, message: bytes) -> None:
        """Send a message; waits while the driver does not read."""
        ...

    def receive(self, seconds: float) -> list[bytes]:
        """Return what has come, in order; when nothing has, wait at most so long."""
        ...

    def flush(self) -> None:
        """Wait until all that was sent reaches the driver, also if we die now. To be called before a commit of it."""
        ...


class Member(Protocol):
    """One worker of a fleet, as its driver sees it. Used from one thread, and never waits for long."""

    number: int
    marks: Path
    """Where its `fleet.marks` lie."""

    def send(self, message: bytes) -> None:
        """Send a message; one that is dead gets none."""
        ...

    def receive(self) -> list[bytes]:
        """Return what has come, in order, all that was sent before a death."""
        ...

    @property
    def death(self) -> str | None:
        """What it died of, in words, once all that it sent was received; None: it lives."""
        ...

    @property
    def is_crash(self) -> bool:
        """Whether nobody killed it from outside, as far as is known."""
        ...

    def kill(self) -> None:
        """End it at once. Safe to call twice."""
        ...


class Cluster(Protocol):
    """Where workers are started: on this machine, or on many."""

    is_leased: bool
    """Whether a worker may live on unseen: then it gives up its shards by itself when it hears no driver."""

    def start(self, number: int, told: bytes, marks: Path) -> Member:
        """Start a worker that runs `fleet.member.run` with `told`. Raises EngineLost when none can be started."""
        ...

    def wait(self, members: Sequence[Member], seconds: float) -> None:
        """Wait until one of them has said something or died, at most so long."""
        ...

    def close(self) -> None:
        """Leave nothing behind. Safe to call twice."""
        ...
