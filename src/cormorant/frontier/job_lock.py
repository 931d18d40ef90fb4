"""One run a job: a file `lock` in its folder that the kernel lets go of when its process dies, however it dies.

What stands in the file is for people: who holds it, or who held it and died. `flock` alone decides, so a stale lock
needs no judgement, and a pid that was given to somebody else means nothing.
"""

from __future__ import annotations

import datetime
import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from cormorant.errors import OutputError, UsageError
from cormorant.forks import held_alone

FILE = "lock"
MOST_PATIENCE_SECONDS = 60.0  # with one who holds it briefly
LOOK_AGAIN_SECONDS = 0.02
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a job, or held it: a process, since when (seconds since the epoch), in which life of which machine.

    `is_brief`: it only looks, and lets go in a moment.
    """

    pid: int
    boot: str
    machine: str
    since: float
    is_brief: bool = False

    @classmethod
    def here(cls, is_brief: bool = False) -> Owner:
        """Describe this process."""
        boot = ""
        with suppress(OSError):
            boot = BOOT_ID.read_text().strip()
        return cls(pid=os.getpid(), boot=boot, machine=socket.gethostname(), since=time.time(), is_brief=is_brief)

    def __str__(self) -> str:
        """Return it in words."""
        since = datetime.datetime.fromtimestamp(self.since).astimezone().isoformat(" ", "seconds")
        return f"process {self.pid} on {self.machine}, since {since}"


class Locked(UsageError):
    """Another run holds the job; `owner` as far as it is known."""

    def __init__(self, folder: Path, owner: Owner | None) -> None:
        who, stop = "", ""
        if owner is not None:
            who = f" ({owner})"
            is_ours = owner.pid == os.getpid()
            stop = ", or close its generator: this process runs it" if is_ours else f", or stop it: kill {owner.pid}"
        super().__init__(f"job {folder} is in use by another run{who}; wait for it{stop}")
        self.owner = owner


class Lock:
    """Holds a job until `release`, or the end of the process. `before` is who died while holding it.

    One who holds it briefly is waited for.

    Raises Locked when another run has it, OutputError where the folder cannot be written or cannot be locked.
    """

    def __init__(self, folder: Path, is_brief: bool = False) -> None:
        self._path = folder / FILE
        self._file = held_alone(_held(folder, self._path))
        before = _read(self._file.fileno())
        self.before = None if before is None or before.is_brief else before
        self._is_brief = is_brief
        try:
            self._write(Owner.here(is_brief))
        except OSError as error:
            self.release()
            raise OutputError(f"cannot write {self._path}: {error.strerror}; make room, then run it again") from error

    def _write(self, owner: Owner) -> None:
        os.ftruncate(self._file.fileno(), 0)
        os.pwrite(self._file.fileno(), msgspec.json.encode(owner), 0)

    def release(self) -> None:
        """Let go, and leave no file; who only looked leaves the one of who died before. Safe to call twice."""
        if self._file.closed:
            return
        with suppress(OSError):
            if self._is_brief and self.before is not None:
                self._write(self.before)
            else:
                os.unlink(self._path)  # while it is still ours: whoever waits for it sees that it is another file
        self._file.close()


def _held(folder: Path, path: Path) -> int:
    """Return the descriptor of the file that is at `path`, locked."""
    until = time.monotonic() + MOST_PATIENCE_SECONDS
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutputError(
                f"cannot write {path}: {error.strerror}; make the job's folder writable, or name another"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
            os.close(descriptor)
        except BlockingIOError:
            owner = _read(descriptor)
            os.close(descriptor)
            if owner is None or not owner.is_brief or time.monotonic() > until:
                raise Locked(folder, owner) from None
            time.sleep(LOOK_AGAIN_SECONDS)
        except OSError as error:
            os.close(descriptor)
            raise OutputError(f"cannot lock {path}: {error.strerror}; put the job's folder on a local disk") from error


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether the open file still has its name: the one who held it may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _read(descriptor: int) -> Owner | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Owner)
    except (OSError, msgspec.MsgspecError):
        return None
