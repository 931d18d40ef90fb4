"""The only two loops of the house: they join a scheduler to an engine, once plainly and once with `await`.

Each round starts what may start, hands over what has ended, and waits for the next end. What can start is started
before anything is handed over, so that the wire is busy while the caller looks at a page. Closing the
generator closes the engine, and so ends the work behind it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from cormorant.interfaces import AwaitedEngine, Engine, Scheduler
from cormorant.messages import FINISHED, Fetch, Finished, Wait

FILL_SECONDS = 0.02  # most time spent on starting before the pages under way are looked at
IDLE_SECONDS = 0.2  # with nothing under way no end can come: look whether `stop` was said

Clock = Callable[[], float]
AfterRound = Callable[[], float | None]


class _Filler:
    """Keeps an engine as full as the scheduler allows; knows how many jobs are under way."""

    def __init__(self, scheduler: Scheduler, engine: Engine | AwaitedEngine, width: int, clock: Clock) -> None:
        self._scheduler, self._engine = scheduler, engine
        self._width, self._clock = width, clock
        self.under_way = 0

    def fill(self) -> float | Finished | None:
        """Start what may start; returns how long the engine may wait for an end (None: until one comes)."""
        step: Fetch | Wait | Finished = Wait()
        began = self._clock()
        while self.under_way < self._width:
            step = self._scheduler.next(self._clock())
            if not isinstance(step, Fetch):
                break
            self._engine.start(step.ticket, step.argument, step.seconds)
            self.under_way += 1
            if self._clock() - began > FILL_SECONDS:
                return 0.0  # a slow input: look at what is back before reading on
        else:
            return None
        if not isinstance(step, Wait):
            return step
        patience = None if step.until is None else max(0.0, step.until - self._clock())
        if self.under_way:
            return patience
        return IDLE_SECONDS if patience is None else min(patience, IDLE_SECONDS)

    def settle(self, ended: list[Any]) -> None:
        """Bring ended jobs home."""
        self.under_way -= len(ended)
        for done in ended:
            self._scheduler.settle(done, self._clock())


def _shortest(patience: float | None, seconds: float | None) -> float | None:
    return patience if seconds is None else seconds if patience is None else min(patience, seconds)


def drive(
    scheduler: Scheduler,
    engine: Engine,
    width: int,
    after_round: AfterRound,
    clock: Clock = time.monotonic,
) -> Generator[Any, None, None]:
    """Yield each outcome the moment it is there, at most `width` jobs at once, until the scheduler is finished.

    `after_round` is called when all that was there has been yielded, before the engine is asked for more; it
    returns in how many seconds it wants to be called again at the latest (None: with the next end).
    """
    filler = _Filler(scheduler, engine, width, clock)
    try:
        while (patience := filler.fill()) is not FINISHED:
            ended = scheduler.outcomes()
            if ended:
                ended.reverse()
                while ended:  # not kept while the caller looks at it
                    yield ended.pop()
                patience = 0.0  # time has passed at the caller's: look again before waiting
            filler.settle(engine.collect(_shortest(patience, after_round())))
        yield from scheduler.outcomes()
    finally:
        engine.close()


async def adrive(
    scheduler: Scheduler,
    engine: AwaitedEngine,
    width: int,
    after_round: AfterRound,
    clock: Clock = time.monotonic,
) -> AsyncGenerator[Any, None]:
    """Do what `drive` does, inside a running event loop."""
    filler = _Filler(scheduler, engine, width, clock)
    try:
        while (patience := filler.fill()) is not FINISHED:
            ended = scheduler.outcomes()
            if ended:
                ended.reverse()
                while ended:
                    yield ended.pop()
                patience = 0.0
            filler.settle(await engine.collect(_shortest(patience, after_round())))
        for outcome in scheduler.outcomes():
            yield outcome
    finally:
        await engine.close()
