"""`--watchdog`: the line that held the loop on stderr, once, and its count in the summary."""

import pytest

MINE = """
import time

def nap(item):
    time.sleep(0.3)
    return item

def spin(item):
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        sum(range(1000))
    return item
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["greenlet", "gevent", "asyncio"])
def test_the_line_is_told_once_and_counted(cormorant, engine):
    """Under gevent the process is patched: the watchdog must have a thread of the system's there."""
    (cormorant.folder / "mine.py").write_text(MINE)
    words = ("map", "mine:spin", "-i", cormorant.list("a", "b", "c"), "-o", "out.jsonl", "-c", "1")
    code, _, err = cormorant.run(*words, "-e", engine, "--watchdog", "0.1")
    assert code == 0
    assert err.count("cormorant: the loop was held for ") == 1
    (first,) = (line for line in err.splitlines() if line.startswith("cormorant: the loop was held"))
    assert "mine.py:" in first
    assert "in spin (job 'a')" in first
    (counted,) = (line for line in err.splitlines() if "loop held" in line)
    assert counted.split()[0] == "3"


@pytest.mark.slow
def test_a_patched_sleep_holds_nothing(cormorant):
    (cormorant.folder / "mine.py").write_text(MINE)
    words = ("map", "mine:nap", "-i", cormorant.list("a", "b", "c"), "-o", "out.jsonl", "-e", "gevent")
    code, _, err = cormorant.run(*words, "--watchdog", "0.1")
    assert code == 0
    assert "held" not in err


def test_an_engine_without_a_loop_is_refused_before_the_output_is_touched(cormorant):
    words = ("fetch", "http://127.0.0.1:1/", "-e", "thread", "--watchdog", "0.1", "-o", "out.jsonl")
    code, _, err = cormorant.run(*words)
    assert code == 2
    assert "use greenlet, gevent, asyncio" in err
    assert not (cormorant.folder / "out.jsonl").exists()
