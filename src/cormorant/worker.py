"""One worker: joins scheduler, engine, transport and sink, and decides nothing.

`Worker.run` is the road of `docs/architecture.md` in one place; what it hands over was saved first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, cast

from cormorant import engines
from cormorant.errors import UsageError
from cormorant.interfaces import (
    AwaitedEngine,
    DurableSink,
    Engine,
    Observer,
    OneLoop,
    Scheduler,
    Sink,
    Transports,
    Work,
)
from cormorant.messages import LeftOut, Outcome, Result
from cormorant.pump import adrive, drive
from cormorant.tally import Tally
from cormorant.watchdog import Held, Watchdog


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The books of a run at one instant. Every entry offered is in exactly one of the ends or `not_reached`.

    `offered == ok + http_errors + sum(failed.values()) + duplicates + sum(left_out.values()) + not_reached`;
    `not_reached` holds what waits and what is under way. `failed` counts by kind (`by_robots` of them are pages that a
    robots.txt keeps us from), `left_out` by reason what a crawl saw and did not fetch, `statuses` by HTTP status;
    `bytes` are decoded body bytes; `services` are the robots.txt and sitemaps that were read.
    `held` are the places that held the loop, where a watchdog watched.
    """

    offered: int
    duplicates: int
    done: int
    in_flight: int
    ok: int
    http_errors: int
    failed: MappingProxyType[str, int]
    not_reached: int
    retried: int
    redirected: int
    bytes: int
    statuses: MappingProxyType[int, int]
    seconds: float
    stopped: bool
    input_ended: bool
    held: tuple[Held, ...] = ()
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
    by_robots: int = 0
    services: int = 0


Report: TypeAlias = Callable[[list[LeftOut]], None]


class Books(Protocol):
    """What keeps a run that goes on: `commits.Commits`, and in a fleet what holds those of several shards."""

    @property
    def tally(self) -> Tally:
        """The outcomes of all runs so far; `count` counts into it."""
        ...

    @property
    def seconds_before(self) -> float:
        """How long the runs before took."""
        ...

    def save_to(self, sink: DurableSink | None) -> None:
        """Hear where outcomes are written."""
        ...

    def count(self, outcome: Outcome | Result) -> None:
        """Count an outcome that was written."""
        ...

    @property
    def waiting(self) -> int:
        """How many outcomes were written and are not committed."""
        ...

    def after_round(self) -> float | None:
        """Do what is due; returns in how many seconds more will be, None: when more has come."""
        ...

    def last(self) -> None:
        """Commit all that was written, at the end."""
        ...

    def close(self) -> None:
        """Let go of everything. Safe to call twice."""
        ...


