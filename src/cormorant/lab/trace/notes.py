"""The notebook of one run: whoever hears something writes it down here, in whatever thread or process he is.

In a worker process the notebook is another one, and its pages travel home with the value of the next job that ends
there. The monotonic clock is one for the whole machine.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Protocol

import msgspec

from cormorant.engines import job
from cormorant.lab.trace.events import Event, What


class Note(Protocol):
    """What is written down: an event, or what becomes one when the run is over."""

    @property
    def at(self) -> float:
        """The monotonic instant."""
        ...

    def event(self) -> Event:
        """Return it as an event, `at` still monotonic."""
        ...


class _Heard:
    """An event whose job, and how long it took, may become known later."""

    __slots__ = ("_event", "job", "seconds")

    def __init__(self, event: Event) -> None:
        self._event = event
        self.job, self.seconds = event.job, event.seconds

    @property
    def at(self) -> float:
        return self._event.at

    def event(self) -> Event:
        event = self._event
        if (self.job, self.seconds) == (event.job, event.seconds):
            return event
        return msgspec.structs.replace(event, job=self.job, seconds=self.seconds)

    def is_over(self) -> None:
        """Note that what began at this instant is over now."""
        self.seconds = time.monotonic() - self.at


class Notes:
    """Takes notes in order. Appending is all that happens during the run; any thread may write.

    `remarks` say what could not be heard.
    """

    def __init__(self, is_home: bool = True) -> None:
        self.is_home = is_home
        self.remarks: list[str] = []
        self._notes: list[Note] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a worker process as an empty notebook."""
        return Notes, (False,)

    def note(self, what: What, heard_from: str, *, job: int | None = None, at: float | None = None, **more: Any) -> Any:
        """Write down that `what` happened, now or `at`; returns the note, which may be added to later."""
        at = time.monotonic() if at is None else at
        here = os.getpid(), threading.get_native_id()
        heard = _Heard(Event(at=at, what=what, job=job, heard_from=heard_from, pid=here[0], thread=here[1], **more))
        self._notes.append(heard)
        return heard

    def remark(self, text: str) -> None:
        """Say, once, what could not be heard."""
        if text not in self.remarks:
            self.remarks.append(text)

    def add(self, note: Note) -> None:
        """Write down a note made elsewhere."""
        self._notes.append(note)

    def taken(self) -> list[Event]:
        """Return everything written so far, and forget it."""
        notes, self._notes = self._notes, []
        return [note.event() for note in notes]

    def brought(self, events: list[Event]) -> None:
        """Take in what a worker process wrote."""
        self._notes += [_Heard(event) for event in events]

    def in_order(self) -> list[Event]:
        """Return everything in the order in which it happened."""
        return sorted((note.event() for note in self._notes), key=lambda event: event.at)


def ticket() -> int | None:
    """Return the number of the job that runs right now."""
    running = job.current.get()
    return None if running is None else running.ticket
