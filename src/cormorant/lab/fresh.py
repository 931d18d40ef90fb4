"""A fresh process in a group of its own that ends with us: when we are done with it, and when we are killed.

Theory of operation. `running` starts the process, and beside it a warden: a bare Python whose stdin is a pipe from us.
When we end in any way, SIGKILL included, the pipe ends and the warden kills the group. A watcher inside the measured
process would be in its figures (a thread more, a process more, memory shared with it), so it stands outside.

Laws: whatever ends the block, the whole group is killed and the process is reaped; Ctrl-C reaches none of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

_WARDEN = "import os, sys; sys.stdin.buffer.read() or os.killpg(int(sys.argv[1]), 9)"
_DISMISSED = b"."


@contextlib.contextmanager
def running(
    module: str, *words: str, stdin: int = subprocess.DEVNULL, stderr: int | IO[bytes] = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m MODULE WORDS` until the block ends; its stdout is a pipe."""
    # The child finds modules where we do, as multiprocessing's spawn does it.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    child = subprocess.Popen(
        [sys.executable, "-m", module, *words],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        start_new_session=True,
    )
    try:
        with _watched(child.pid):
            yield child
    finally:
        _end(child)


@contextlib.contextmanager
def _watched(group: int) -> Iterator[None]:
    """Have `group` killed should we end within the block."""
    warden = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WARDEN, str(group)],  # bare: it imports little and heeds no environment
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            warden.communicate(_DISMISSED)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the group: the child where it still runs, and what it left behind where it does not."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left, or on macOS only the dead
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what was not yet written to it
                pipe.close()