class Worker:
    """Runs one scheduler under one engine; `run` may be called once."""

    workers = 1
    writes_itself = is_in_parts = False  # where a fleet's workers do, this one writes to the sink it is given

    def __init__(
        self,
        scheduler: Scheduler,
        engine: str,
        work: Work,
        transports: Transports,
        *,
        width: int,
        has_user_code: bool,
        sink: Sink | None = None,
        watchdog_seconds: float | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._engine = engine
        self._setup = engines.Setup(work=work, transports=transports, width=width, has_user_code=has_user_code)
        engines.check(engine, self._setup)
        self._sink = sink
        self._watchdog = None if watchdog_seconds is None else _watchdog(engine, watchdog_seconds)
        self._stopped = False
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self._report: Report | None = None
        self._tally = Tally()
        self._commits: Books | None = None

    def save_to(self, sink: Sink | None) -> Worker:
        """Write every outcome to `sink` before it is handed over; to be called before `run`."""
        self._sink = sink
        return self

    def commit_by(self, commits: Books) -> Worker:
        """Run as a part of a job, whose books go on; to be called before `run`. The sink must be a `DurableSink` then.

        The job is closed with the run.
        """
        self._commits, self._tally = commits, commits.tally
        return self

    def report_to(self, report: Report) -> Worker:
        """Have `report` called with what a crawl leaves out; to be called before `run`."""
        self._report = report
        self._scheduler.reports_left_out = True
        return self

    def observe(self, observer: Observer) -> Worker:
        """Let `observer` hear this worker; to be called before `run`."""
        self._scheduler = observer.scheduler(self._scheduler)
        self._setup = dataclasses.replace(
            self._setup,
            work=observer.work(self._setup.work),
            transports=observer.transports(self._setup.transports),
            rounds=observer.rounds,
        )
        return self

    @property
    def commits(self) -> Books | None:
        """What commits, where this is the run of a job."""
        return self._commits

    @property
    def engine(self) -> str:
        """The name of the engine."""
        return self._engine

    @property
    def width(self) -> int:
        """How many jobs may be under way at once."""
        return self._setup.width

    def run(self) -> Generator[Any, None, None]:
        """Yield each outcome the moment it is back, and saved. Closing the generator stops the work behind it."""
        outcomes = self._run()
        weakref.finalize(outcomes, self._let_go).atexit = False
        return outcomes

    def _run(self) -> Generator[Any, None, None]:
        with self._closing():
            outcomes = self._outcomes()
            self._started_at = time.monotonic()
            try:
                with self._committing():
                    for outcome in outcomes:
                        self._book(outcome)
                        yield outcome
            finally:
                self._end()
                outcomes.close()

    def _outcomes(self) -> Generator[Any, None, None]:
        """Start the engine; return the loop over it."""
        engine = engines.start(self._engine, self._setup)
        self._begin_watch(engine)
        return drive(self._scheduler, engine, self._setup.width, self._after_round)

    def arun(self) -> AsyncGenerator[Any, None]:
        """Do what `run` does inside a running event loop."""
        outcomes = self._arun()
        weakref.finalize(outcomes, self._let_go).atexit = False
        return outcomes

    async def _arun(self) -> AsyncGenerator[Any, None]:
        with self._closing():
            engine = engines.start_awaited(self._setup)
            self._begin_watch(engine)
            self._started_at = time.monotonic()
            outcomes = adrive(self._scheduler, engine, self._setup.width, self._after_round)
            try:
                with self._committing():
                    async for outcome in outcomes:
                        self._book(outcome)
                        yield outcome
            finally:
                self._end()
                await outcomes.aclose()

    def _begin_watch(self, engine: Engine | AwaitedEngine) -> None:
        if self._watchdog is not None:
            self._watchdog.watch(cast(OneLoop, engine).caller_from_threads())

    def _end(self) -> None:
        """Stop the clock, and call off the watchdog: closing an engine may take its time."""
        self._ended_at = time.monotonic()
        if self._watchdog is not None:
            self._watchdog.close()

    def _after_round(self) -> float | None:
        """Hand what was saved to the operating system: nobody should wait for a line that is written already.

        Returns how soon a commit will be due, in seconds.
        """
        if self._sink is not None:
            self._sink.flush()
        self._tell_left_out()
        return None if self._commits is None else self._commits.after_round()

    def _tell_left_out(self) -> None:
        if self._report is not None and (left_out := self._scheduler.take_left_out()):
            self._report(left_out)

    @contextlib.contextmanager
    def _committing(self) -> Iterator[None]:
        """Commit what was written when the run ends, or when the caller has enough of it; after an error nothing.

        A task is cancelled where it waits, so nothing is half done then. KeyboardInterrupt may come anywhere.
        """
        try:
            yield
        except BaseException as error:
            if isinstance(error, GeneratorExit) or type(error).__name__ == "CancelledError":
                self._commit_last()
            raise
        self._commit_last()

    def _commit_last(self) -> None:
        self._tell_left_out()
        if self._commits is not None:
            self._commits.last()

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        """Close what was handed to the run, however it ends."""
        with contextlib.ExitStack() as stack:
            if self._commits is not None:
                self._commits.save_to(cast(DurableSink | None, self._sink))
                stack.callback(self._commits.close)
            if self._sink is not None:
                stack.callback(self._sink.close)
            stack.callback(self._tell_left_out)
            yield

    def _let_go(self) -> None:
        """Close what was handed to a run whose generator nobody ever looked at."""
        if self._started_at is None:
            with self._closing():
                pass

    def _book(self, outcome: Outcome | Result) -> None:
        """Save an outcome, then count it."""
        if self._sink is not None:
            self._sink.write(outcome)
        if self._commits is None:
            self._tally.count(outcome)
        else:
            self._commits.count(outcome)

    def stop(self) -> None:
        """Start nothing more; what is under way is finished and handed over. Safe in a signal handler."""
        self._stopped = True
        self._scheduler.stop()

    def statistics(self) -> Statistics:
        """Return the books at this instant; may be called from another thread."""
        scheduler, tally = self._scheduler, self._tally
        done = tally.done
        left_out = dict(scheduler.left_out)
        until = self._ended_at or time.monotonic()
        before = self._commits.seconds_before if self._commits is not None else 0.0
        return Statistics(
            offered=scheduler.offered,
            duplicates=scheduler.duplicates,
            done=done,
            in_flight=scheduler.in_flight,
            ok=tally.ok,
            http_errors=tally.http_errors,
            failed=MappingProxyType(dict(tally.failed)),
            not_reached=scheduler.offered - scheduler.duplicates - sum(left_out.values()) - done,
            retried=scheduler.retried,
            redirected=scheduler.redirected,
            bytes=tally.bytes,
            statuses=MappingProxyType(dict(tally.statuses)),
            seconds=before + (until - self._started_at if self._started_at is not None else 0.0),
            stopped=self._stopped,
            input_ended=scheduler.input_ended,
            held=self._watchdog.held() if self._watchdog is not None else (),
            left_out=MappingProxyType(left_out),
            by_robots=tally.by_robots,
            services=scheduler.services,
        )


def _watchdog(engine: str, limit_seconds: float) -> Watchdog:
    """Return a watchdog for an engine. Raises UsageError for one in which no call can stop the others."""
    if not engines.facts(engine).one_loop:
        loops = ", ".join(name for name in engines.names() if engines.facts(name).one_loop)
        raise UsageError(f"engine {engine!r} has no loop that one call could hold: leave watchdog out, or use {loops}")
    return Watchdog(limit_seconds)
