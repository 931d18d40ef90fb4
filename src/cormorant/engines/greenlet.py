"""Raw greenlets switched by hand: each job is a greenlet, the hub is one epoll that hosts `curl_multi`.

Theory of operation. `collect` is the hub. It switches into jobs that were started; a job runs until it needs the
wire, asks the transport for a hop with its own `switch` as the delivery, and switches back to the hub. The
hub polls: ready sockets go to libcurl, ended hops are delivered, and a delivery IS the switch into the
waiting job. The hub never blocks in the poll after a round in which a job ended, and nobody switches inside a
libcurl callback.
"""

from __future__ import annotations

import heapq
import select
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import greenlet

from cormorant.engines import Setup, job
from cormorant.engines.alarm import Alarm
from cormorant.errors import DeadlineExceeded, UsageError
from cormorant.interfaces import EventedTransport, Rounds
from cormorant.messages import Done, Outcome, Request

READY_AT_ONCE = 1024


class _Poller(Protocol):
    def watch(self, descriptor: int, reading: bool, writing: bool) -> None: ...

    def poll(self, seconds: float | None) -> list[tuple[int, bool, bool]]: ...

    def close(self) -> None: ...


class GreenletEngine:
    """Implements `interfaces.Engine`, `interfaces.Loop` (the hub) and, for its jobs, `interfaces.Wire`."""

    def __init__(self, setup: Setup) -> None:
        self._work: Callable[[Any], Any] = setup.work
        self._alarm = Alarm() if setup.has_user_code else None
        self._poller: _Poller = _new_poller() if setup.rounds is None else _Heard(_new_poller(), setup.rounds)
        self._transport: EventedTransport = setup.transports.evented(self)
        self._hub = greenlet.getcurrent()
        self._started: list[tuple[int, Any, float]] = []
        self._jobs: dict[int, greenlet.greenlet] = {}
        self._idle: list[greenlet.greenlet] = []
        self._deadlines: list[tuple[float, int]] = []
        self._ended: list[Done] = []
        self._wake_at: float | None = None
        self._clock = job.Clock()
        self._closed = False
        self._thread = threading.get_ident()

    # --- Engine ---

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        """Note the job; the hub switches into it at the next `collect`."""
        ends_at = self._clock.now() + seconds
        self._started.append((ticket, argument, ends_at))
        if self._alarm is not None:
            self._alarm.arm()
            heapq.heappush(self._deadlines, (ends_at, ticket))

    def collect(self, timeout: float | None) -> list[Done]:
        """Be the hub until a job has ended, or for `timeout` seconds."""
        if threading.get_ident() != self._thread:
            raise UsageError("greenlets stay in their thread: iterate where you began, or use engine 'thread'")
        self._hub = greenlet.getcurrent()
        paused = self._clock.come_back()
        if paused:
            self._transport.paused(paused)
        give_up_at = None if timeout is None else time.monotonic() + timeout
        self._switch_into_started()
        while True:
            self._one_round(give_up_at)
            if self._ended or (give_up_at is not None and time.monotonic() >= give_up_at):
                ended, self._ended = self._ended, []
                self._clock.leave()
                return ended

    def _switch_into_started(self) -> None:
        started, self._started = self._started, []
        for ticket, argument, ends_at in started:
            bird = self._jobs[ticket] = self._idle.pop() if self._idle else greenlet.greenlet(self._fly, self._hub)
            bird.switch(job.Job(ticket, ends_at, self, None, self._clock), argument)

    def _fly(self, running: job.Job, argument: Any) -> None:
        """Run one job after the other; a greenlet is cheap to make, but cheaper to use again."""
        me = greenlet.getcurrent()
        while True:
            done = job.run(running, self._work, argument)
            if self._jobs.pop(done.ticket, None) is None:
                return  # it was ended from outside, or the engine is closed
            self._ended.append(done)
            if self._alarm is not None:
                return  # what a user's function left in its context is not for the next
            self._idle.append(me)
            running, argument = self._hub.switch()

    def _one_round(self, give_up_at: float | None) -> None:
        """Poll once, move the bytes, switch into the jobs whose pages are back, end those that are late."""
        instants = [at for at in (give_up_at, self._wake_at, self._next_deadline()) if at is not None]
        seconds = max(0.0, min(instants) - time.monotonic()) if instants else None
        for descriptor, readable, writable in self._poller.poll(0.0 if self._ended else seconds):
            self._transport.ready(descriptor, readable, writable)
        if self._wake_at is not None and self._wake_at <= time.monotonic():
            self._wake_at = None
            self._transport.expired()
        self._transport.deliver_ended()
        if self._deadlines:
            self._end_late()

    def _next_deadline(self) -> float | None:
        while self._deadlines and self._deadlines[0][1] not in self._jobs:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] + self._clock.pauses if self._deadlines else None

    def _end_late(self) -> None:
        now = time.monotonic()
        while (at := self._next_deadline()) is not None and at <= now:
            ticket = heapq.heappop(self._deadlines)[1]
            bird = self._jobs.pop(ticket)
            self._ended.append(Done(ticket=ticket, fault=job.late()))
            bird.throw(DeadlineExceeded)

    def caller_from_threads(self) -> Callable[[Callable[[], None]], object]:
        """Put a bell among the sockets, and return what rings it."""
        self._poller = bell = _Bell(self._poller)
        return bell.call_soon

    def close(self) -> None:
        """Throw GreenletExit into every waiting job, so that its `finally` blocks run; drop the connections."""
        if self._closed:
            return
        self._closed = True
        if self._alarm is not None:
            self._alarm.disarm()  # first: whatever goes wrong below, no tick may come after the handler is gone
        self._started.clear()
        birds, self._jobs = [*self._jobs.values(), *self._idle], {}
        self._idle = []
        for bird in birds if threading.get_ident() == self._thread else ():
            bird.parent = greenlet.getcurrent()
            bird.throw()
        self._transport.close()
        self._poller.close()

    # --- Wire, for the jobs ---

    def fetch(self, request: Request) -> Outcome:
        """Switch to the hub until the page is there."""
        key = self._transport.start(request, greenlet.getcurrent().switch)
        try:
            return cast(Outcome, self._hub.switch())
        except BaseException:
            self._transport.cancel(key)
            raise

    # --- Loop, for the transport ---

    def watch(self, descriptor: int, reading: bool, writing: bool) -> None:
        """Poll this socket from now on; both False: no longer."""
        self._poller.watch(descriptor, reading, writing)

    def wake_in(self, seconds: float | None) -> None:
        """Call `expired` after this long."""
        self._wake_at = None if seconds is None else time.monotonic() + seconds


