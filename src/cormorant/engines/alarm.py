"""Ends user code that blocks the main thread past its deadline, where the engine has no other means.

A coroutine that never switches, or a plain function under `serial`, cannot be ended by a loop it does not let
run. While armed, a SIGALRM ticks; its handler runs between two bytecodes of whatever runs (and
interrupts a blocking system call), asks the context variable which job that is, and raises
DeadlineExceeded inside it if its time is up. Only the main thread gets signals: elsewhere nothing is armed, and
a blocking call there holds the loop as long as it likes (documented in `docs/engines.md`).
"""

from __future__ import annotations

import atexit
import signal
import threading
from types import FrameType

from cormorant.engines import job

TICK_SECONDS = 0.1


class Alarm:
    """A ticking SIGALRM, armed while user code may run. Another owner of SIGALRM is left alone."""

    def __init__(self) -> None:
        self._armed = False

    def arm(self) -> None:
        """Start ticking, if this is the main thread and nobody else uses SIGALRM."""
        if self._armed or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
            return
        signal.signal(signal.SIGALRM, _on_alarm)
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
        self._armed = True
        atexit.register(self.disarm)  # a tick after the handlers are gone would kill the process

    def disarm(self) -> None:
        """Stop ticking and give SIGALRM back."""
        if self._armed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            self._armed = False
            atexit.unregister(self.disarm)


def _on_alarm(_number: int, frame: FrameType | None) -> None:
    job.end_if_overdue(frame)
