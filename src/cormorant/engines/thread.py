"""`concurrent.futures.ThreadPoolExecutor`: a thread waits for each page; a queue says which are back.

A thread cannot be ended from outside. One that overstays its deadline is abandoned: its job is collected as
late, and a new executor takes over, so that the slot is free. Asking "which of n futures is done" would
cost O(n); a queue that done-callbacks fill costs under a microsecond.
"""

from __future__ import annotations

import concurrent.futures
import functools
import heapq
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import thread as futures_thread
from typing import Any

from cormorant.engines import Setup, job
from cormorant.interfaces import Transport
from cormorant.messages import Done

CLOSE_SECONDS = 0.5  # how long `close` waits for interrupted fetches to return
INTERRUPT_EVERY_SECONDS = 0.05


class ThreadEngine:
    """Implements `interfaces.Engine` over a ThreadPoolExecutor of `width` threads."""

    def __init__(self, setup: Setup) -> None:
        self._work: Callable[[Any], Any] = setup.work
        self._transports = setup.transports
        self._width = setup.width
        self._watches_deadlines = setup.has_user_code
        self._finished: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._running: dict[int, Future[Done]] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._opened: dict[threading.Thread, Transport] = {}
        self._executor = self._new_executor()

    def _new_executor(self) -> ThreadPoolExecutor:
        self._threads_started = 0
        return ThreadPoolExecutor(self._width, "cormorant", initializer=self._count_thread)

    def _count_thread(self) -> None:
        self._threads_started += 1

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        """Hand the job to a thread."""
        ends_at = time.monotonic() + seconds
        future = self._submit(ticket, argument, ends_at)
        self._running[ticket] = future
        future.add_done_callback(functools.partial(self._on_done, ticket))
        if self._watches_deadlines:
            heapq.heappush(self._deadlines, (ends_at, ticket))

    def _submit(self, *job_of: Any) -> Future[Done]:
        """Submit; while the executor may still grow, from a daemon thread.

        Threads inherit `daemon` from their creator, and a thread that hangs for ever must not hang
        the interpreter's exit with it.
        """
        if self._threads_started >= self._width:
            return self._executor.submit(self._run, *job_of)
        box: list[Future[Done]] = []
        creator = threading.Thread(target=lambda: box.append(self._executor.submit(self._run, *job_of)), daemon=True)
        creator.start()
        creator.join()
        return box[0]

    def _run(self, ticket: int, argument: Any, ends_at: float) -> Done:
        """Run one job, in its thread."""
        me = self._threads[ticket] = threading.current_thread()
        transport = self._opened.get(me)
        if transport is None:
            transport = self._opened[me] = self._transports.blocking()
        return job.run(job.Job(ticket, ends_at, transport), self._work, argument)

    def _on_done(self, ticket: int, future: Future[Done]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:  # a KeyboardInterrupt of the function's own
            self._finished.put(Done(ticket=ticket, fault=job.fault_of(error)))
        else:
            self._finished.put(job.cancelled(ticket) if future.cancelled() else future.result())

    def collect(self, timeout: float | None) -> list[Done]:
        """Return every job whose thread has put it into the queue, and every one that is late."""
        if self._deadlines:
            until_late = max(0.0, self._deadlines[0][0] - time.monotonic())
            timeout = until_late if timeout is None else min(timeout, until_late)
        ended: list[Done] = []
        try:
            ended.append(self._finished.get(timeout=timeout))
            while True:
                ended.append(self._finished.get_nowait())
        except queue.Empty:
            pass
        ended = [done for done in ended if self._forget(done.ticket)]
        if self._deadlines:
            ended += self._late()
        return ended

    def _forget(self, ticket: int) -> bool:
        self._threads.pop(ticket, None)
        return self._running.pop(ticket, None) is not None

    def _late(self) -> list[Done]:
        """Abandon the threads whose jobs overstayed; take a new executor so that their slots are free."""
        late, now = [], time.monotonic()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][1] not in self._running):
            ticket = heapq.heappop(self._deadlines)[1]
            if ticket in self._running:
                late.append(Done(ticket=ticket, fault=job.late()))
                self._abandon(ticket)
        if late:
            self._executor.shutdown(wait=False)
            self._executor = self._new_executor()
            for thread in [thread for thread in self._opened if not thread.is_alive()]:
                self._opened.pop(thread).close()
        return late

    def _abandon(self, ticket: int) -> None:
        # The interpreter joins executor threads at exit through this private table (bpo-39812); there is no public way.
        thread = self._threads.get(ticket)
        if thread is not None:
            getattr(futures_thread, "_threads_queues", {}).pop(thread, None)
            transport = self._opened.pop(thread, None)
            if transport is not None:
                transport.interrupt()
        self._forget(ticket)

    def close(self) -> None:
        """Interrupt the fetches under way, wait a little for their threads, abandon what does not come back."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        patience = time.monotonic() + CLOSE_SECONDS
        pending = {future for future in self._running.values() if not future.done()}  # cancelled ones are done
        while pending and time.monotonic() < patience:
            for transport in list(self._opened.values()):  # threads that only begin add to it
                transport.interrupt()
            pending = concurrent.futures.wait(pending, INTERRUPT_EVERY_SECONDS).not_done
        for ticket in [ticket for ticket, future in self._running.items() if future in pending]:
            self._abandon(ticket)
        self._running.clear()
        for transport in list(self._opened.values()):
            transport.close()
        self._opened.clear()


def open_engine(setup: Setup) -> ThreadEngine:
    """Build the engine."""
    return ThreadEngine(setup)
