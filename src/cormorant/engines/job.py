"""What a running job knows of its surroundings: the way to the wire, and when its time is up.

An engine sets `current` around each job; `cormorant.get` reads it to wait the way the engine waits.
A context variable does for all of them: every thread, task and greenlet has its own context.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from types import FrameType
from typing import Any

from cormorant.errors import DeadlineExceeded
from cormorant.interfaces import AwaitedWire, Wire
from cormorant.messages import Done, Fault, Kind

SWALLOWED_SECONDS = 0.5
GRACE_SECONDS = 0.05  # leaves the loops' own timers the first word on jobs that wait
PAUSE_SECONDS = 0.05  # to be away from `collect` for less is ordinary work between two rounds, and counts

current: ContextVar[Job | None] = ContextVar("cormorant_job", default=None)


class Clock:
    """Tells an engine's own time: monotonic seconds without the pauses in which the caller did not let it run."""

    __slots__ = ("_left_at", "pauses")

    def __init__(self) -> None:
        self.pauses = 0.0
        self._left_at: float | None = time.monotonic()

    def now(self) -> float:
        """Return the engine's time."""
        return time.monotonic() - self.pauses

    def leave(self) -> None:
        """Note that the caller has the word."""
        self._left_at = time.monotonic()

    def come_back(self) -> float:
        """Note that the engine runs again; returns how long that was a pause (0.0: it was none)."""
        if self._left_at is None:
            return 0.0
        away = time.monotonic() - self._left_at
        self._left_at = None
        if away < PAUSE_SECONDS:
            return 0.0
        self.pauses += away
        return away


_never_paused = Clock()


@dataclasses.dataclass(slots=True)
class Job:
    """One job under way. `ends_at` is in the time of `clock`; `wire` waits as the engine waits.

    `awaited_wire` is there under asyncio only; `wire` is None inside an `async def`, where only `await` can wait.
    """

    ticket: int
    ends_at: float
    wire: Wire | None = None
    awaited_wire: AwaitedWire | None = None
    clock: Clock = _never_paused

    def seconds_left(self) -> float:
        """Return the seconds until this job's deadline; negative when it has passed."""
        return self.ends_at - self.clock.now()


def run(running: Job, work: Callable[[Any], Any], argument: Any) -> Done:
    """Run a plain job to its end, whatever it raises; only a KeyboardInterrupt passes."""
    outer, ends_at = current.get(), running.ends_at
    current.set(running)
    try:
        done = Done(ticket=running.ticket, value=work(argument))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        done = Done(ticket=running.ticket, fault=fault_of(error))
    finally:
        current.set(outer)
    return done if running.clock.now() < ends_at else Done(ticket=running.ticket, fault=late())


def end_if_overdue(frame: FrameType | None) -> None:
    """Raise DeadlineExceeded in the job that runs right now if its time is up; `frame` is where it runs.

    A function that swallows it (a bare `except:`) is given it again, and again.
    """
    running = current.get()
    if running is None or running.seconds_left() > -GRACE_SECONDS:
        return
    if frame is None or frame.f_code is not run.__code__:  # in `run` itself the user's code has ended already
        running.ends_at = running.clock.now() + SWALLOWED_SECONDS
        raise DeadlineExceeded


def fault_of(error: BaseException) -> Fault:
    """Turn what a job raised into the reason it has no value."""
    if isinstance(error, DeadlineExceeded):
        return late()
    text = "".join(traceback.format_exception(error)).rstrip()
    try:
        message = f"{type(error).__name__}: {error}"
    except Exception:
        message = type(error).__name__  # an exception that cannot even say what it is
    return Fault(kind=Kind.CALLBACK, message=message, traceback=text)


def late() -> Fault:
    """Return the fault of a job whose deadline passed."""
    return Fault(kind=Kind.TIMEOUT, message="the job's deadline passed")


def lost(reason: str) -> Fault:
    """Return the fault of a job whose worker died under it."""
    return Fault(kind=Kind.WORKER_LOST, message=reason)


def cancelled(ticket: int) -> Done:
    """Return the end of a job that closing the engine cut off."""
    return Done(ticket=ticket, fault=Fault(kind=Kind.CANCELLED, message="stopped before it ended"))
