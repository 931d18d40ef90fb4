"""Records one run: stands beside the worker, hears every station, and puts what was heard in order."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import os
import platform
import selectors
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from cormorant import opening
from cormorant.engines import is_async
from cormorant.interfaces import Entry, Transports, Work
from cormorant.lab.observing import JobTimes
from cormorant.lab.trace import phases
from cormorant.lab.trace.events import Event, Job, Trace, What
from cormorant.lab.trace.notes import Notes, ticket
from cormorant.lab.trace.phases import Home
from cormorant.lab.trace.steps import Steps
from cormorant.lab.trace.switches import Switches
from cormorant.lab.trace.wire import HeardTransports, end_of
from cormorant.messages import Done, Failure, Fetch, Outcome, Page
from cormorant.options import Options

PYTHONS_LOOP = (
    "asyncio runs on Python's own loop here, even where uvloop is installed: uvloop does not tell of its waits"
)
BROKE_OFF = "the run was broken off by Ctrl-C: what was under way was ended, and the rest was never asked for"
NO_SWITCH_COUNTS = "this system does not count context switches by thread"

_LOOPS = {
    "greenlet": "select.epoll" if selectors.DefaultSelector is getattr(selectors, "EpollSelector", None) else "kqueue",
    "gevent": "libev prepare and check watchers",
    "asyncio": f"selectors.{selectors.DefaultSelector.__name__}",
}
_HOMES = {"greenlet": "the hub", "gevent": "the main program"}


class _Told(msgspec.Struct, frozen=True):
    """The value of a job on its way home from another process, with what was noted there."""

    value: Any
    events: list[Event]


@dataclasses.dataclass(frozen=True, slots=True)
class _Noted:
    """Plain work that notes its beginning and end."""

    work: Callable[[Any], Any]
    notes: Notes
    switches: Switches | None

    def __call__(self, argument: Any) -> Any:
        number = ticket()
        self.notes.note(What.BEGAN, "around the work", job=number)
        if self.switches is not None and number is not None:
            self.switches.began(number)
        try:
            value = self.work(argument)
        finally:
            self.notes.note(What.ENDED, "around the work", job=number)
            if self.switches is not None:
                self.switches.ended()
        return value if self.notes.is_home else _Told(value, self.notes.taken())


@dataclasses.dataclass(frozen=True, slots=True)
class _AwaitedNoted:
    """Async work that notes its beginning and end, and every step between."""

    work: Callable[[Any], Any]
    notes: Notes

    async def __call__(self, argument: Any) -> Any:
        return await Steps(self._run(argument), self.notes, ticket())

    async def _run(self, argument: Any) -> Any:
        number = ticket()
        self.notes.note(What.BEGAN, "around the work", job=number)
        try:
            return await self.work(argument)
        finally:
            self.notes.note(What.ENDED, "around the work", job=number)


class Tracer(JobTimes):
    """Implements `interfaces.Observer` and, for the loop, `interfaces.Rounds`. `broke_off`: Ctrl-C ended it."""

    def __init__(self, engine: str) -> None:
        super().__init__(rounds=self)
        self.broke_off = False
        self.notes = Notes()
        self.switches = Switches(self.notes, _HOMES[engine]) if engine in _HOMES else None
        self._engine = engine
        self._home: dict[int, Home] = {}
        self._last_job: dict[str, int] = {}
        self._follows: dict[int, int] = {}

    def listening(self) -> contextlib.AbstractContextManager[None]:
        """Listen to the switches of this thread for a block."""
        return contextlib.nullcontext() if self.switches is None else self.switches.listening()

    # --- Observer ---

    def work(self, work: Work) -> Work:
        """Note beginning, steps and end of the work where it runs."""
        return _AwaitedNoted(work, self.notes) if is_async(work) else _Noted(work, self.notes, self.switches)

    def transports(self, transports: Transports) -> Transports:
        """Hear the wire."""
        return HeardTransports(transports, self.notes)

    def released(self, fetch: Fetch, now: float) -> None:
        """Note that a job was let go."""
        JobTimes.released(self, fetch, now)
        request = fetch.argument
        if request.redirects and request.url in self._last_job:
            self._follows[fetch.ticket] = self._last_job[request.url]
        self._last_job[request.url] = fetch.ticket
        self.notes.note(What.RELEASED, "Scheduler.next", job=fetch.ticket, at=now, detail=request.target)

    def settled(self, done: Done, now: float) -> Done:
        """Note that a job came home; what it noted in another process comes with it."""
        done = JobTimes.settled(self, done, now)
        if isinstance(done.value, _Told):
            self.notes.brought(done.value.events)
            done = msgspec.structs.replace(done, value=done.value.value)
        self._home[done.ticket] = home = _came_home(done)
        self.notes.note(What.SETTLED, "Scheduler.settle", job=done.ticket, at=now, detail=home.end)
        return done

    # --- Rounds ---

    def waited(self, began: float, ended: float, ready: int) -> None:
        """Note one wait of the loop, by when it was over."""
        self.notes.note(What.WAITED, _LOOPS[self._engine], at=ended, seconds=ended - began, ready=ready)

    # --- the whole ---

    def handed_over(self, outcome: Outcome) -> None:
        """Note that the caller has an outcome."""
        number = self._last_job.get(outcome.url)
        detail = end_of(outcome) if number is not None else f"{end_of(outcome)}: {outcome.url}"
        self.notes.note(What.HANDED_OVER, "Worker.run", job=number, detail=detail)

    def trace(self, options: Options, width: int, began: float, ended: float) -> Trace:
        """Return what was heard between two instants."""
        heard = self.notes.in_order()
        heard = sorted([*heard, *phases.computed(heard, self._home)], key=lambda event: event.at)
        return Trace(
            engine=options.engine,
            options={"engine": options.engine, "concurrency": width, "timeout": options.timeout},
            machine=_machine(),
            pid=os.getpid(),
            thread=threading.get_native_id(),
            seconds=ended - began,
            broke_off=self.broke_off,
            notes=self._remarks(heard),
            jobs=[self._job(number) for number in self.jobs],
            events=[msgspec.structs.replace(event, at=event.at - began) for event in heard],
        )

    def _remarks(self, heard: list[Event]) -> list[str]:
        remarks = [BROKE_OFF] if self.broke_off else []
        remarks += [PYTHONS_LOOP] if self._engine == "asyncio" else []
        remarks += self.notes.remarks
        if any(event.what is What.LEFT and event.context_switches is None for event in heard):
            remarks.append(NO_SWITCH_COUNTS)
        told = {event.job for event in heard if event.what is What.BEGAN}
        lost = [number for number in self._home if number not in told]
        if lost:
            numbers = ", ".join(map(str, lost))
            remarks.append(f"what happened inside job {numbers} was not heard: it was ended from outside")
        return remarks

    def _job(self, number: int) -> Job:
        request = self.jobs[number].argument
        home = self._home.get(number)
        end = None if home is None else home.end
        return Job(job=number, url=request.url, target=request.target, follows=self._follows.get(number), end=end)


def _came_home(done: Done) -> Home:
    value = done.value
    if done.fault is not None:
        return Home(str(done.fault.kind))
    if isinstance(value, Page | Failure):
        return Home(end_of(value), value.timings, getattr(value, "phase", None))
    return Home("ok")


def record(entries: Iterable[Entry | None], options: Options, transports: Transports | None = None) -> Trace:
    """Fetch `entries` under `options` and return all that was heard. Everything is kept: meant for short lists.

    A KeyboardInterrupt ends the run; what was heard by then is returned.
    """
    tracer = Tracer(options.engine)
    worker = opening.open_fetch(entries, options, transports=transports).observe(tracer)
    _import_engine(options.engine)
    began = time.monotonic()
    try:
        with tracer.listening(), contextlib.closing(worker.run()) as outcomes:
            for outcome in outcomes:
                tracer.handed_over(outcome)
    except KeyboardInterrupt:
        tracer.broke_off = True
    return tracer.trace(options, worker.width, began, time.monotonic())


def _import_engine(name: str) -> None:
    """Import beforehand what the run would import first: that is no part of how an engine waits."""
    for module in (f"engines.{name}", "transport.blocking", "transport.evented"):
        importlib.import_module(f"cormorant.{module}")


def _machine() -> dict[str, str]:
    facts = {"system": platform.platform(), "cores": str(os.cpu_count()), "python": platform.python_version()}
    for package in ("pycurl", "greenlet", "gevent"):
        if package in sys.modules:
            facts[package] = importlib.metadata.version(package)
    return facts
