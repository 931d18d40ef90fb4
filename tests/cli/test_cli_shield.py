"""The handler itself: where a second Ctrl-C strikes, what is saved by then, and what ends a close that hangs."""

import signal
import subprocess
import sys

import pytest

from cormorant.cli import stops
from cormorant.cli.running import SafeSink
from cormorant.cli.stops import Stops


@pytest.fixture
def said(monkeypatch):
    """A list that notes what happens; the process is not ended two seconds later."""
    monkeypatch.setattr(stops, "start_new_thread", lambda function, words: None)
    return []


def ctrl_c(times=1):
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


def test_the_first_drains_and_the_second_saves_and_interrupts(said):
    def work():
        ctrl_c()
        said.append("going on")
        ctrl_c()
        said.append("not reached")

    with Stops().installed(lambda: said.append("drain"), lambda: said.append("save")), pytest.raises(KeyboardInterrupt):
        work()
    assert said == ["drain", "going on", "save"]


def test_the_second_waits_for_the_end_of_a_write(said):
    class Slow:
        def write(self, outcome):
            ctrl_c(3)
            said.append(f"whole {outcome}")

        def flush(self):
            said.append("flush")

        def close(self):
            said.append("close")

    handler = Stops()
    sink = SafeSink(Slow, handler)
    sink.open(0)
    with handler.installed(lambda: said.append("drain"), sink.flush), pytest.raises(KeyboardInterrupt):
        sink.write("record")
    assert said == ["drain", "whole record", "flush"]
    assert sink.saved == sink.written == 1


def test_the_handlers_before_are_restored(said):
    before = signal.getsignal(signal.SIGTERM)
    with Stops().installed(lambda: None, lambda: None):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


HANGS = """
import signal, sys, threading
from cormorant.cli.stops import Stops

signal.signal(signal.SIGINT, signal.default_int_handler)
with Stops().installed(lambda: None, lambda: print("saved", flush=True)):
    try:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    finally:
        print("closing", flush=True)
        threading.Event().wait()
"""


def test_a_close_that_hangs_ends_by_itself():
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30)
    assert done.returncode == 130
    assert done.stdout.split() == ["saved", "closing"]
