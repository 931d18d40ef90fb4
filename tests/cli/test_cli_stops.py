"""Ctrl-C and SIGTERM, for every engine: once drains, twice ends at once, and the file holds whole records."""

import contextlib
import os
import signal
import time

import pytest

ENGINES = ("serial", "pool", "process", "thread", "greenlet", "gevent", "asyncio")


@pytest.fixture(params=ENGINES)
def engine(request):
    if request.param == "gevent":
        pytest.importorskip("gevent")
    return request.param


def begin(cormorant, rude, urls, *words):
    """Start a fetch of `urls` into out.jsonl; return when the first of them was asked for."""
    rude.clear_log()
    name = cormorant.list(*urls)
    process = cormorant.start("fetch", "-i", name, "-o", "out.jsonl", "--per-host", "0", *words, start_new_session=True)
    rude.wait_log(bool)
    return process


def done(cormorant):
    return cormorant.records((cormorant.folder / "out.jsonl").read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_once_finishes_what_is_in_flight(cormorant, rude, number):
    urls = [rude.url(f"/slow/0.7?{page}") for page in range(20)]
    process = begin(cormorant, rude, urls, "-e", "greenlet", "-c", "2")
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7, err
    assert [record["ok"] for record in done(cormorant)] == [True, True]
    err = err.decode()
    assert "stopping; waiting for what is in flight, at most 30 s" in err
    assert "stopped before the end: 18 of 20 URLs left; out.jsonl holds what is done" in err


def test_once_under_every_engine(cormorant, rude, engine):
    """The signal goes to the whole group, as a terminal sends it: worker processes must not die of it."""
    urls = [rude.url(f"/slow/0.7?{page}") for page in range(20)]
    process = begin(cormorant, rude, urls, "-e", engine, "-c", "2")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7, err
    assert 1 <= len(done(cormorant)) <= 2
    assert all(record["ok"] for record in done(cormorant))
    assert b"Traceback" not in err


def test_twice_under_every_engine(cormorant, rude, engine):
    urls = [rude.url("/ok/1"), *(rude.url(f"/hang/{page}") for page in range(20))]
    process = begin(cormorant, rude, urls, "-e", engine, "-c", "3")
    rude.wait_log(lambda hits: any("hang" in hit.path for hit in hits) and any(hit.ended == "ok" for hit in hits))
    if engine != "serial":  # it hangs already, with one record written but not yet flushed
        cormorant.wait_until(lambda: len(done(cormorant)) == 1)
    os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(Exception):
        assert b"stopping" in process.stderr.readline()
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert time.monotonic() - start < 10  # far below the 30 s the pages would hang
    assert b"stopped at once; out.jsonl holds 1 record" in err
    assert b"Traceback" not in err, err.decode()
    assert len(done(cormorant)) == 1
    cormorant.wait_until(lambda: not alive(process.pid))


def alive(group):
    """Tell whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_stop_while_waiting_for_the_next_start(cormorant, rude):
    """Nothing is in flight, the next start is a minute away: there is nothing to wait for."""
    process = begin(cormorant, rude, [rude.url("/ok/1"), rude.url("/ok/2")], "--delay", "60")
    cormorant.wait_until(lambda: len(done(cormorant)) == 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=5)
    assert process.returncode == 7, err


def test_a_stop_while_stdin_says_nothing(cormorant, rude):
    import subprocess

    process = cormorant.start("fetch", rude.url(), "-i", "-", "-o", "out.jsonl", stdin=subprocess.PIPE)
    path = cormorant.folder / "out.jsonl"
    cormorant.wait_until(lambda: path.exists() and len(done(cormorant)) == 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 7
    assert b"the rest of the list was not read" in process.stderr.read()


def test_a_stop_when_all_is_done_already_is_no_stop(cormorant, rude):
    process = cormorant.start("fetch", rude.url("/slow/0.7"), "-o", "out.jsonl")
    rude.clear_log()
    rude.wait_log(bool)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert done(cormorant)[0]["ok"]


def test_under_nohup_a_hangup_stays_ignored(cormorant, rude):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = begin(cormorant, rude, [rude.url(f"/slow/0.3?{page}") for page in range(3)], "-c", "1")
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 0
    assert len(done(cormorant)) == 3


def test_quiet_is_quiet_but_for_the_stop(cormorant, rude):
    process = begin(cormorant, rude, [rude.url(f"/slow/0.5?{page}") for page in range(5)], "-c", "1", "-q")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 7
    assert err.decode().splitlines() == [
        "cormorant: stopped before the end: 4 of 5 URLs left; out.jsonl holds what is done"
    ]
