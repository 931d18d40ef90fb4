"""Every program in `examples/` is run as a user runs it, against a site whose slow page waits for our word.

The slow page stands first in the list and answers only when the lines of all others have been read from the program,
so that completion order is proved without a clock. Under the for loop it must come first, so it answers at once.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PATIENCE_SECONDS = 30.0

# name of the run -> the program and its first arguments
RUNS = {
    "for_loop": ["for_loop.py"],
    "pool_with_callback": ["pool_with_callback.py"],
    "process_pool_executor": ["process_pool_executor.py"],
    "thread_pool_executor": ["thread_pool_executor.py"],
    "gevent_example": ["gevent_example.py"],
    "async_get": ["async_get.py"],
    "afetch": ["afetch.py"],
    "fetch_and_parse": ["fetch_and_parse.py"],
    **{
        f"with_get-{engine}": ["with_get.py", engine]
        for engine in ("serial", "pool", "process", "thread", "greenlet", "gevent", "asyncio")
    },
}
IN_TURN = {"for_loop", "with_get-serial"}


class Site:
    """Pages that say their own path in the title; `/slow` waits for `release`."""

    def __init__(self) -> None:
        self.release = threading.Event()
        release = self.release

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/slow":
                    release.wait(PATIENCE_SECONDS)
                self.send_response(404 if self.path == "/missing" else 200)
                body = _body(self.path)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self.server.server_port}"


def _body(path: str) -> bytes:
    return f"<title>page {path}</title>{'x' * 100}".encode()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    serving = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    try:
        yield site
    finally:
        site.release.set()
        site.server.shutdown()
        serving.join()
        site.server.server_close()


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", f"examples/{words[0]}", *words[1:]]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1"}
        program = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(program)
        return program

    yield run
    for program in started:
        program.kill()
        program.communicate()


def test_every_example_is_run_here() -> None:
    assert {words[0] for words in RUNS.values()} == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("name", RUNS)
def test_example(name: str, site: Site, run: Callable[..., subprocess.Popen[str]]) -> None:
    with socket.socket() as held:  # bound, but nobody listens
        held.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{held.getsockname()[1]}/"
        quick = [f"{site.base}/a", f"{site.base}/b", f"{site.base}/missing", refused]
        slow = f"{site.base}/slow"
        if name in IN_TURN:
            site.release.set()
        program = run(*RUNS[name], slow, *quick)
        assert program.stdout is not None
        lines = []
        for line in program.stdout:
            lines.append(line)
            if len(lines) == len(quick):
                site.release.set()
        assert program.wait(PATIENCE_SECONDS) == 0, program.stderr.read() if program.stderr else ""
    came = [line.split(maxsplit=1)[0] for line in lines]
    assert sorted(came) == sorted([slow, *quick])
    if name in IN_TURN:
        assert came == [slow, *quick]
    else:
        assert came[-1] == slow
    said = dict(line.rstrip("\n").split(" ", 1) for line in lines)
    for path in ("/slow", "/a", "/b", "/missing"):
        assert said[site.base + path] == _expected(name, path)
    assert "refused" in said[refused] or "connect" in said[refused].lower()


def _expected(name: str, path: str) -> str:
    status = 404 if path == "/missing" else 200
    if name == "fetch_and_parse":
        return f"page {path}" if status == 200 else str(status)
    return str((status, len(_body(path))))
