"""One worker on Ray, as its driver sees it (`ray.py`): what is said to it, what has come of it, whether it is dead.

It has one `put` and one `take` under way, each with all that waits. An error of either loses it: what was on its way
may have arrived or not, nobody says it again, and its shards go to another. It is dead, which is more, when nothing
of it can go on: its process was seen to end, or it has left by itself, for the driver has not heard it so long.
"""

from __future__ import annotations

import functools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cormorant.fleet.member import LEAVE_SECONDS
from cormorant.fleet.seat import MOST_BYTES, at_once

CALL_SECONDS = 1.0  # how often a worker is called that has nothing to say and is told nothing
MARGIN_SECONDS = 2.0  # beyond LEAVE_SECONDS: for clocks that do not go alike, and a process that is ending
PLACE_SECONDS = 45.0  # until a worker has its place, on a machine that is there
PROCESS_IS_GONE = "worker process has died"  # says Ray of an actor when its node has seen the process end


class Actor:
    """Implements `interfaces.Member`. `call` and what follows from it happen in the cluster's thread."""

    def __init__(
        self, number: int, marks: Path, events: queue.SimpleQueue[Callable[[], None]], news: threading.Event
    ) -> None:
        self.number, self.marks = number, marks
        self._events, self._news = events, news
        self._ray: Any = None
        self._handle: Any = None
        self._to_send: deque[bytes] = deque()
        self._come: deque[bytes] = deque()
        self._come_bytes = self._received_bytes = 0  # each written by one thread
        self._is_putting = self._is_taking = False
        self._clock = 0.0  # the worker's, as it said last
        self._got = 0  # messages, in all
        self._started_at = time.monotonic()
        self._heard_at: float | None = None
        self._lost: str | None = None
        self._lost_at = 0.0
        self._is_gone = self._is_over = False

    def sit(self, ray: Any, handle: Any) -> None:
        """Take the actor that this is about."""
        self._ray, self._handle = ray, handle

    def send(self, message: bytes) -> None:
        """Send a message; one that is lost gets none."""
        if not self.is_lost:
            self._to_send.append(message)
            self._events.put(self.call)

    def receive(self) -> list[bytes]:
        """Return what has come, in order."""
        messages = []
        while self._come:
            messages.append(self._come.popleft())
        if messages:
            self._received_bytes += sum(map(len, messages))
            self._events.put(self.call)
        return messages

    @property
    def is_lost(self) -> bool:
        """Whether nothing more is said to it."""
        return self._is_over or self._lost is not None

    @property
    def is_called(self) -> bool:
        """Whether a call is under way: one to an actor that was killed comes home when that is gone."""
        return self._is_putting or self._is_taking

    def is_waiting_for_place(self, now: float) -> bool:
        """Whether it should have begun long ago."""
        return not self.is_lost and self._heard_at is None and now - self._started_at > PLACE_SECONDS

    @property
    def death(self) -> str | None:
        """What it died of, once all that it sent was received, and once it can do nothing more."""
        if self._come or not self.is_lost:
            return None
        if self._is_over:
            return "ended"
        since = self._lost_at if self._heard_at is None else self._heard_at
        is_past = time.monotonic() - since > LEAVE_SECONDS + MARGIN_SECONDS
        return self._lost if self._is_gone or is_past else None

    @property
    def is_crash(self) -> bool:
        """Whether nobody killed it from outside: that is not known of an actor."""
        return False

    def kill(self) -> None:
        """End it at once. Safe to call twice."""
        self._lose("killed by the driver")

    # --- calls ---

    def call(self, is_beat: bool = False) -> None:
        """Do the calls that are due."""
        try:
            if not self.is_lost and not self._is_putting and (self._to_send or is_beat):
                self._is_putting = True
                self._await(self._handle.put.remote(self._clock, self._got, at_once(self._to_send)), self._was_put)
            if not self.is_lost and not self._is_taking and self._come_bytes - self._received_bytes < MOST_BYTES:
                self._is_taking = True
                self._await(self._handle.take.remote(self._clock, self._got, CALL_SECONDS), self._was_taken)
        except self._ray.exceptions.RayError as error:
            self._fail(error)

    def _await(self, reference: Any, done: Callable[[Any], None]) -> None:
        """Have `done` called in our thread with the future of a call: this one's callback is Ray's own thread."""
        future = reference.future()
        future.add_done_callback(lambda future: self._events.put(functools.partial(done, future)))

    def _was_put(self, future: Any) -> None:
        self._is_putting = False
        with self._failing():
            self._hear(future.result())
        self.call()

    def _was_taken(self, future: Any) -> None:
        self._is_taking = False
        with self._failing():
            clock, is_over, messages = future.result()
            self._hear(clock)
            self._come_bytes += sum(map(len, messages))
            self._come.extend(messages)
            self._got += len(messages)
            if is_over:
                self._is_over = True
                self._ray.kill(self._handle)
            if messages or is_over:
                self._news.set()
        self.call()

    def _hear(self, clock: float) -> None:
        self._clock = max(clock, self._clock)
        self._heard_at = time.monotonic()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except self._ray.exceptions.RayError as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Lose it by an error of a call: what was on its way may have arrived or not, and nobody says it again."""
        is_death = isinstance(error, self._ray.exceptions.ActorDiedError)
        self._is_gone |= is_death and PROCESS_IS_GONE in str(error)
        self._lose(_cause(error))

    def _lose(self, cause: str) -> None:
        if not self.is_lost:
            self._lost_at, self._lost = time.monotonic(), cause
            self._to_send.clear()
            with suppress(Exception):
                self._ray.kill(self._handle)
        self._news.set()

    def __repr__(self) -> str:
        return f"<Actor {self.number} lost={self._lost!r} over={self._is_over}>"


def _cause(error: Exception) -> str:
    """Return what is worth knowing of Ray's long words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return f"{type(error).__name__}: {(lines or [''])[-1][:200]}"
