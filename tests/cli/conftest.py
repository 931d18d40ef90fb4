"""The command as a user runs it: a process of its own, with its signals, pipes and exit codes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
SECONDS = 30


class Cormorant:
    """Runs `cormorant` in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
        self.environment |= {"PYTHONPATH": str(SRC), "PYTHONWARNINGS": "error"}
        self._running = []

    def start(self, *words, **popen):
        """Start it and return the process; it is killed at the end of the test at the latest."""
        popen = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
        popen.setdefault("env", self.environment)
        command = [sys.executable, "-m", "cormorant", *map(str, words)]
        process = subprocess.Popen(command, cwd=self.folder, **popen)
        self._running.append(process)
        return process

    def run(self, *words, input=None, **popen):
        """Run it to its end; returns its exit code, stdout and stderr as text."""
        if input is not None:
            popen["stdin"] = subprocess.PIPE
        process = self.start(*words, **popen)
        out, err = process.communicate(input, timeout=SECONDS)
        return process.returncode, (out or b"").decode(), (err or b"").decode()

    def list(self, *lines, name="urls.txt"):
        """Write a list and return its name."""
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))
        return name

    @staticmethod
    def records(text):
        """Read JSON Lines; every line must be whole."""
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]

    @staticmethod
    def wait_until(condition, seconds=SECONDS):
        """Return as soon as `condition()` holds."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "it never came to pass"
            time.sleep(0.01)

    def close(self):
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()


@pytest.fixture
def cormorant(tmp_path):
    """The command; Ctrl-C works in it even where the tests themselves run in the background (SIGINT ignored)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    command = Cormorant(tmp_path)
    yield command
    command.close()
    signal.signal(signal.SIGINT, before)
