"""The actor of `ray.py`, inside its process: it runs a worker in a thread of its own, and carries its messages.

It knows nothing of Ray. The process ends with its worker's lease (`LEAVE_SECONDS`), also while a message waits for a
driver that is gone.
"""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import time
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cormorant.errors import UsageError
from cormorant.fleet import member, words

MOST_BYTES = 8 * 1024 * 1024  # of messages in one call, and waiting before the sender has to wait, too
LINGER_SECONDS = 0.01  # until a call with something to say leaves, where nobody waits for it


class Seat:
    """The actor. `put` and `take` are called by the driver, each by one call at a time.

    No `marks`: this machine need not see the driver's folders.
    """

    def __init__(self, told: bytes, marks: str, folder: str) -> None:
        self._box = Box()
        start_new_thread(self._work, (told, marks, folder))

    def _work(self, told: bytes, marks: str, folder: str) -> None:
        if not marks:
            self._work_apart(told, folder)
            return
        try:
            _enter(folder, Path(marks))
        except UsageError as error:
            self._box.send(words.encode([words.Trouble.of(error)]))
        else:
            member.run(self._box, told, Path(marks))
        self._box.end()

    def _work_apart(self, told: bytes, folder: str) -> None:
        """Work where the driver's folders may not be."""
        with suppress(OSError):
            os.chdir(folder)
        with tempfile.TemporaryDirectory(prefix="cormorant-worker-") as own:
            member.run(self._box, told, Path(own, "marks"))
        self._box.end()

    def put(self, clock: float, got: int, messages: list[bytes]) -> float:
        """Take messages of the driver, who heard us at `clock` and has `got` messages; returns what our clock says."""
        self._box.hear(clock, got, messages)
        return time.monotonic()

    def take(self, clock: float, got: int, seconds: float) -> tuple[float, bool, list[bytes]]:
        """Return what our clock says, whether the worker has ended, and what it has sent; waits at most so long."""
        self._box.hear(clock, got, [])
        is_over, messages = self._box.take(seconds)
        return time.monotonic(), is_over, messages


class Box:
    """Implements `interfaces.Post`: what has come and what is to go, until the driver calls."""

    def __init__(self) -> None:
        self._come: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._out: deque[bytes] = deque()
        self._size = 0
        self._sent = self._got = 0
        self._changed = threading.Condition()
        self._urgent = threading.Event()
        self._is_over = False
        self.heard_at = time.monotonic()

    def send(self, message: bytes) -> None:
        """Send a message; waits while the driver does not call, until the process has to leave."""
        with self._changed:
            self._wait(lambda: self._size <= MOST_BYTES)
            self._out.append(message)
            self._sent += 1
            self._size += len(message)
            if self._size > MOST_BYTES // 8:
                self._urgent.set()
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until the driver has said that it has all that was sent."""
        with self._changed:
            until = self._sent
            self._urgent.set()
            self._wait(lambda: self._got >= until)

    def _wait(self, condition: Callable[[], bool]) -> None:
        while not self._changed.wait_for(condition, 1.0):
            if time.monotonic() - self.heard_at > member.LEAVE_SECONDS:
                os._exit(1)

    def receive(self, seconds: float) -> list[bytes]:
        """Return what has come; when nothing has, wait at most so long."""
        messages = []
        with suppress(queue.Empty):
            messages.append(self._come.get(timeout=seconds) if seconds else self._come.get_nowait())
            while True:
                messages.append(self._come.get_nowait())
        return messages

    def hear(self, clock: float, got: int, messages: list[bytes]) -> None:
        """Take what the driver says, who has heard us at `clock` (0: never) and `got` so many messages."""
        self.heard_at = max(self.heard_at, clock)
        for message in messages:
            self._come.put(message)
        with self._changed:
            self._got = max(self._got, got)
            self._changed.notify_all()

    def take(self, seconds: float) -> tuple[bool, list[bytes]]:
        """Return what is to go, and whether nothing follows; waits at most so long for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._out or self._is_over, seconds)
        self._urgent.wait(LINGER_SECONDS)  # for what comes with it: a call costs as much as some pages
        with self._changed:
            self._urgent.clear()
            messages = at_once(self._out)
            self._size -= sum(map(len, messages))
            self._changed.notify_all()
            return self._is_over and not self._out, messages

    def end(self) -> None:
        """Say that nothing follows."""
        with self._changed:
            self._is_over = True
            self._urgent.set()
            self._changed.notify_all()


def at_once(waiting: deque[bytes]) -> list[bytes]:
    """Take what goes in one call: at least one message where there is any."""
    messages: list[bytes] = []
    size = 0
    while waiting and size < MOST_BYTES:
        messages.append(waiting.popleft())
        size += len(messages[-1])
    return messages


def _enter(folder: str, marks: Path) -> None:
    """Go where the driver is. Raises UsageError where this machine does not see its folders."""
    if not marks.exists():
        raise UsageError(
            f"node {os.uname().nodename} does not see {marks.parent}: on several machines the job's folder lies where "
            "all see it: --job on a shared file system (without a job: TMPDIR there)"
        )
    try:
        os.chdir(folder)
    except OSError:
        raise UsageError(
            f"node {os.uname().nodename} does not see the folder {folder}, where this run was started: start it in one "
            "that all nodes see"
        ) from None
