"""Greenlet switches as greenlet itself tells them: its trace hook calls us at every single one.

gevent's greenlets are greenlet's, so the hook hears them too. A greenlet serves one job after the other; the job
that a switch leads into is known a moment later, when its function begins.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import greenlet

from cormorant.lab.trace.events import Event, What
from cormorant.lab.trace.notes import Notes

HEARD_FROM = "greenlet.settrace"


class Switch:
    """One call of the hook; implements `notes.Note`."""

    __slots__ = ("_how", "_names", "_where", "at", "origin_job", "target_job")

    def __init__(self, how: str, names: tuple[str, str], origin_job: int | None, target_job: int | None) -> None:
        self.at = time.monotonic()
        self._how, self._names = how, names
        self._where = (os.getpid(), threading.get_native_id())
        self.origin_job, self.target_job = origin_job, target_job

    def event(self) -> Event:
        """Return it as the job's switch in or out, or as one between two that are no jobs."""
        origin, target = self._names
        origin = origin if self.origin_job is None else f"job {self.origin_job}"
        thrown = ", with an exception" if self._how == "throw" else ""
        if self.target_job is not None:
            what, number, detail = What.SWITCH_IN, self.target_job, f"from {origin}{thrown}"
        elif self.origin_job is not None:
            what, number, detail = What.SWITCH_OUT, self.origin_job, f"to {target}{thrown}"
        else:
            what, number, detail = What.SWITCH, None, f"{origin} to {target}{thrown}"
        pid, thread = self._where
        return Event(at=self.at, what=what, job=number, pid=pid, thread=thread, detail=detail, heard_from=HEARD_FROM)


class Switches:
    """Hears every greenlet switch of this thread while `listening`; `heard` counts them."""

    def __init__(self, notes: Notes, home: str) -> None:
        """`home` is what the greenlet that runs the whole is called."""
        self.heard = 0
        self._notes = notes
        self._home_name = home
        self._home: Any = None
        self._jobs: dict[Any, int] = {}
        self._idle: set[Any] = set()
        self._last_into: dict[Any, Switch] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Install the hook for a block, and put back what was there."""
        self._home = greenlet.getcurrent()
        before = greenlet.settrace(self._on_switch)
        try:
            yield
        finally:
            greenlet.settrace(before)
            self._jobs.clear()
            self._last_into.clear()

    def _on_switch(self, how: str, ends: tuple[Any, Any]) -> None:
        origin, target = ends
        names = self._name(origin), self._name(target)
        switch = Switch(how, names, self._jobs.get(origin), self._jobs.get(target))
        if origin in self._idle:
            self._idle.discard(origin)
            self._jobs.pop(origin, None)
        self._last_into[target] = switch
        self._notes.add(switch)
        self.heard += 1

    def began(self, job: int) -> None:
        """Hear, in the job's greenlet, that its function begins: the switch that led here led to this job."""
        me = greenlet.getcurrent()
        self._jobs[me] = job
        self._idle.discard(me)
        if me in self._last_into:
            self._last_into[me].target_job = job

    def ended(self) -> None:
        """Hear, in the job's greenlet, that its function has ended: one switch out is still the job's."""
        self._idle.add(greenlet.getcurrent())

    def _name(self, bird: Any) -> str:
        if bird is self._home:
            return self._home_name
        return "gevent's hub" if type(bird).__name__ == "Hub" else "an idle greenlet"
