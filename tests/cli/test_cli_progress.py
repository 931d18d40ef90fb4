"""Progress: what the line says, where it is drawn, and that nobody waits for it."""

import io
import os
import pty
import subprocess
import threading
from types import MappingProxyType

import pytest
from rich.console import Console

from cormorant.cli import progress
from cormorant.cli.progress import Pace, Progress, status_line
from cormorant.worker import Statistics


def statistics(**change):
    words = {
        "offered": 0,
        "duplicates": 0,
        "done": 0,
        "in_flight": 0,
        "ok": 0,
        "http_errors": 0,
        "not_reached": 0,
        "retried": 0,
        "redirected": 0,
        "bytes": 0,
        "seconds": 1.0,
        "stopped": False,
        "input_ended": False,
        "failed": MappingProxyType({}),
        "statuses": MappingProxyType({}),
    }
    return Statistics(**(words | change))


def test_the_line():
    failed = MappingProxyType({"dns": 3, "timeout": 9})
    line = status_line(statistics(done=1234, in_flight=64, http_errors=5, failed=failed), 523.4, 80.0)
    assert line.plain == ("1,234 done  523/s  64 in flight  5 http errors  12 failed (timeout 9, dns 3)  ETA 1m20s")


def test_the_line_of_a_clean_run():
    assert status_line(statistics(done=1), 0.0, None).plain == "1 done  0/s  0 in flight"


def test_the_pace_is_that_of_the_last_seconds():
    pace = Pace(0.0)
    assert pace.note(0.0, 0) == 0.0
    assert pace.note(1.0, 100) == 100.0
    for second in range(2, 30):
        pace.note(float(second), 100)
    assert pace.note(30.0, 150) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("rate", "expected", "seconds"), [(10.0, 120.0, 10.0), (0.0, 120.0, None), (10.0, None, None), (10.0, 5.0, None)]
)
def test_time_left(rate, expected, seconds):
    shown = Progress(Console(file=io.StringIO()), statistics, lambda: expected)
    assert shown._seconds_left(statistics(done=15, duplicates=5), rate) == seconds


def test_a_log_gets_a_plain_line_every_few_seconds(monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.01)
    looked = threading.Semaphore(0)

    def look():
        looked.release()
        return statistics(done=7)

    file = io.StringIO()
    with Progress(Console(file=file), look, lambda: None):
        for _ in range(3):
            assert looked.acquire(timeout=10)
    lines = file.getvalue().splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("7 done  ") and line.endswith("/s  0 in flight") for line in lines)
    assert "\x1b" not in file.getvalue()


def test_a_short_run_logs_nothing():
    file = io.StringIO()
    with Progress(Console(file=file), statistics, lambda: None):
        pass
    assert file.getvalue() == ""


def test_a_log_that_is_closed_ends_the_display_only(monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.01)

    class Closed(io.StringIO):
        looked = threading.Event()

        def write(self, text):
            self.looked.set()
            raise OSError(5, "gone")

    with Progress(Console(file=Closed()), statistics, lambda: None):
        assert Closed.looked.wait(10)


class Terminal:
    """Runs a command with stderr (or more) on a terminal of 100 columns and keeps what it shows."""

    def __init__(self):
        self.ours, self.theirs = pty.openpty()
        self.shown = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        try:
            while data := os.read(self.ours, 65536):
                self.shown += data
        except OSError:
            pass  # Linux says EIO when the last process has closed the terminal

    def end(self):
        os.close(self.theirs)
        self._reader.join(30)
        os.close(self.ours)
        return self.shown.decode()


@pytest.mark.parametrize(
    ("variables", "is_live"),
    [({}, True), ({"NO_COLOR": "1"}, True), ({"TERM": "dumb"}, False)],
    ids=["terminal", "NO_COLOR", "TERM=dumb"],
)
def test_a_terminal_gets_a_line_drawn_over_itself(cormorant, rude, variables, is_live):
    environment = cormorant.environment | {"TERM": "xterm", "COLUMNS": "100"} | variables
    terminal = Terminal()
    name = cormorant.list(rude.url("/slow/1"), rude.url("/status/404"))
    process = cormorant.start("fetch", "-i", name, "-o", "out.jsonl", stderr=terminal.theirs, env=environment)
    assert process.wait(30) == 1
    shown = terminal.end()
    assert ("\r\x1b[2K" in shown) is is_live
    assert ("1 in flight" in shown) is is_live
    assert ("\x1b[33m" in shown) is (not variables)
    assert "2 URLs in" in shown


def test_force_color_colours_a_log_but_draws_nothing(cormorant, rude):
    environment = cormorant.environment | {"FORCE_COLOR": "1"}
    _, _, err = cormorant.run("fetch", rude.url(), rude.url("/slow/0.5"), env=environment)
    assert "\x1b[32mok" in err
    assert "\r" not in err


def test_pages_on_a_terminal_are_lines_for_people(cormorant, rude):
    """And nothing is drawn between them, although stderr is a terminal too."""
    terminal = Terminal()
    environment = cormorant.environment | {"TERM": "xterm", "COLUMNS": "100"}
    urls = (rude.url("/ok"), rude.url("/slow/0.5"), "no\x1b[31m url")
    process = cormorant.start("fetch", *urls, stdout=terminal.theirs, stderr=terminal.theirs, env=environment)
    assert process.wait(30) == 1
    shown = terminal.end()
    assert "in flight" not in shown
    pages = [line.split() for line in shown.splitlines() if "http://" in line]
    assert [(page[0], page[-1]) for page in pages] == [("200", urls[0]), ("200", urls[1])]
    assert "no\\x1b[31m url" in shown


def test_json_lines_on_a_terminal_when_told(cormorant, rude):
    terminal = Terminal()
    process = cormorant.start("fetch", rude.url(), "-o", "-", "-q", stdout=terminal.theirs, stderr=subprocess.PIPE)
    assert process.wait(30) == 0
    assert terminal.end().startswith('{"url":')
