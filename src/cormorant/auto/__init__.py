"""`--engine auto`: a worker that watches its first jobs, chooses engine and width, says why, and goes on.

It is one run over one scheduler: every job is run once and every outcome handed over, those of the probe like all
others. Pages alone are probed under the engine they will have anyway, so that only the width changes. A function
is probed in a thread, one call at a time (threads that compete for the GIL would look as if they waited), and the
rest runs under the engine that was chosen. The choice is logged on `cormorant.auto`.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from cormorant import engines
from cormorant.auto.choice import MOST, Calls, Choice, Pages, for_calls, for_pages
from cormorant.auto.probe import CallMeter, Ended, PageMeter, Probe
from cormorant.auto.relay import Relay
from cormorant.errors import UsageError
from cormorant.interfaces import Engine, Scheduler, Sink, Transports, Work
from cormorant.messages import Done, Harvest, Page
from cormorant.options import AUTO
from cormorant.pump import drive
from cormorant.watchdog import Watchdog
from cormorant.worker import Worker

PAGES, PAGES_WARM_UP, PAGES_AT_ONCE, PAGES_SECONDS = 40, 16, 8, 2.0
CALLS, CALLS_SECONDS = 8, 1.0

log = logging.getLogger(__name__)


def engine_for(asked: str, function: Callable[..., Any] | None) -> str:
    """Return the engine that was asked for; for an async function there is nothing to choose but asyncio."""
    if asked != AUTO or function is None or not engines.is_async(function):
        return asked
    log.info("auto: engine asyncio: the function is async")
    return "asyncio"


class AutoWorker(Worker):
    """A worker that chooses its engine and, unless `wanted` says how many at once, its width.

    `listed` is the length of the list, where it is known. `engine` and `width` tell the choice as soon as it is made.
    A watchdog watches from when an engine runs whose loop a call could hold.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        work: Work,
        transports: Transports,
        *,
        wanted: int | None,
        listed: int | None,
        has_user_code: bool,
        sink: Sink | None = None,
        watchdog_seconds: float | None = None,
    ) -> None:
        first, width = ("thread", 1) if has_user_code else ("greenlet", wanted or PAGES_AT_ONCE)
        super().__init__(
            scheduler,
            first,
            work,
            transports,
            width=engines.width(first, width),
            has_user_code=has_user_code,
            sink=sink,
        )
        self._watchdog = None if watchdog_seconds is None else Watchdog(watchdog_seconds)
        self._wanted, self._listed = wanted, listed
        self._choice: Choice | None = None
        self._has_begun = False
        self._relay: Relay

    def _watch_loop_of(self, engine: Engine) -> None:
        if engines.facts(self._engine).one_loop:
            self._begin_watch(engine)
        elif self._watchdog is not None and self._has_begun:
            log.info("auto: no call can hold engine %s, so the watchdog has nothing to watch", self._engine)

    def _outcomes(self) -> Generator[Any, None, None]:
        if not self._setup.has_user_code and self._wanted is not None:
            self._say("pages alone wait in our own wire, where one thread can wait for all")
            return super()._outcomes()
        return self._probed_calls() if self._setup.has_user_code else self._probed_pages()

    def _probed_pages(self) -> Generator[Any, None, None]:
        """Run the whole list under one engine, a few pages at once until it is known how many there should be."""
        meter = PageMeter()
        return self._probed(
            self._setup,
            jobs=PAGES,
            warm_up=PAGES_WARM_UP,
            seconds=PAGES_SECONDS,
            warmed=partial(meter.leave_out, PAGES_WARM_UP),
            choose=lambda ended: self._width_of(_judge_pages(meter, ended)),
        )

    def _probed_calls(self) -> Generator[Any, None, None]:
        """Run the first calls one at a time in a thread, and the rest under what suits them."""
        meter = CallMeter(self._setup.work, self._setup.transports)
        return self._probed(
            dataclasses.replace(self._setup, work=meter, transports=meter),
            jobs=CALLS,
            warm_up=0,
            seconds=CALLS_SECONDS,
            warmed=_nothing,
            choose=lambda ended: self._width_of(self._judge_calls(meter, ended)),
        )

    def _probed(self, setup: engines.Setup, **probing: Any) -> Generator[Any, None, None]:
        engine = engines.start(self._engine, setup)
        self._watch_loop_of(engine)
        self._relay = Relay(engine)
        probe = Probe(self._scheduler, width=setup.width, begin=self._begin, **probing)
        return self._told(drive(probe, self._relay, max(MOST, self._wanted or 0), self._after_round))

    def _told(self, outcomes: Generator[Any, None, None]) -> Generator[Any, None, None]:
        yield from outcomes
        if not self._has_begun and not self._stopped:
            self._say("the whole list was done within the probe")

    def _width_of(self, choice: Choice) -> int:
        """Note the choice; return how many at once: as asked, else as chosen, and no more than there are."""
        width = engines.width(choice.engine, self._wanted or choice.width)
        width = min(width, self._listed or width)
        self._choice = dataclasses.replace(choice, width=width)
        return width

    def _begin(self) -> None:
        """Go on under what was chosen: pages stay in the engine they are in, calls go to the new one."""
        assert self._choice is not None
        assert self._choice.width is not None
        self._has_begun = True
        self._setup = dataclasses.replace(self._setup, width=self._choice.width)
        self._engine = self._choice.engine
        if self._setup.has_user_code:
            engine = engines.start(self._engine, self._setup)
            self._relay.hand_to(engine)
            self._watch_loop_of(engine)
        self._say(self._choice.why)

    def _say(self, why: str) -> None:
        log.info("auto: engine %s, %d at once: %s", self._engine, self.width, why)

    def _judge_calls(self, meter: CallMeter, ended: list[Ended]) -> Choice:
        wall, cpu, wire = meter.medians()
        return for_calls(
            Calls(
                ended=len(ended),
                probe_seconds=CALLS_SECONDS,
                wall_seconds=wall,
                cpu_seconds=cpu,
                wire_seconds=wire,
                cores=_cores(),
                refusal=meter.refusal or self._refusal(),
            )
        )

    def _refusal(self) -> str | None:
        """Say why worker processes cannot have the function, if they cannot."""
        try:
            engines.check("process", self._setup)
        except UsageError:
            return "the function cannot travel to other processes; define it at the top level of a module"
        return None if _is_main_guarded() else "worker processes need `if __name__ == '__main__':` in the script"


def _nothing() -> None:
    pass


def _judge_pages(meter: PageMeter, ended: list[Ended]) -> Choice:
    """Judge by the good pages: a refusal is quicker than any page, and what hangs is slower."""
    latencies = [seconds for done, seconds in ended if _is_good(done)]
    return for_pages(
        Pages(
            ended=len(ended),
            good=len(latencies),
            probe_seconds=PAGES_SECONDS,
            latency_seconds=median(latencies) if latencies else 0.0,
            cpu_seconds=meter.cpu_seconds(len(ended)),
        )
    )


def _is_good(done: Done) -> bool:
    outcome = done.value.outcome if isinstance(done.value, Harvest) else done.value
    return isinstance(outcome, Page) and outcome.ok


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_main_guarded() -> bool:
    """Tell whether the script that runs may be imported anew by worker processes, as far as its text shows."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    try:
        return path is not None and "__name__" in Path(path).read_text(errors="replace")
    except OSError:
        return False
