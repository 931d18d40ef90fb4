"""One worker: joins scheduler, engine, transport and sink, and decides nothing.

`Worker.run` is the road of `docs/architecture.md` in one place; what it hands over was saved first.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias, cast

from cormorant import engines
from cormorant.errors import UsageError
from cormorant.interfaces import AwaitedEngine, Engine, Observer, OneLoop, Scheduler, Sink, Transports, Work
from cormorant.messages import Failure, LeftOut, Page, Result
from cormorant.pump import adrive, drive
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


class Worker:
    """Runs one scheduler under one engine; `run` may be called once."""

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
        self._ok = self._http_errors = self._bytes = self._by_robots = 0
        self._report: Report | None = None
        self._failed: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()

    def save_to(self, sink: Sink | None) -> Worker:
        """Write every outcome to `sink` before it is handed over; to be called before `run`."""
        self._sink = sink
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
    def engine(self) -> str:
        """The name of the engine."""
        return self._engine

    @property
    def width(self) -> int:
        """How many jobs may be under way at once."""
        return self._setup.width

    def run(self) -> Generator[Any, None, None]:
        """Yield each outcome the moment it is back, and saved. Closing the generator stops the work behind it."""
        outcomes = self._outcomes()
        self._started_at = time.monotonic()
        try:
            for outcome in outcomes:
                self._book(outcome)
                yield outcome
        finally:
            self._end()
            try:
                outcomes.close()
            finally:
                self._close_sink()

    def _outcomes(self) -> Generator[Any, None, None]:
        """Start the engine; return the loop over it."""
        engine = engines.start(self._engine, self._setup)
        self._begin_watch(engine)
        return drive(self._scheduler, engine, self._setup.width, self._flush)

    async def arun(self) -> AsyncGenerator[Any, None]:
        """Do what `run` does inside a running event loop."""
        engine = engines.start_awaited(self._setup)
        self._begin_watch(engine)
        self._started_at = time.monotonic()
        outcomes = adrive(self._scheduler, engine, self._setup.width, self._flush)
        try:
            async for outcome in outcomes:
                self._book(outcome)
                yield outcome
        finally:
            self._end()
            try:
                await outcomes.aclose()
            finally:
                self._close_sink()

    def _begin_watch(self, engine: Engine | AwaitedEngine) -> None:
        if self._watchdog is not None:
            self._watchdog.watch(cast(OneLoop, engine).caller_from_threads())

    def _end(self) -> None:
        """Stop the clock, and call off the watchdog: closing an engine may take its time."""
        self._ended_at = time.monotonic()
        if self._watchdog is not None:
            self._watchdog.close()

    def _flush(self) -> None:
        """Hand what was saved to the operating system: nobody should wait for a line that is written already."""
        if self._sink is not None:
            self._sink.flush()
        self._tell_left_out()

    def _tell_left_out(self) -> None:
        if self._report is not None and (left_out := self._scheduler.take_left_out()):
            self._report(left_out)

    def _close_sink(self) -> None:
        try:
            self._tell_left_out()
        finally:
            if self._sink is not None:
                self._sink.close()

    def _book(self, outcome: Page | Failure | Result) -> None:
        """Save an outcome, then count it."""
        if self._sink is not None:
            self._sink.write(outcome)
        if isinstance(outcome, Page):
            self._bytes += len(outcome.body)
            self._statuses[outcome.status] += 1
            if outcome.ok:
                self._ok += 1
            else:
                self._http_errors += 1
        elif outcome.kind is None:
            self._ok += 1
        else:
            self._failed[outcome.kind.value] += 1
            if isinstance(outcome, Failure) and outcome.phase == "robots":
                self._by_robots += 1

    def stop(self) -> None:
        """Start nothing more; what is under way is finished and handed over. Safe in a signal handler."""
        self._stopped = True
        self._scheduler.stop()

    def statistics(self) -> Statistics:
        """Return the books at this instant; may be called from another thread."""
        scheduler = self._scheduler
        done = self._ok + self._http_errors + sum(self._failed.values())
        left_out = dict(scheduler.left_out)
        until = self._ended_at or time.monotonic()
        return Statistics(
            offered=scheduler.offered,
            duplicates=scheduler.duplicates,
            done=done,
            in_flight=scheduler.in_flight,
            ok=self._ok,
            http_errors=self._http_errors,
            failed=MappingProxyType(dict(self._failed)),
            not_reached=scheduler.offered - scheduler.duplicates - sum(left_out.values()) - done,
            retried=scheduler.retried,
            redirected=scheduler.redirected,
            bytes=self._bytes,
            statuses=MappingProxyType(dict(self._statuses)),
            seconds=until - self._started_at if self._started_at is not None else 0.0,
            stopped=self._stopped,
            input_ended=scheduler.input_ended,
            held=self._watchdog.held() if self._watchdog is not None else (),
            left_out=MappingProxyType(left_out),
            by_robots=self._by_robots,
            services=scheduler.services,
        )


def _watchdog(engine: str, limit_seconds: float) -> Watchdog:
    """Return a watchdog for an engine. Raises UsageError for one in which no call can stop the others."""
    if not engines.facts(engine).one_loop:
        loops = ", ".join(name for name in engines.names() if engines.facts(name).one_loop)
        raise UsageError(f"engine {engine!r} has no loop that one call could hold: leave watchdog out, or use {loops}")
    return Watchdog(limit_seconds)
