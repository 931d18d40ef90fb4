"""The embedded site in a process of its own: beside us for a block (`running`), or alone until Ctrl-C (`serve`).

Its own process always: serving then takes no time from what is measured, and ends at once whatever hangs in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

import msgspec

from cormorant.errors import CormorantError, MissingPackage
from cormorant.lab.site.pages import Expected, expected
from cormorant.lab.site.workload import Workload

INSTALL = "the embedded site needs granian; install it with: pip install 'cormorant[lab]'"

_START_SECONDS = 30.0
_STOP_SECONDS = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A running site: what it serves, at which port, in which process."""

    workload: Workload
    port: int
    pid: int

    def urls(self) -> list[str]:
        """Return the workload's list of URLs at this site."""
        return self.workload.urls(self.port)

    def expected(self, url: str) -> Expected:
        """Say how a fetch of `url` must end."""
        return expected(self.workload, url)


@contextlib.contextmanager
def running(workload: Workload, port: int = 0) -> Iterator[Site]:
    """Serve `workload` at `port` (0: a free one) until the block is left.

    The site answers when the block begins, and ends with it, or with this process however that ends.
    Raises MissingPackage without granian, OSError when the port is taken, CormorantError with the server's words
    when it does not start for another reason.
    """
    with _started(workload, port) as (server, at):
        yield Site(workload=workload, port=at, pid=server.pid)


def serve(workload: Workload, port: int = 8000, *, ready: Callable[[int], None] | None = None) -> None:
    """Serve `workload` at `port` (0: a free one) until Ctrl-C; `ready` is called with the port once it answers.

    Raises what `running` raises, and CormorantError when the server ends of itself.
    """
    with contextlib.suppress(KeyboardInterrupt), _started(workload, port) as (server, at):
        if ready is not None:
            ready(at)
        raise CormorantError(f"the embedded site ended of itself, exit code {server.wait()}")


@contextlib.contextmanager
def _started(workload: Workload, port: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    if importlib.util.find_spec("granian") is None:
        raise MissingPackage(INSTALL)
    with socket.socket() as trial:  # an error of ours is better than one from the child
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(("127.0.0.1", port))
    command = [sys.executable, "-m", "cormorant.lab.site", str(port), str(os.getpid())]
    # The child finds modules where we do, as multiprocessing's spawn does it.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    # What it says goes to a file: a pipe nobody reads would stop it once full.
    with tempfile.TemporaryFile() as words:
        server = subprocess.Popen(
            [*command, msgspec.json.encode(workload).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the one who measures; it ends the site by leaving the block
        )
        try:
            yield server, _wait_ready(server, words)
        finally:
            _end(server)


def _wait_ready(server: subprocess.Popen[bytes], words: IO[bytes]) -> int:
    """Return the port, which the server writes in one line once it answers."""
    assert server.stdout is not None
    line = b""
    if select.select([server.stdout], [], [], _START_SECONDS)[0]:
        line = server.stdout.readline()
    if not line:
        words.seek(0)
        said = words.read().decode(errors="replace").strip()
        raise CormorantError(f"the embedded site did not start: {said or 'it said nothing'}")
    return int(line)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if server.stdout is not None:
        server.stdout.close()
