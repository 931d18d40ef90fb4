"""The for loop: each job is run to its end before the next is looked at. The measure of all others."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from cormorant.engines import Setup, job
from cormorant.engines.alarm import Alarm
from cormorant.messages import Done


class SerialEngine:
    """Implements `interfaces.Engine`: `collect` runs the one job that was started.

    A user's function past its deadline is ended by SIGALRM in the main thread; in another thread it
    runs in a helper thread, which is abandoned.
    """

    def __init__(self, setup: Setup) -> None:
        self._work: Callable[[Any], Any] = setup.work
        self._transports = setup.transports
        self._transport = setup.transports.blocking()
        self._started: deque[tuple[int, Any, float]] = deque()
        self._alarm = Alarm() if setup.has_user_code else None
        self._beside = setup.has_user_code and threading.current_thread() is not threading.main_thread()

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        """Note the job; `collect` runs it."""
        self._started.append((ticket, argument, seconds))

    def collect(self, timeout: float | None) -> list[Done]:
        """Run one job and return it; with none started, sleep."""
        if not self._started:
            time.sleep(timeout or 0.0)
            return []
        ticket, argument, seconds = self._started.popleft()
        running = job.Job(ticket, time.monotonic() + seconds, self._transport)
        return [self._run_beside(running, argument, seconds) if self._beside else self._run(running, argument)]

    def _run(self, running: job.Job, argument: Any) -> Done:
        if self._alarm is None:
            return job.run(running, self._work, argument)
        self._alarm.arm()
        try:
            return job.run(running, self._work, argument)
        finally:
            self._alarm.disarm()

    def _run_beside(self, running: job.Job, argument: Any, seconds: float) -> Done:
        box: list[Done] = []
        helper = threading.Thread(target=lambda: box.append(self._run(running, argument)), daemon=True)
        helper.start()
        helper.join(seconds)
        if box:
            return box[0]
        self._transport.interrupt()  # the helper still has it
        self._transport = self._transports.blocking()
        return Done(ticket=running.ticket, fault=job.late())

    def close(self) -> None:
        """Forget what was started; drop the connections."""
        self._started.clear()
        self._transport.close()


def open_engine(setup: Setup) -> SerialEngine:
    """Build the engine."""
    return SerialEngine(setup)