class _Epoll:
    """Linux: the kernel keeps the list and hands over only the ready ones."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: set[int] = set()

    def watch(self, descriptor: int, reading: bool, writing: bool) -> None:
        if not (reading or writing):
            if descriptor in self._watched:
                self._watched.discard(descriptor)
                try:
                    self._epoll.unregister(descriptor)
                except OSError:
                    pass  # libcurl has closed it already, and the kernel has forgotten it
            return
        mask = (select.EPOLLIN if reading else 0) | (select.EPOLLOUT if writing else 0)
        if descriptor in self._watched:
            self._epoll.modify(descriptor, mask)
        else:
            self._epoll.register(descriptor, mask)
            self._watched.add(descriptor)

    def poll(self, seconds: float | None) -> list[tuple[int, bool, bool]]:
        readable = ~select.EPOLLOUT  # errors and hang-ups are news to read
        ready = self._epoll.poll(-1 if seconds is None else seconds, READY_AT_ONCE)
        return [(fd, bool(mask & readable), bool(mask & select.EPOLLOUT)) for fd, mask in ready]

    def close(self) -> None:
        self._epoll.close()


class _Selector:
    """Elsewhere: the best the system has (kqueue on macOS)."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, descriptor: int, reading: bool, writing: bool) -> None:
        mask = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if writing else 0)
        known = descriptor in self._selector.get_map()
        if not mask:
            if known:
                self._selector.unregister(descriptor)
        elif known:
            self._selector.modify(descriptor, mask)
        else:
            self._selector.register(descriptor, mask)

    def poll(self, seconds: float | None) -> list[tuple[int, bool, bool]]:
        ready = self._selector.select(seconds)
        return [(key.fd, bool(mask & selectors.EVENT_READ), bool(mask & selectors.EVENT_WRITE)) for key, mask in ready]

    def close(self) -> None:
        self._selector.close()


class _Heard:
    """A poller whose waits somebody hears of."""

    def __init__(self, poller: _Poller, rounds: Rounds) -> None:
        self._poller, self._rounds = poller, rounds
        self.watch, self.close = poller.watch, poller.close

    def poll(self, seconds: float | None) -> list[tuple[int, bool, bool]]:
        began = time.monotonic()
        ready = self._poller.poll(seconds)
        self._rounds.waited(began, time.monotonic(), len(ready))
        return ready


class _Bell:
    """A poller that other threads can wake: runs what they gave it, and reports the other sockets."""

    def __init__(self, poller: _Poller) -> None:
        self._poller = poller
        self._calls: deque[Callable[[], None]] = deque()
        self._rope, self._bell = socket.socketpair()
        self._rope.setblocking(False)
        self._descriptor = self._bell.fileno()
        poller.watch(self._descriptor, True, False)
        self.watch = poller.watch

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._calls.append(callback)
        try:
            self._rope.send(b"!")
        except OSError:
            pass  # rung enough already, or closed

    def poll(self, seconds: float | None) -> list[tuple[int, bool, bool]]:
        ready = self._poller.poll(seconds)
        others = [one for one in ready if one[0] != self._descriptor]
        if len(others) < len(ready):
            self._bell.recv(4096)
            while self._calls:
                self._calls.popleft()()
        return others

    def close(self) -> None:
        self._poller.close()
        self._rope.close()
        self._bell.close()


def _new_poller() -> _Poller:
    return _Epoll() if hasattr(select, "epoll") else _Selector()


def open_engine(setup: Setup) -> GreenletEngine:
    """Build the engine."""
    return GreenletEngine(setup)
