"""One worker: joins scheduler, engine, transport and sink, and decides nothing.

`Worker.run` is the road of `docs/architecture.md` in one place; what it hands over was saved first.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from types import MappingProxyType
from typing import Any

from cormorant import engines
from cormorant.interfaces import Scheduler, Sink, Transports, Work
from cormorant.messages import Failure, Page, Result
from cormorant.pump import adrive, drive


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The books of a run at one instant. Every entry offered is in exactly one of the ends or `not_reached`.

    `offered == ok + http_errors + sum(failed.values()) + duplicates + not_reached`; `not_reached` holds what waits
    and what is under way. `failed` counts by kind, `statuses` by HTTP status; `bytes` are decoded body bytes.
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
    ) -> None:
        self._scheduler = scheduler
        self._engine = engine
        self._setup = engines.Setup(work=work, transports=transports, width=width, has_user_code=has_user_code)
        engines.check(engine, self._setup)
        self._sink = sink
        self._stopped = False
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self._ok = self._http_errors = self._bytes = 0
        self._failed: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()

    def save_to(self, sink: Sink | None) -> Worker:
        """Write every outcome to `sink` before it is handed over; to be called before `run`."""
        self._sink = sink
        return self

    @property
    def width(self) -> int:
        """How many jobs may be under way at once."""
        return self._setup.width

    def run(self) -> Generator[Any, None, None]:
        """Yield each outcome the moment it is back, and saved. Closing the generator stops the work behind it."""
        engine = engines.start(self._engine, self._setup)
        self._started_at = time.monotonic()
        outcomes = drive(self._scheduler, engine, self._setup.width, self._flush)
        try:
            for outcome in outcomes:
                self._book(outcome)
                yield outcome
        finally:
            self._ended_at = time.monotonic()
            try:
                outcomes.close()
            finally:
                self._close_sink()

    async def arun(self) -> AsyncGenerator[Any, None]:
        """Do what `run` does inside a running event loop."""
        engine = engines.start_awaited(self._setup)
        self._started_at = time.monotonic()
        outcomes = adrive(self._scheduler, engine, self._setup.width, self._flush)
        try:
            async for outcome in outcomes:
                self._book(outcome)
                yield outcome
        finally:
            self._ended_at = time.monotonic()
            try:
                await outcomes.aclose()
            finally:
                self._close_sink()

    def _flush(self) -> None:
        """Hand what was saved to the operating system: nobody should wait for a line that is written already."""
        if self._sink is not None:
            self._sink.flush()

    def _close_sink(self) -> None:
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

    def stop(self) -> None:
        """Start nothing more; what is under way is finished and handed over. Safe in a signal handler."""
        self._stopped = True
        self._scheduler.stop()

    def statistics(self) -> Statistics:
        """Return the books at this instant; may be called from another thread."""
        scheduler = self._scheduler
        done = self._ok + self._http_errors + sum(self._failed.values())
        until = self._ended_at or time.monotonic()
        return Statistics(
            offered=scheduler.offered,
            duplicates=scheduler.duplicates,
            done=done,
            in_flight=scheduler.in_flight,
            ok=self._ok,
            http_errors=self._http_errors,
            failed=MappingProxyType(dict(self._failed)),
            not_reached=scheduler.offered - scheduler.duplicates - done,
            retried=scheduler.retried,
            redirected=scheduler.redirected,
            bytes=self._bytes,
            statuses=MappingProxyType(dict(self._statuses)),
            seconds=until - self._started_at if self._started_at is not None else 0.0,
            stopped=self._stopped,
            input_ended=scheduler.input_ended,
        )
