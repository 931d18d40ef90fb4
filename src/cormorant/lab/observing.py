"""The instants of every job, heard from outside: by standing before the scheduler and around the work.

`JobTimes` is an `interfaces.Observer`. The work runs inside `Timed`, which sends its instants home with the value,
from other threads and processes too (the monotonic clock is one for the whole machine); `_Listening` takes them off
before the real scheduler sees the value. Engines, transport and scheduler know nothing of it.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from cormorant.engines import is_async
from cormorant.interfaces import Rounds, Scheduler, Transports, Work
from cormorant.messages import Done, Fetch, Finished, Wait


class Span(msgspec.Struct, frozen=True, gc=False):
    """When and where the work of a job ran; instants are monotonic."""

    began_at: float
    ended_at: float
    pid: int
    thread: int


class _Sent(msgspec.Struct, frozen=True):
    """The value of a job on its way home with its span."""

    value: Any
    span: Span


@dataclasses.dataclass(slots=True)
class Times:
    """One job: let go by the scheduler, run, come home. `span` is None for a job that was ended from outside."""

    ticket: int
    argument: Any
    released_at: float
    span: Span | None = None
    settled_at: float = 0.0
    done: Done | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Timed:
    """Plain work, timed where it runs."""

    timed: Callable[[Any], Any]

    def __call__(self, argument: Any) -> _Sent:
        """Do the work."""
        began = time.monotonic()
        value = self.timed(argument)
        return _Sent(value, Span(began, time.monotonic(), os.getpid(), threading.get_ident()))


@dataclasses.dataclass(frozen=True, slots=True)
class AwaitedTimed:
    """Async work, timed where it runs."""

    timed: Callable[[Any], Any]

    async def __call__(self, argument: Any) -> _Sent:
        """Do the work."""
        began = time.monotonic()
        value = await self.timed(argument)
        return _Sent(value, Span(began, time.monotonic(), os.getpid(), threading.get_ident()))


class JobTimes:
    """Implements `interfaces.Observer`: `jobs` holds the instants of every job, in the order of their release.

    `keep_values` keeps what each job ended in (`Times.done`); otherwise pages are not held.
    """

    def __init__(self, rounds: Rounds | None = None, *, keep_values: bool = False) -> None:
        self.rounds = rounds
        self.jobs: dict[int, Times] = {}
        self._keep_values = keep_values

    def most_at_once(self) -> int:
        """Return how many jobs were under way at one instant, at the most; each hop of a redirect is a job."""
        steps: list[tuple[float, int]] = []
        for job in self.jobs.values():
            began, ended = (job.span.began_at, job.span.ended_at) if job.span else (job.released_at, job.settled_at)
            steps += (began, 1), (ended, -1)
        return max(itertools.accumulate(step for _, step in sorted(steps)), default=0)

    def work(self, work: Work) -> Work:
        """Time the work where it runs."""
        return AwaitedTimed(work) if is_async(work) else Timed(work)

    def transports(self, transports: Transports) -> Transports:
        """Leave the wire as it is."""
        return transports

    def scheduler(self, scheduler: Scheduler) -> Scheduler:
        """Note what leaves and what comes home."""
        return _Listening(scheduler, self)

    def released(self, fetch: Fetch, now: float) -> None:
        """Note that a job was let go."""
        self.jobs[fetch.ticket] = Times(fetch.ticket, fetch.argument, now)

    def settled(self, done: Done, now: float) -> Done:
        """Note that a job came home; returns it as its scheduler knows it."""
        times = self.jobs[done.ticket]
        times.settled_at = now
        if isinstance(done.value, _Sent):
            times.span = done.value.span
            done = msgspec.structs.replace(done, value=done.value.value)
        if self._keep_values:
            times.done = done
        return done


class _Listening:
    """A scheduler through which `JobTimes` hears; implements `interfaces.Scheduler`."""

    def __init__(self, scheduler: Scheduler, heard_by: JobTimes) -> None:
        self._scheduler, self._heard_by = scheduler, heard_by
        self.outcomes, self.stop = scheduler.outcomes, scheduler.stop

    def next(self, now: float) -> Fetch | Wait | Finished:
        step = self._scheduler.next(now)
        if isinstance(step, Fetch):
            self._heard_by.released(step, now)
        return step

    def settle(self, done: Done, now: float) -> None:
        self._scheduler.settle(self._heard_by.settled(done, now), now)

    def __getattr__(self, counter: str) -> Any:
        """Pass the counters on."""
        return getattr(self._scheduler, counter)
