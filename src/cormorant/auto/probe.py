"""The first jobs of a run, watched: few at once, each timed, until it is clear how the rest should run.

A probe is not a rehearsal. Its jobs are the first of the list and their ends are handed over like all others. It waits
for nobody either: when its time is over, whatever is still under way goes on beside the rest.
"""

from __future__ import annotations

import dataclasses
import pickle
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from cormorant.interfaces import EventedTransport, Loop, Scheduler, Transport, Transports
from cormorant.messages import Done, Fetch, Finished, Outcome, Request, Wait


class Ended(NamedTuple):
    """A job of the probe: what it came to, and how long it took from being let out."""

    done: Done
    seconds: float


class Probe:
    """A scheduler (implements `interfaces.Scheduler`) that lets few of another's jobs out until it is widened.

    The probe is over when `jobs` have ended, or `seconds` after the first began. Then `choose`, given what each came to
    and the seconds that it took, says how many may be under way from now on, and `begin` is called before the first of
    them is let out: a list that ends within the probe, and one that is stopped, begins nothing new. `warmed` is called
    when the first `warm_up` jobs have ended.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        width: int,
        jobs: int,
        warm_up: int,
        seconds: float,
        warmed: Callable[[], None],
        choose: Callable[[list[Ended]], int],
        begin: Callable[[], None],
    ) -> None:
        self._scheduler = scheduler
        self._width, self._jobs, self._warm_up, self._seconds = width, jobs, warm_up, seconds
        self._warmed, self._choose, self._begin = warmed, choose, begin
        self._over_at: float | None = None
        self._is_over = self._has_begun = False
        self._let_out: dict[int, float] = {}
        self._ended: list[Ended] = []
        self.outcomes, self.stop = scheduler.outcomes, scheduler.stop

    def next(self, now: float) -> Fetch | Wait | Finished:
        """Say what to start, until when to wait, or that all is settled."""
        if not self._is_over and self._ends(now):
            self._is_over = True
            self._width = self._choose(self._ended)
        if self._scheduler.in_flight >= self._width:
            return Wait() if self._is_over else Wait(until=self._over_at)
        step = self._scheduler.next(now)
        if isinstance(step, Fetch) and not self._has_begun:
            self._note(step, now)
        return step

    def _ends(self, now: float) -> bool:
        return len(self._ended) >= self._jobs or (self._over_at is not None and now >= self._over_at)

    def _note(self, step: Fetch, now: float) -> None:
        if self._is_over:
            self._has_begun = True
            self._let_out.clear()
            self._begin()
        else:
            self._let_out[step.ticket] = now
            if self._over_at is None:
                self._over_at = now + self._seconds

    def settle(self, done: Done, now: float) -> None:
        """Take one ended job home."""
        if not self._is_over:
            self._ended.append(Ended(done, now - self._let_out.pop(done.ticket)))
            if len(self._ended) == self._warm_up:
                self._warmed()
        self._scheduler.settle(done, now)

    def __getattr__(self, counter: str) -> Any:
        """Pass the counters on."""
        return getattr(self._scheduler, counter)


class PageMeter:
    """Measures what pages cost the thread that fetches them, the first ones (imports, new connections) left out."""

    def __init__(self) -> None:
        self._cpu_before, self._left_out = time.thread_time(), 0

    def leave_out(self, pages: int) -> None:
        """Count from now on; so many pages came before."""
        self._cpu_before, self._left_out = time.thread_time(), pages

    def cpu_seconds(self, ended: int) -> float:
        """Return the CPU seconds of a page when `ended` have ended in all."""
        return (time.thread_time() - self._cpu_before) / max(1, ended - self._left_out)


@dataclasses.dataclass(slots=True)
class Lap:
    """One call: how long it ran, computed, and waited in our wire. Instants are monotonic."""

    began_at: float
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    wire_seconds: float = 0.0
    in_wire_since: float | None = None


class CallMeter:
    """Stands around the work of the probe's jobs and before their wire, in the one thread that runs them at a time.

    `refusal` says what could not have travelled to a worker process and back.
    """

    def __init__(self, work: Callable[[Any], Any], transports: Transports) -> None:
        self._work = work
        self._transports = transports
        self._mine = threading.local()
        self._under_way: Lap | None = None
        self._cpu_before = time.process_time()
        self.laps: list[Lap] = []
        self.refusal: str | None = None

    def __call__(self, argument: Any) -> Any:
        """Do the work, timed."""
        self._cpu_before = time.process_time()
        lap = self._mine.lap = self._under_way = Lap(time.monotonic())
        cpu_before = time.thread_time()
        try:
            value = self._work(argument)
        finally:
            lap.cpu_seconds = time.thread_time() - cpu_before
            lap.wall_seconds = time.monotonic() - lap.began_at
            self.laps.append(lap)
        self._see_whether_they_travel(argument, value)
        return value

    def _see_whether_they_travel(self, argument: Any, value: Any) -> None:
        if self.refusal is not None:
            return
        for what, it in (("items", argument), ("results", value)):
            try:
                pickle.dumps(it)
            except Exception as error:
                self.refusal = f"its {what} cannot travel to other processes ({error})"

    def blocking(self) -> Transport:
        """Return a transport whose waits are timed."""
        return _TimedWire(self._transports.blocking(), self._mine)

    def evented(self, loop: Loop) -> EventedTransport:
        """Return the transport as it is: the probe's jobs block."""
        return self._transports.evented(loop)

    def medians(self) -> tuple[float, float, float]:
        """Return wall, CPU and wire seconds of a call; of the one under way, so far, when none has ended.

        How much another thread has computed cannot be asked everywhere, so for that one it is the whole process.
        """
        laps = list(self.laps)
        if laps:
            return (
                median(lap.wall_seconds for lap in laps),
                median(lap.cpu_seconds for lap in laps),
                median(lap.wire_seconds for lap in laps),
            )
        lap, now = self._under_way, time.monotonic()
        if lap is None:
            return 0.0, 0.0, 0.0
        wall, since = now - lap.began_at, lap.in_wire_since
        return (
            wall,
            min(wall, time.process_time() - self._cpu_before),
            lap.wire_seconds + (now - since if since is not None else 0.0),
        )


class _TimedWire:
    """A blocking transport whose waits are added to the lap of the call that makes them."""

    def __init__(self, transport: Transport, mine: threading.local) -> None:
        self._transport = transport
        self._mine = mine
        self.interrupt, self.close = transport.interrupt, transport.close

    def fetch(self, request: Request) -> Outcome:
        """Make one hop."""
        lap: Lap = self._mine.lap
        since = lap.in_wire_since = time.monotonic()
        try:
            return self._transport.fetch(request)
        finally:
            lap.in_wire_since = None
            lap.wire_seconds += time.monotonic() - since
