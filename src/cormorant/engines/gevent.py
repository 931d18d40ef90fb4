"""gevent: each job is a greenlet of gevent's, `curl_multi` lives on gevent's own loop through its watchers.

Nothing is monkey-patched: the wire is libcurl's, and libcurl's sockets are watched like any other. A user's own
function over other blocking libraries switches only once the process is patched; `cormorant map` on the command
line patches first, a program does so itself: `from gevent import monkey; monkey.patch_all()`, first line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import gevent
from gevent.hub import get_hub

from cormorant.engines import Setup, job
from cormorant.engines.alarm import Alarm
from cormorant.errors import DeadlineExceeded, UsageError
from cormorant.interfaces import EventedTransport, Rounds
from cormorant.messages import Done, Outcome, Request

READ, WRITE = 1, 2  # libev's masks
SOON_SECONDS = 0.001


class GeventEngine:
    """Implements `interfaces.Engine`, `interfaces.Loop` and, for its jobs, `interfaces.Wire`."""

    def __init__(self, setup: Setup) -> None:
        self._work: Callable[[Any], Any] = setup.work
        self._alarm = Alarm() if setup.has_user_code else None
        self._hub: Any = get_hub()
        self._transport: EventedTransport = setup.transports.evented(self)
        self._jobs: dict[int, Any] = {}
        self._idle: list[Any] = []
        self._limits: dict[int, Any] = {}
        self._clock = job.Clock()
        self._ended: list[Done] = []
        self._collector: Any = None
        self._watchers: dict[int, Any] = {}
        self._timer: Any = None
        self._wake_at: float | None = None
        self._timer_at = 0.0
        self._expiring = False
        self._closed = False
        self._thread = threading.get_ident()
        self._heard = None if setup.rounds is None else _Heard(self._hub.loop, setup.rounds)

    # --- Engine ---

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        """Give the job to an idle greenlet, or spawn one; it first runs when the loop does."""
        running = job.Job(ticket, self._clock.now() + seconds, self, None, self._clock)
        if self._idle:
            self._jobs[ticket] = bird = self._idle.pop()
            self._hub.loop.run_callback(bird.switch, (running, argument))
        else:
            self._jobs[ticket] = gevent.spawn(self._fly, running, argument)
        if self._alarm is not None:
            self._alarm.arm()
            self._limit(ticket, running.ends_at)

    def _limit(self, ticket: int, ends_at: float) -> None:
        limit = self._limits[ticket] = self._hub.loop.timer(max(0.0, ends_at - self._clock.now()))
        limit.start(self._hub.loop.run_callback, self._end_late, ticket, ends_at, update=True)

    def _fly(self, running: job.Job, argument: Any) -> None:
        """Run one job after the other; spawning a greenlet costs more than all its switches."""
        me = gevent.getcurrent()
        while self._end(job.run(running, self._work, argument)):
            if self._alarm is not None:
                return  # what a user's function left in its context is not for the next
            self._idle.append(me)
            running, argument = self._hub.switch()

    def _end(self, done: Done) -> bool:
        """Take a job's end; returns False when it was ended otherwise before."""
        limit = self._limits.pop(done.ticket, None)
        if limit is not None:
            limit.close()
        if self._jobs.pop(done.ticket, None) is None:
            return False
        self._ended.append(done)
        self._wake_collector()
        return True

    def _end_late(self, ticket: int, ends_at: float) -> None:
        bird = self._jobs.get(ticket)
        if bird is None:
            return  # it ended in the round in which its time was up
        if ends_at - self._clock.now() > SOON_SECONDS:  # a pause of the caller's came between
            self._limits[ticket].close()
            self._limit(ticket, ends_at)
            return
        bird.kill(DeadlineExceeded, block=False)  # first: else the collector is woken first, and may end the loop
        self._end(Done(ticket=ticket, fault=job.late()))

    def collect(self, timeout: float | None) -> list[Done]:
        """Let gevent's loop run until a job has ended, or for `timeout` seconds."""
        if threading.get_ident() != self._thread:
            raise UsageError("greenlets stay in their thread: iterate where you began, or use engine 'thread'")
        self._come_back()
        if not self._ended:
            patience = None if timeout is None else self._hub.loop.timer(timeout)
            if patience is not None:
                patience.start(self._wake_collector)
            self._collector = gevent.getcurrent()
            try:
                self._hub.switch()
            finally:
                self._collector = None
                if patience is not None:
                    patience.close()
        ended, self._ended = self._ended, []
        self._clock.leave()
        self._hub.loop.run_callback(self._come_back)  # the caller may let the loop run, too
        return ended

    def _come_back(self) -> None:
        paused = self._clock.come_back()
        if paused:
            self._transport.paused(paused)

    def _wake_collector(self) -> None:
        collector, self._collector = self._collector, None
        if collector is not None:
            self._hub.loop.run_callback(collector.switch)

    def caller_from_threads(self) -> Callable[[Callable[[], None]], object]:
        """Return the loop's own way in for other threads."""
        return cast(Callable[[Callable[[], None]], object], self._hub.loop.run_callback_threadsafe)

    def close(self) -> None:
        """Kill every job, so that its `finally` blocks run; drop the connections and watchers."""
        if self._closed:
            return
        self._closed = True
        if self._alarm is not None:
            self._alarm.disarm()  # first: whatever goes wrong below, no tick may come after the handler is gone
        birds, self._jobs = [*self._jobs.values(), *self._idle], {}
        self._idle = []
        if threading.get_ident() == self._thread:
            gevent.killall(birds, block=True)
        for limit in self._limits.values():
            limit.close()
        self._transport.close()
        for watcher in self._watchers.values():
            watcher.stop()
            watcher.close()
        self._watchers.clear()
        if self._timer is not None:
            self._timer.close()
        if self._heard is not None:
            self._heard.close()

    # --- Wire, for the jobs ---

    def fetch(self, request: Request) -> Outcome:
        """Switch to gevent's hub until the page is there."""
        key = self._transport.start(request, gevent.getcurrent().switch)
        try:
            return cast(Outcome, self._hub.switch())
        except BaseException:
            self._transport.cancel(key)
            raise

    # --- Loop, for the transport ---

    def watch(self, descriptor: int, reading: bool, writing: bool) -> None:
        """Watch this socket on gevent's loop; both False: no longer."""
        watcher = self._watchers.pop(descriptor, None)
        if watcher is not None:
            watcher.stop()
            watcher.close()
        if reading or writing:
            mask = (READ if reading else 0) | (WRITE if writing else 0)
            watcher = self._watchers[descriptor] = self._hub.loop.io(descriptor, mask)
            watcher.start(self._on_ready, descriptor, pass_events=True)

    def _on_ready(self, events: int, descriptor: int) -> None:
        if self._heard is not None:
            self._heard.ready += 1
        self._transport.ready(descriptor, bool(events & READ), bool(events & WRITE))
        self._transport.deliver_ended()

    def wake_in(self, seconds: float | None) -> None:
        """Call `expired` after this long. The timer is moved only when it would come too late."""
        self._wake_at = None if seconds is None else time.monotonic() + seconds
        if seconds == 0.0:
            if not self._expiring:
                self._expiring = True
                self._hub.loop.run_callback(self._expire)
        elif seconds is not None and (self._timer is None or self._wake_at < self._timer_at - SOON_SECONDS):  # type: ignore[operator]
            self._set_timer(seconds)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.close()
        self._timer = self._hub.loop.timer(seconds)
        self._timer_at = time.monotonic() + seconds
        self._timer.start(self._on_timer)

    def _on_timer(self) -> None:
        self._timer.close()
        self._timer = None
        if self._wake_at is None:
            return
        left = self._wake_at - time.monotonic()
        if left > 0:
            self._set_timer(left)
        elif not self._expiring:  # not at once: libev calls timers before sockets, and a page may be waiting there
            self._expiring = True
            self._hub.loop.run_callback(self._expire)

    def _expire(self) -> None:
        self._expiring = False
        if self._closed:
            return
        self._wake_at = None
        self._transport.expired()
        self._transport.deliver_ended()


