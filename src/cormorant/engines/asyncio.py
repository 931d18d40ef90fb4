"""asyncio: each job is a task, `curl_multi` lives on the running event loop. uvloop where it is installed.

An `async def` job awaits. A plain job runs in a greenlet beside its task: when it fetches, the greenlet switches to
the task, which awaits the page for it and switches back. So one plain function runs here as everywhere.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import selectors
import time
from collections.abc import Callable
from typing import Any, cast

import greenlet

from cormorant.engines import Setup, is_async, job
from cormorant.engines.alarm import Alarm
from cormorant.errors import UsageError
from cormorant.interfaces import EventedTransport, Rounds
from cormorant.messages import Done, Outcome, Request

SOON_SECONDS = 0.001
CLOSE_SECONDS = 0.5  # how long `close` waits for cancelled jobs to unwind


class AwaitedAsyncioEngine:
    """Implements `interfaces.AwaitedEngine`, `interfaces.Loop` and, for its jobs, `interfaces.AwaitedWire`."""

    def __init__(self, setup: Setup, loop: asyncio.AbstractEventLoop) -> None:
        self._work: Any = setup.work
        self._is_async = is_async(setup.work)
        self._alarm = Alarm() if setup.has_user_code else None
        self._loop = loop
        self._transport: EventedTransport = setup.transports.evented(self)
        self._bridged = _Bridged(self)
        self._jobs: dict[int, asyncio.Task[None]] = {}
        self._limits: dict[int, asyncio.TimerHandle] = {}
        self._clock = job.Clock()
        self._ended: list[Done] = []
        self._collector: asyncio.Future[None] | None = None
        self._watched: dict[int, tuple[bool, bool]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._wake_at: float | None = None
        self._expiring = False
        self._closed = False

    # --- AwaitedEngine ---

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        """Make the job a task; it first runs when the loop does."""
        ends_at = self._clock.now() + seconds
        running = job.Job(ticket, ends_at, None if self._is_async else self._bridged, self, self._clock)
        self._jobs[ticket] = self._loop.create_task(self._run(running, argument))
        if self._alarm is not None:
            self._alarm.arm()
            self._limits[ticket] = self._loop.call_later(seconds, self._end_late, ticket, ends_at)

    async def _run(self, running: job.Job, argument: Any) -> None:
        if not self._is_async:
            self._end(await _bridge(running, self._work, argument))
            return
        job.current.set(running)
        try:
            done = Done(ticket=running.ticket, value=await self._work(argument))
        except KeyboardInterrupt:
            raise
        except asyncio.CancelledError as error:
            if running.ticket not in self._jobs:
                raise  # it was us
            done = Done(ticket=running.ticket, fault=job.fault_of(error))
        except BaseException as error:
            done = Done(ticket=running.ticket, fault=job.fault_of(error))
        finally:
            job.current.set(None)
        self._end(done)

    def _end(self, done: Done) -> None:
        limit = self._limits.pop(done.ticket, None)
        if limit is not None:
            limit.cancel()
        if self._jobs.pop(done.ticket, None) is not None:
            self._ended.append(done)
            self._wake_collector()

    def _end_late(self, ticket: int, ends_at: float) -> None:
        left = ends_at - self._clock.now()
        if left > SOON_SECONDS:  # a pause of the caller's came between
            self._limits[ticket] = self._loop.call_later(left, self._end_late, ticket, ends_at)
            return
        task = self._jobs.get(ticket)
        self._end(Done(ticket=ticket, fault=job.late()))
        if task is not None:
            task.cancel()

    async def collect(self, timeout: float | None) -> list[Done]:
        """Await the next end of a job, at most `timeout` seconds.

        A caller who blocks the loop between two calls pauses us; one who awaits does not. What is seen as a pause is
        the time until the loop runs for the first time.
        """
        self.come_back()
        ended = await self.next_ended(timeout)
        self.leave()
        self._loop.call_soon(self.come_back)
        return ended

    def leave(self) -> None:
        """Note that the caller has the word."""
        self._clock.leave()

    def come_back(self) -> None:
        """Count the time since `leave` for no job and no hop."""
        paused = self._clock.come_back()
        if paused:
            self._transport.paused(paused)

    async def next_ended(self, timeout: float | None) -> list[Done]:
        """Do what `collect` does, whatever the caller did meanwhile."""
        if not self._ended:
            self._collector = self._loop.create_future()
            patience = None if timeout is None else self._loop.call_later(timeout, self._wake_collector)
            try:
                await self._collector
            finally:
                self._collector = None
                if patience is not None:
                    patience.cancel()
        ended, self._ended = self._ended, []
        return ended

    def _wake_collector(self) -> None:
        if self._collector is not None and not self._collector.done():
            self._collector.set_result(None)

    def caller_from_threads(self) -> Callable[[Callable[[], None]], object]:
        """Return the loop's own way in for other threads."""
        return self._loop.call_soon_threadsafe

    async def close(self) -> None:
        """Cancel every job, so that its `finally` blocks run; drop the connections and watchers."""
        if self._closed:
            return
        self._closed = True
        if self._alarm is not None:
            self._alarm.disarm()  # first: whatever goes wrong below, no tick may come after the handler is gone
        tasks, self._jobs = list(self._jobs.values()), {}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        for limit in self._limits.values():
            limit.cancel()
        self._transport.close()
        for descriptor in list(self._watched):
            self.watch(descriptor, False, False)
        if self._timer is not None:
            self._timer.cancel()

    # --- AwaitedWire, for the jobs ---

    async def fetch(self, request: Request) -> Outcome:
        """Await the page."""
        page: asyncio.Future[Outcome] = self._loop.create_future()
        key = self._transport.start(request, functools.partial(deliver_to, page))
        try:
            return await page
        except BaseException:
            self._transport.cancel(key)
            raise

    # --- Loop, for the transport ---

    def watch(self, descriptor: int, reading: bool, writing: bool) -> None:
        """Watch this socket on the event loop; both False: no longer."""
        was_reading, was_writing = self._watched.pop(descriptor, (False, False))
        if reading or writing:
            self._watched[descriptor] = (reading, writing)
        if reading and not was_reading:
            self._loop.add_reader(descriptor, self._on_ready, descriptor, True)
        elif was_reading and not reading:
            self._loop.remove_reader(descriptor)
        if writing and not was_writing:
            self._loop.add_writer(descriptor, self._on_ready, descriptor, False)
        elif was_writing and not writing:
            self._loop.remove_writer(descriptor)

    def _on_ready(self, descriptor: int, readable: bool) -> None:
        self._transport.ready(descriptor, readable, not readable)
        self._transport.deliver_ended()

    def wake_in(self, seconds: float | None) -> None:
        """Call `expired` after this long. The timer is moved only when it would come too late."""
        self._wake_at = None if seconds is None else self._loop.time() + seconds
        if seconds is not None and seconds < SOON_SECONDS:
            if not self._expiring:
                self._expiring = True
                self._loop.call_soon(self._expire)
        elif self._wake_at is not None and (self._timer is None or self._wake_at < self._timer_at - SOON_SECONDS):
            if self._timer is not None:
                self._timer.cancel()
            self._set_timer(self._wake_at)

    def _set_timer(self, at: float) -> None:
        self._timer_at = at  # uvloop's handles do not always know their own
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._wake_at is None:
            return
        if self._wake_at > self._loop.time() + SOON_SECONDS:
            self._set_timer(self._wake_at)
        else:
            self._expire()

    def _expire(self) -> None:
        self._expiring = False
        if self._closed:
            return
        self._wake_at = None
        self._transport.expired()
        self._transport.deliver_ended()


