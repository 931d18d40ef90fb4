"""`concurrent.futures.ProcessPoolExecutor`: a process waits for each page; a queue says which are back.

Theory of operation. When one worker of a ProcessPoolExecutor dies, the executor fails every job it still has and
kills the other workers. So each lane here is an executor of ONE worker: a death, or the kill by which a late job
is ended, costs the one job that ran there, and the lane is replaced. Lanes are opened when jobs need
them, at most `width`.
"""

from __future__ import annotations

import functools
import heapq
import os
import queue
import threading
import time
import weakref
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from cormorant.engines import Setup, children, job
from cormorant.errors import EngineLost
from cormorant.messages import Done

BEGINNINGS = 3  # how often a job is handed to a new lane when the process died before it took the job up


class _Lane:
    """One executor of one worker, and the job it has. `marks[0]` tells how far the child is with it."""

    def __init__(self, engine: ProcessEngine) -> None:
        self.marks = engine.context.RawArray("q", 2)
        self.executor = ProcessPoolExecutor(
            1, mp_context=engine.context, initializer=children.begin, initargs=(engine.told, self.marks)
        )
        self.identified: Future[int] = self.executor.submit(os.getpid)
        self.pid: int | None = None
        self.ticket = -1
        self.argument = b""
        self.seconds = 0.0
        self.ends_at = 0.0
        self.beginnings = 0
        self.is_late = False

    def kill(self) -> None:
        """End the worker process at once, also one that has not begun."""
        self.marks[0] = children.WITHDRAWN
        for pid in list(self.executor._processes or ()):  # the public `kill_workers` is there from Python 3.14 on
            children.kill(pid)


