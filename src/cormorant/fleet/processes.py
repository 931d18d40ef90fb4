"""Workers as processes of this machine, over pipes. They leave with their driver, however it dies."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from _thread import allocate_lock, start_new_thread
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cormorant.engines import children
from cormorant.interfaces import Member

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a terminal, or a service's stop, tells the whole group
CRASHES = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE))
INIT = 1  # whose child is one whose server is gone
SECONDS_TO_COME = 0.5  # for what a dead worker has sent
MOST_AT_ONCE = 64  # messages taken of one worker before the others have their turn


class Processes:
    """Implements `interfaces.Cluster`: a process a worker."""

    is_leased = False  # a dead process is known to be dead

    def __init__(self) -> None:
        self._context = children.context((*children.PRELOADED, "cormorant.fleet.member"))
        self._started: list[Process] = []
        self._news = threading.Event()

    def start(self, number: int, told: bytes, marks: Path) -> Process:
        """Start a worker. Raises EngineLost when none can be started."""
        process, connection = children.started(lambda: self._started_once(number, told, marks))
        member = Process(number, process, connection, marks, self._news)
        self._started.append(member)
        return member

    def _started_once(self, number: int, told: bytes, marks: Path) -> tuple[Any, Connection]:
        """Start a process and return it with our end of its pipe, which one that nobody knows must not read."""
        ours, theirs = self._context.Pipe()
        with theirs:
            process = self._context.Process(  # type: ignore[attr-defined]
                target=_inside, args=(theirs, told, marks), name=f"cormorant-worker-{number}"
            )
            try:
                process.start()
            except BaseException:
                ours.close()
                raise
        return process, ours

    def wait(self, members: Sequence[Member], seconds: float) -> None:
        """Wait until a worker has said something or died, at most so long."""
        self._news.wait(seconds)
        self._news.clear()

    def close(self) -> None:
        """Kill all that are still there, and wait until they are gone. Safe to call twice."""
        for member in self._started:
            member.kill()
        for member in self._started:
            member.join()
        self._started.clear()


class Process:
    """Implements `interfaces.Member`.

    Two threads send and receive: a worker that is stopped reads nothing any more, and may have sent half a message.
    The outcomes that wait here are bounded by the credit that the worker has; mail is not.
    """

    def __init__(self, number: int, process: Any, connection: Connection, marks: Path, news: threading.Event) -> None:
        self.number, self.marks = number, marks
        self._connection, self._process, self._news = connection, process, news
        self._to_go: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._come: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._is_closed = False
        self._pid: int = process.pid
        self._server = _parent_of(self._pid)
        self._dead_since: float | None = None
        start_new_thread(self._send, ())
        start_new_thread(self._read, ())

    def send(self, message: bytes) -> None:
        """Send a message; one that is dead gets none."""
        self._to_go.put(message)

    def _send(self) -> None:
        with contextlib.suppress(OSError, TypeError):  # it is dead, or closed meanwhile
            while (message := self._to_go.get()) is not None:
                self._connection.send_bytes(message)

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError, TypeError):  # closed meanwhile
            while True:
                self._come.put(self._connection.recv_bytes())
                self._news.set()
        self._come.put(None)
        self._news.set()

    def receive(self) -> list[bytes]:
        """Return what has come, in order."""
        messages: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            while not self._is_closed and len(messages) < MOST_AT_ONCE:
                message = self._come.get_nowait()
                if message is None:
                    self._is_closed = True
                    self._to_go.put(None)
                else:
                    messages.append(message)
        if len(messages) == MOST_AT_ONCE:
            self._news.set()
        return messages

    @property
    def death(self) -> str | None:
        """What it died of, once all that it sent was received."""
        if not self._is_closed and not self._is_silent():
            return None
        self._process.join()
        self._connection.close()
        if self._is_untold:
            return "nobody tells how: the server of processes is gone, too"
        code = self._process.exitcode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def _is_silent(self) -> bool:
        """Tell whether it is dead though its pipe is open: a child that it left holds the end, and will say nothing."""
        if self._process.exitcode is None or (self._is_untold and children.is_there(self._pid)):
            return False
        now = time.monotonic()
        self._dead_since = self._dead_since or now
        return self._come.empty() and now - self._dead_since > SECONDS_TO_COME

    @property
    def is_crash(self) -> bool:
        """Whether nobody killed it from outside, as far as is known."""
        code = self._process.exitcode
        return code is not None and not self._is_untold and (code > 0 or -code in CRASHES)

    @property
    def _is_untold(self) -> bool:
        """Whether its exit code says nothing: who would have told it was killed. It may live on."""
        if self._process.exitcode != children.UNKNOWN or self._server is None:
            return False
        return self._server == INIT or not children.is_there(self._server)

    def kill(self) -> None:
        """End it at once. Safe to call twice."""
        with contextlib.suppress(ValueError, OSError):
            if self._is_untold:
                children.kill(self._pid)
            else:
                self._process.kill()

    def join(self) -> None:
        """Wait until it is gone, and forget it."""
        self._to_go.put(None)
        self._process.join()
        if self._is_untold:
            children.wait_until_gone(self._pid)
        self._process.close()
        self._connection.close()

    def __repr__(self) -> str:
        return f"<Process {self.number} {self._process!r}>"


def _parent_of(process: int) -> int | None:
    """Return who has started a process, where the kernel tells (Linux, where a server starts workers)."""
    return int(status[1]) if (status := children.status(process)) else None


# --- in the worker ---


def _inside(connection: Connection, told: bytes, marks: Path) -> None:
    """Be a worker. Signals are for the driver; when that is gone, so is this."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    from cormorant.fleet import member

    member.run(Pipe(connection), told, marks)
    connection.close()
    os._exit(0)  # threads that wait on a stranger (an abandoned job) are not waited for


class Pipe:
    """Implements `interfaces.Post` over a pipe, which a thread reads so that the driver never waits for us."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = allocate_lock()
        self._come: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.heard_at = time.monotonic()
        start_new_thread(self._read, ())

    def _read(self) -> None:
        try:
            while True:
                self._come.put(self._connection.recv_bytes())
                self.heard_at = time.monotonic()
        except (EOFError, OSError):
            os._exit(1)  # the driver is gone: what is not committed is open, and nobody waits for it

    def send(self, message: bytes) -> None:
        """Send a message; waits while the driver does not read."""
        try:
            with self._lock:
                self._connection.send_bytes(message)
        except OSError:
            os._exit(1)

    def receive(self, seconds: float) -> list[bytes]:
        """Return what has come; when nothing has, wait at most so long."""
        messages: deque[bytes] = deque()
        with contextlib.suppress(queue.Empty):
            messages.append(self._come.get(timeout=seconds) if seconds else self._come.get_nowait())
            while True:
                messages.append(self._come.get_nowait())
        return list(messages)

    def flush(self) -> None:
        """Do nothing: what is in the pipe outlives us."""