class _Heard:
    """Tells of the loop's waits: libev calls `prepare` watchers before each and `check` watchers after it.

    How many sockets of ours were ready is known only when their callbacks have run, so a wait is told of before the
    next.
    """

    def __init__(self, loop: Any, rounds: Rounds) -> None:
        self._rounds = rounds
        self._began = self._ended = 0.0
        self.ready = 0
        # As near to the wait as can be: gevent's own `prepare` runs callbacks, `check` is followed by those of sockets.
        last, first = getattr(loop, "MINPRI", None), getattr(loop, "MAXPRI", None)
        self._watchers = (loop.prepare(ref=False, priority=last), loop.check(ref=False, priority=first))
        for watcher, heard in zip(self._watchers, (self._before, self._after), strict=True):
            watcher.start(heard)

    def _before(self) -> None:
        self._tell()
        self._began = time.monotonic()

    def _after(self) -> None:
        self._ended = time.monotonic()

    def _tell(self) -> None:
        if self._ended:
            # The hub outlives an engine: of a wait that began before we listened, only the end was heard.
            self._rounds.waited(self._began or self._ended, self._ended, self.ready)
        self._began = self._ended = 0.0
        self.ready = 0

    def close(self) -> None:
        self._tell()
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()


def open_engine(setup: Setup) -> GeventEngine:
    """Build the engine."""
    return GeventEngine(setup)
