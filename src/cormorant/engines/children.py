"""What happens inside a worker process of `pool` and `process`, and what the parent can see of it.

A child is told its work once, when it begins. It ignores Ctrl-C (the parent decides), and leaves at once when the
parent is gone, so that no orphan goes on fetching. It marks in shared memory which job it runs, so that after
a death the parent knows whose job was lost and whose was never begun. Values travel pickled by us, so that one
that cannot be pickled costs its own job only, instead of breaking the executor's machinery.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, MutableSequence, Sequence
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, TypeVar

from cormorant.engines import Setup, job
from cormorant.errors import EngineLost, UsageError
from cormorant.interfaces import Transport
from cormorant.messages import Done, Fault, Kind

WAITING = 0  # marks: 0, then the child's pid while it runs the job, then -pid when its value is ready
WITHDRAWN = -1  # set by the parent: whoever takes this job up must not run it
PRELOADED = ["cormorant.engines.children", "cormorant.worker", "cormorant.transport.blocking"]

STILLBORN = (
    "the worker processes die as they start. Is the part of your script that runs things guarded? Each worker "
    "imports the script anew: write `if __name__ == '__main__':` around it (docs.python.org, multiprocessing, "
    "'Safe importing of main module')"
)

NEVER_BEGUN = (
    "the worker processes do not begin: something that they import as they start (the script, the module of the "
    "function) never ends, or this machine has far too much to do; try engine 'thread' or 'greenlet'"
)

STARTS = 5  # how often a start is tried when the server that starts processes dies meanwhile
START_AGAIN_SECONDS = 0.05  # until it is known to be dead
UNKNOWN = 255  # what multiprocessing makes of an exit code that nobody can tell, for the server of processes is gone
BEGIN_SECONDS = 60.0  # how long a new process may take to be there
SECONDS_TO_GO = 2.0  # for one that was killed, where nobody tells that it is gone

Started = TypeVar("Started")
Marks = MutableSequence[int]  # one for each slot, and a last one that says that a child was ready


def context(preloaded: Sequence[str] = PRELOADED) -> BaseContext:
    """Return how processes are started: never by forking this one, whose threads and handles must not be copied.

    On Linux a clean server process, with our modules loaded, is forked instead (a few ms a child); elsewhere spawn.
    """
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(list(preloaded))
    return server


def started(start: Callable[[], Started]) -> Started:
    """Call what starts processes, and again where their server was killed meanwhile: the next start has a new one.

    What they share with us has to be made anew by `start`: a server killed just then may have started a child that
    nobody knows, and that holds the locks of its queues. Such a child leaves once nothing refers to the failed start.
    They begin with SIGINT blocked, so that a Ctrl-C cannot end them before they are ready for it (`begin`). Raises
    EngineLost when trying is of no use.
    """
    resource_tracker.ensure_running()  # the first time it unblocks SIGINT again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        for _ in range(STARTS - 1):
            with contextlib.suppress(EOFError, ConnectionError):
                return start()
            time.sleep(START_AGAIN_SECONDS)
        return start()
    except (EOFError, ConnectionError) as error:
        raise EngineLost(
            "worker processes cannot be started: their server (multiprocessing's) was killed "
            "as it started one; run it again, or use engine 'thread' or 'greenlet'"
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def is_there(process: int) -> bool:
    """Whether a process lives; one that is dead and that nobody has asked for does not.

    multiprocessing takes all that a server has started for dead once the server is; this knows who lives on.
    """
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):  # a stranger has its number
        return False
    return status(process)[:1] != ["Z"]


def status(process: int) -> list[str]:
    """Return the words of proc(5) `stat` behind the name: state, parent, and so on; an empty list without /proc."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def kill(process: int) -> None:
    """End a process at once, if it is there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, signal.SIGKILL)


def wait_until_gone(process: int) -> None:
    """Wait for a process that was killed and that nobody may tell of."""
    until = time.monotonic() + SECONDS_TO_GO
    while is_there(process) and time.monotonic() < until:
        time.sleep(0.01)


def pickled_work(setup: Setup, engine: str) -> bytes:
    """Pickle what every child is told. Raises UsageError, with the fix, when the user's function cannot travel."""
    try:
        return pickle.dumps((setup.work, setup.transports))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"engine {engine!r} sends the function to other processes, and this one cannot travel ({error}); "
            "define it at the top level of a module, or use engine 'thread' or 'greenlet'"
        ) from None


def pickled_argument(ticket: int, argument: Any) -> bytes | Done:
    """Pickle one job's argument; when it cannot travel, return the job's end instead."""
    try:
        return pickle.dumps(argument)
    except Exception as error:
        return Done(ticket=ticket, fault=_cannot_travel("the item", error))


def unpickled(ticket: int, data: bytes) -> Done:
    """Unpickle a child's answer; when that fails, it is this job's fault alone."""
    try:
        answer: Done = pickle.loads(data)
    except Exception as error:
        return Done(ticket=ticket, fault=_cannot_travel("the result", error))
    return answer


def _cannot_travel(what: str, error: BaseException) -> Fault:
    message = f"{what} cannot travel between processes: {type(error).__name__}: {error}"
    return Fault(kind=Kind.CALLBACK, message=message)


# --- in the child ---

_work: Callable[[Any], Any] | None = None
_transport: Transport | None = None
_marks: Marks | None = None
_broken: Fault | None = None


def begin(told: bytes, marks: Marks) -> None:
    """Prepare this child (the executors' `initializer`). Must not raise: that would break the executor."""
    global _work, _transport, _marks, _broken
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _marks = marks
    try:
        _work, transports = pickle.loads(told)
        _transport = transports.blocking()
    except BaseException as error:
        _broken = job.fault_of(error)
    marks[-1] = 1


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run(slot: int, ticket: int, argument: bytes, seconds: float) -> bytes | None:
    """Run one job; returns its pickled `Done`, or None when the parent has withdrawn it."""
    assert _marks is not None
    if _marks[slot] == WITHDRAWN:
        return None
    _marks[slot] = os.getpid()
    answer = _pickled(_run(ticket, argument, seconds))
    _marks[slot] = -os.getpid()
    return answer


def _run(ticket: int, argument: bytes, seconds: float) -> Done:
    if _broken is not None or _work is None:
        return Done(ticket=ticket, fault=_broken)
    try:
        value = pickle.loads(argument)
    except Exception as error:
        return Done(ticket=ticket, fault=_cannot_travel("the item", error))
    return job.run(job.Job(ticket, time.monotonic() + seconds, _transport), _work, value)


def _pickled(done: Done) -> bytes:
    try:
        return pickle.dumps(done)
    except Exception as error:
        return pickle.dumps(Done(ticket=done.ticket, fault=_cannot_travel("the result", error)))