class ProcessEngine:
    """Implements `interfaces.Engine` over executors of one worker each."""

    def __init__(self, setup: Setup) -> None:
        self.context: Any = children.context()
        self.told = children.pickled_work(setup, "process")
        self._idle: list[_Lane] = []
        self._busy: dict[int, _Lane] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._news: queue.SimpleQueue[tuple[_Lane, Future[Any]]] = queue.SimpleQueue()
        self._refused: list[Done] = []
        self._has_begun = False
        _end_with_interpreter()
        _open.add(self)

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        """Hand the job to an idle worker process, or to a new one."""
        pickled = children.pickled_argument(ticket, argument)
        if isinstance(pickled, Done):
            self._refused.append(pickled)
            return
        self._hand_over(self._idle.pop() if self._idle else self._open_lane(), ticket, pickled, seconds, 1)

    def _open_lane(self) -> _Lane:
        lane = children.started(lambda: _Lane(self))
        lane.identified.add_done_callback(lambda future: self._news.put((lane, future)))
        return lane

    def _hand_over(self, lane: _Lane, ticket: int, argument: bytes, seconds: float, beginnings: int) -> None:
        lane.ticket, lane.argument, lane.seconds, lane.beginnings = ticket, argument, seconds, beginnings
        lane.marks[0] = children.WAITING
        self._busy[ticket] = lane
        self._set_deadline(lane, seconds if lane.pid is not None else children.BEGIN_SECONDS)
        try:
            future = lane.executor.submit(children.run, 0, ticket, argument, seconds)
        except BrokenProcessPool as error:  # it died while it was idle
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda future: self._news.put((lane, future)))

    def _set_deadline(self, lane: _Lane, seconds: float) -> None:
        lane.ends_at = time.monotonic() + seconds + job.GRACE_SECONDS
        heapq.heappush(self._deadlines, (lane.ends_at, lane.ticket))

    def collect(self, timeout: float | None) -> list[Done]:
        """Return every job that a worker has sent back, and every one that is late or lost."""
        ended, self._refused = self._refused, []
        give_up_at = None if timeout is None else time.monotonic() + timeout
        while True:
            instants = [at for at in (give_up_at, self._next_deadline()) if at is not None]
            seconds = max(0.0, min(instants) - time.monotonic()) if instants else None
            ended += self._take_news(0.0 if ended else seconds)
            self._kill_late()
            if ended or (give_up_at is not None and time.monotonic() >= give_up_at):
                return ended

    def _take_news(self, seconds: float | None) -> list[Done]:
        ended = []
        try:
            news = self._news.get(timeout=seconds)
            while True:
                done = self._hear(*news)
                if done is not None:
                    ended.append(done)
                news = self._news.get_nowait()
        except queue.Empty:
            return ended

    def _hear(self, lane: _Lane, future: Future[Any]) -> Done | None:
        """Take one future: a lane that is there, a job that is back, or a worker that died."""
        error = None if future.cancelled() else future.exception()
        if error is not None:
            return self._lose(lane) if self._busy.get(lane.ticket) is lane else None
        if lane.pid is None:
            lane.pid = future.result()
            self._has_begun = True
            self._set_deadline(lane, lane.seconds)  # the deadline runs from when the process is there
            return None
        ticket = lane.ticket
        del self._busy[ticket]
        lane.ticket = -1
        self._idle.append(lane)
        return children.unpickled(ticket, future.result())

    def _lose(self, lane: _Lane) -> Done | None:
        """Settle the job of a worker that died: late, begun and lost, or not begun and handed on."""
        ticket = lane.ticket
        del self._busy[ticket]
        has_taken_it_up = lane.marks[0] != children.WAITING
        lane.kill()  # only the server of processes may be dead, and this one about to take the job up
        lane.executor.shutdown(wait=False)
        if lane.is_late and lane.pid is not None:
            return Done(ticket=ticket, fault=job.late())
        if has_taken_it_up and not lane.is_late:
            return Done(ticket=ticket, fault=job.lost(f"worker process {lane.pid} died while it had this job"))
        if lane.beginnings >= BEGINNINGS:
            if not self._has_begun:
                raise EngineLost(children.NEVER_BEGUN if lane.is_late else children.STILLBORN)
            if lane.is_late:
                return Done(ticket=ticket, fault=job.late())
            return Done(ticket=ticket, fault=job.lost(f"{BEGINNINGS} worker processes died before they began this job"))
        self._hand_over(self._open_lane(), ticket, lane.argument, lane.seconds, lane.beginnings + 1)
        return None

    def _next_deadline(self) -> float | None:
        while self._deadlines:
            at, ticket = self._deadlines[0]
            lane = self._busy.get(ticket)
            if lane is not None and lane.ends_at == at and not lane.is_late:
                return at
            heapq.heappop(self._deadlines)
        return None

    def _kill_late(self) -> None:
        now = time.monotonic()
        while (at := self._next_deadline()) is not None and at <= now:
            lane = self._busy[heapq.heappop(self._deadlines)[1]]
            lane.is_late = True
            lane.kill()

    def kill_busy(self) -> None:
        """Kill the workers that run a job."""
        for lane in list(self._busy.values()):
            lane.kill()

    def close(self) -> None:
        """Kill the workers that still run a job, let the idle ones go, and wait until all are gone."""
        lanes = [*self._busy.values(), *self._idle]
        self.kill_busy()
        self._busy.clear()
        self._idle.clear()
        threads: list[Any] = [lane.executor._executor_manager_thread for lane in lanes]  # `shutdown` forgets them
        for lane in lanes:
            lane.executor.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + children.SECONDS_TO_GO
        for thread in threads:
            if thread is not None:
                thread.join(max(0.0, until - time.monotonic()))


_open: weakref.WeakSet[ProcessEngine] = weakref.WeakSet()


@functools.cache
def _end_with_interpreter() -> None:
    """Have the jobs of runs that nobody has closed ended before concurrent.futures waits for them."""
    register: Any = threading._register_atexit  # type: ignore[attr-defined]  # the last that is registered is called first
    register(_kill_open)


def _kill_open() -> None:
    for engine in list(_open):
        engine.kill_busy()


def open_engine(setup: Setup) -> ProcessEngine:
    """Build the engine."""
    return ProcessEngine(setup)
