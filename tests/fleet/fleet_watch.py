"""Who works for a run, who is left of it, who is killed meanwhile; the site's own log; and the command as a process."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil
from truth_site import Web

import cormorant
from cormorant.messages import Outcome

SRC = Path(__file__).parents[2] / "src"
End = tuple[Any, ...]


def ends(outcomes: Iterable[Outcome]) -> Counter[End]:
    """Return what is the same however it was fetched, of each outcome."""
    return Counter(
        (
            one.url,
            one.input,
            one.line,
            one.status if isinstance(one, cormorant.Page) else str(one.kind),
            one.body,
            one.final_url,
            tuple((hop.url, hop.status) for hop in one.redirects),
            one.data,
        )
        for one in outcomes
    )


def reached(outcomes: Iterable[Outcome]) -> Counter[End]:
    """Return the pages of a crawl by where they were found in the end, without those that are redirects.

    Under which URL the target of a redirect is booked, and whether a redirect to it is one, hangs on who was there
    first, with one worker, too.
    """
    return Counter(
        (one.final_url or one.url, one.status, str(getattr(one, "kind", "")), one.body)
        for one in outcomes
        if one.status is None or not 300 <= one.status < 400
    )


def folders_in(place: Path) -> list[str]:
    """Return what a fleet left of its temporary folders."""
    return sorted(one.name for one in place.glob("cormorant-fleet-*"))


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Return as soon as `condition()` holds; AssertionError when it never does."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"it never came to pass: workers {workers()}"
        time.sleep(0.01)


def workers(of: int | None = None) -> list[int]:
    """Return the pids of the workers of a process (None: this one), in the order of their start.

    They are the children of multiprocessing's server of processes, which is itself a child.
    """
    with contextlib.suppress(psutil.Error):
        servers = [one for one in psutil.Process(of).children() if _is_server(one)]
        return [one.pid for server in servers for one in server.children() if one.status() != psutil.STATUS_ZOMBIE]
    return []


def server_of_processes() -> psutil.Process:
    """Return the process that starts the workers of this one."""
    (server,) = (one for one in psutil.Process().children() if _is_server(one))
    return server


def _is_server(process: psutil.Process) -> bool:
    return any("forkserver" in word for word in process.cmdline())


def group_of(process: int) -> list[int]:
    """Return every process that is left of the group that a command was started as."""
    left = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getpgid(one.pid) == process and one.status() != psutil.STATUS_ZOMBIE:
                left.append(one.pid)
    return left


class Killer:
    """Ends a worker of this process now and then, by one signal after the other, while it is entered.

    `most` in all: where all are killed sooner than a machine can start one, no run would ever end.
    """

    def __init__(
        self, signals: Sequence[signal.Signals], every: float, choose: Callable[[list[int]], int], most: int = 15
    ) -> None:
        self._signals, self._every, self._choose, self._most = itertools.cycle(signals), every, choose, most
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.killed: list[int] = []

    def _run(self) -> None:
        while len(self.killed) < self._most and not self._is_over.wait(self._every):
            if there := workers():
                chosen = self._choose(there)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chosen, next(self._signals))
                    self.killed.append(chosen)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


class Truth:
    """A site with a truth log (`truth_site.py`), and the list of its pages."""

    def __init__(self, folder: Path, web: Web, address: str, pages: int) -> None:
        self.log, self.web, self.address = folder / "server.log", web, address
        self.urls = [web.url(address, number) for number in range(pages)]

    def url(self, number: int) -> str:
        """Return the URL of a page by its number."""
        return self.web.url(self.address, number)

    def asked(self, urls: Iterable[str] | None = None) -> int:
        """Return how many requests came so far, of these URLs or in all."""
        lines = [line.split(" ") for line in self.log.read_text().splitlines()]
        wanted = None if urls is None else set(urls)
        return sum(len(words) == 2 and (wanted is None or words[1] in wanted) for words in lines)


class Command:
    """Runs `cormorant` in a folder of its own, each time as a group of processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join([str(SRC), str(Path(__file__).parent)])
        self.environment = os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "error"}
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        """Start it; it is killed at the end of the test at the latest."""
        process = subprocess.Popen(
            [sys.executable, "-m", "cormorant", *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._running.append(process)
        return process

    def run(self, *words: object, seconds: float = 60.0) -> tuple[int, str, str]:
        """Run it to its end; returns its exit code, stdout and stderr."""
        return self.ended(self.start(*words), seconds)

    def ended(self, process: subprocess.Popen[bytes], seconds: float = 60.0) -> tuple[int, str, str]:
        """Wait for it; returns its exit code, stdout and stderr. Fails when anybody of its group is left."""
        out, err = process.communicate(timeout=seconds)
        wait_until(lambda: not group_of(process.pid), 5.0)
        return process.returncode, out.decode(), err.decode()

    def list(self, lines: Iterable[str], name: str = "urls.txt") -> str:
        """Write a list and return its name."""
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))
        return name

    def close(self) -> None:
        """End what is still there."""
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
