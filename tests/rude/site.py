"""The handle a test holds: starts the rude site, says its URLs, reads its truth log."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hit:
    """One request as the server saw it.

    `t_ns` is CLOCK_MONOTONIC, comparable with `time.monotonic_ns()` of the test; `port` is the client's,
    so equal ports mean a reused connection; `at_once` counts the requests open to `host` (name:port)
    including this one; `ended` is ok, cut, reset, dropped, closed, gone (the client left) or None (still open).
    """

    t_ns: int
    port: int
    host: str
    method: str
    path: str
    ended: str | None
    sent: int
    at_once: int


class Rude:
    """The rude site in a child process. Safe to use from any thread; `close` (or `with`) ends it."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._ports: dict[tuple[str, str], int] = {}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "rude", str(folder)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def url(self, path: str = "/ok", host: str = "127.0.0.1") -> str:
        """Return the http URL of `path` on any host of 127.0.0.0/8, or on a name for 127.0.0.1."""
        return f"http://{host}:{self._port('http', _address(host))}{path}"

    def https_url(self, path: str = "/ok", host: str = "127.0.0.1", tls: str = "good") -> str:
        """Return the https URL of `path`; `tls` picks what is wrong.

        good, h2 (HTTP/2), expired, not-yet, wrong-name, self-signed, unknown-root, client-cert, old-tls;
        http (plain HTTP on the port), tls-hang, tls-garbage, tls-close.
        """
        return f"https://{host}:{self._port(tls, _address(host))}{path}"

    @functools.cached_property
    def ca_file(self) -> str:
        """Name the PEM file of the authority behind the good certificates."""
        return str(self._ask(do="ca"))

    def log(self) -> list[Hit]:
        """Return every request since `clear_log`, in the order they came in."""
        return [Hit(**record) for record in self._ask(do="log")]

    def wait_log(self, enough: Callable[[list[Hit]], bool], seconds: float = 10.0) -> list[Hit]:
        """Return the log as soon as `enough(log)`; raises AssertionError when it never is."""
        end = time.monotonic() + seconds
        while True:
            hits = self.log()
            if enough(hits):
                return hits
            assert time.monotonic() < end, f"the truth log never got there: {hits}"
            time.sleep(0.01)

    def peak(self, host: str | None = None) -> int:
        """Return the most requests open at once to `host` (name:port; None: the busiest host) since `clear_log`."""
        return max((hit.at_once for hit in self.log() if host in (None, hit.host)), default=0)

    def clear_log(self) -> None:
        """Forget the requests and the counts of the flaky pages."""
        self._ask(do="clear")

    def close(self) -> None:
        """End the site."""
        with self._lock:
            self._child.communicate(timeout=10)

    def __enter__(self) -> Rude:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _port(self, kind: str, address: str) -> int:
        if (kind, address) not in self._ports:
            self._ports[kind, address] = int(self._ask(do="port", kind=kind, host=address))
        return self._ports[kind, address]

    def _ask(self, **command: Any) -> Any:
        with self._lock:
            assert self._child.stdin is not None
            assert self._child.stdout is not None
            self._child.stdin.write(json.dumps(command) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        assert line, f"the rude site died with {self._child.poll()}"
        reply = json.loads(line)
        if "error" in reply:
            raise OSError(reply["error"])
        return reply["value"]


def _address(host: str) -> str:
    return host if host.startswith("127.") else "127.0.0.1"