def deliver_to(page: asyncio.Future[Outcome], outcome: Outcome) -> None:
    """Deliver, unless whoever waited was cancelled in this very round."""
    if not page.done():
        page.set_result(outcome)


class _Bridged:
    """Implements `interfaces.Wire` for plain jobs: switches to the job's task, which awaits for it."""

    def __init__(self, awaited: AwaitedAsyncioEngine) -> None:
        self._awaited = awaited

    def fetch(self, request: Request) -> Outcome:
        task = greenlet.getcurrent().parent
        assert task is not None
        return cast(Outcome, task.switch(self._awaited.fetch(request)))


async def _bridge(running: job.Job, work: Any, argument: Any) -> Done:
    """Run a plain job in a greenlet, awaiting for it whatever it switches out with."""
    bird = greenlet.greenlet(job.run)
    step = bird.switch(running, work, argument)
    while not bird.dead:
        try:
            answer = await step
        except BaseException as error:
            step = bird.throw(error)
        else:
            step = bird.switch(answer)
    return cast(Done, step)


class AsyncioEngine:
    """Implements `interfaces.Engine`: owns an event loop and runs it while it collects."""

    def __init__(self, setup: Setup) -> None:
        if _is_loop_running():
            raise UsageError(
                "an event loop is running already: use `async for page in cormorant.afetch(...)` inside it"
            )
        self._loop = _new_loop(setup.rounds)
        self._awaited = AwaitedAsyncioEngine(setup, self._loop)
        self._closed = False

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        """Make the job a task; it first runs in `collect`."""
        self._awaited.start(ticket, argument, seconds)

    def collect(self, timeout: float | None) -> list[Done]:
        """Run the loop until a job has ended, or for `timeout` seconds."""
        self._awaited.come_back()
        ended = self._loop.run_until_complete(self._awaited.next_ended(timeout))
        self._awaited.leave()
        return ended

    def caller_from_threads(self) -> Callable[[Callable[[], None]], object]:
        """Return the loop's own way in for other threads."""
        return self._awaited.caller_from_threads()

    def close(self) -> None:
        """Cancel every job and close the loop."""
        if self._closed:
            return
        self._closed = True
        try:
            self._loop.run_until_complete(self._awaited.close())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _HeardSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    """The selector of Python's own loop, whose waits somebody hears of."""

    def __init__(self, rounds: Rounds) -> None:
        super().__init__()
        self._rounds = rounds

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        began = time.monotonic()
        ready = super().select(timeout)
        self._rounds.waited(began, time.monotonic(), len(ready))
        return ready


def _new_loop(rounds: Rounds | None) -> asyncio.AbstractEventLoop:
    if rounds is not None:  # uvloop does not tell of its rounds
        return asyncio.SelectorEventLoop(_HeardSelector(rounds))
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        return cast(asyncio.AbstractEventLoop, uvloop.new_event_loop())
    return asyncio.new_event_loop()


def open_engine(setup: Setup) -> AsyncioEngine:
    """Build the engine with a loop of its own."""
    return AsyncioEngine(setup)


def open_awaited(setup: Setup) -> AwaitedAsyncioEngine:
    """Build the engine inside the running event loop."""
    return AwaitedAsyncioEngine(setup, asyncio.get_running_loop())
