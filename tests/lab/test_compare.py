"""`compare` through real trials: fresh processes, the embedded site, every measure against what it must be."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cormorant
from cormorant.errors import UsageError
from cormorant.lab import compare as module
from cormorant.lab import comparison, meters, site, works
from cormorant.lab.comparison import Comparison, Trial
from cormorant.lab.report import words
from cormorant.lab.trial import Broken, Plan, run

pytest.importorskip("psutil")
pytest.importorskip("granian")

PAGES = 40
ENGINES = ("serial", "pool", "thread", "greenlet", "gevent", "asyncio")
FUNCTIONS = """
import os
import time

def spin(item):
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    return item

def leave(item):
    os._exit(3)

def fails(item):
    raise ValueError(item)

def leave_well(item):
    os._exit(0)

def says(item):
    print("not the answer")
    return item

async def later(item):
    import asyncio
    await asyncio.sleep(0.01)
    return item
"""


@pytest.fixture(scope="module")
def compared() -> Comparison:
    """One small comparison for all that only look."""
    return cormorant.compare(engines=ENGINES, concurrency=[4, 8], repeat=1, pages=PAGES)


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's, by its name."""
    name = f"compared_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def of(compared: Comparison, engine: str, concurrency: int = 8) -> Trial:
    return next(trial for trial in compared.trials if (trial.engine, trial.concurrency) == (engine, concurrency))


@pytest.mark.slow
def test_every_engine_is_tried_at_every_width_and_serial_once(compared: Comparison) -> None:
    tried = [(trial.engine, trial.concurrency) for trial in compared.trials]
    assert tried == [("serial", 1), *((name, width) for name in ENGINES[1:] for width in (4, 8))]
    assert [trial.error for trial in compared.trials] == [None] * len(tried)


@pytest.mark.slow
def test_all_come_to_the_ends_that_the_workload_states(compared: Comparison) -> None:
    assert {trial.jobs for trial in compared.trials} == {PAGES}
    workload = compared.work.workload
    for trial in compared.trials:
        assert trial.ok + trial.http_errors + sum(trial.failed.values()) == PAGES
        assert trial.failed == {"timeout": workload["hang"], "truncated": workload["cut"]}
        assert trial.http_errors == workload["not_found"] + workload["server_error"]


@pytest.mark.slow
def test_the_for_loop_waits_out_a_hung_page_and_the_coroutines_do_not(compared: Comparison) -> None:
    timeout = compared.work.timeout_seconds
    waited = {name: of(compared, name).waited_behind_hung_seconds or 0.0 for name in ("greenlet", "gevent", "asyncio")}
    assert (of(compared, "serial", 1).waited_behind_hung_seconds or 0.0) >= 0.99 * timeout
    assert max(waited.values()) < timeout / 2


@pytest.mark.slow
def test_threads_and_processes_are_those_of_the_model(compared: Comparison) -> None:
    assert of(compared, "serial", 1).threads == of(compared, "serial", 1).processes == 1
    assert (of(compared, "greenlet").threads, of(compared, "greenlet").processes) == (1, 1)
    assert (of(compared, "thread").threads or 0) >= 8
    assert of(compared, "thread").processes == 1
    assert (of(compared, "pool").processes or 0) > 8
    assert (of(compared, "pool").peak_rss_bytes or 0) > 2 * (of(compared, "greenlet").peak_rss_bytes or 0)


@pytest.mark.slow
def test_every_measure_is_there(compared: Comparison) -> None:
    rarely = {"error", "loop", "loop_rounds", "ready_per_round", "peak_pss_bytes", "origin_cores", "phases"}
    for trial in compared.trials:
        missing = {name for name in Trial.__struct_fields__ if getattr(trial, name) is None}
        assert missing <= rarely
        assert (trial.context_switches_voluntary or 0) > 0
        assert 0 < (trial.cpu_seconds or 0) < 60
        assert 0 < (trial.first_seconds or 0) <= (trial.half_seconds or 0) <= (trial.last_seconds or 0)
        assert (trial.last_seconds or 0) <= (trial.wall_seconds or 0)
    if sys.platform == "linux":
        assert all(trial.peak_pss_bytes for trial in compared.trials)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["greenlet", "gevent"])
def test_a_loop_tells_of_its_rounds(compared: Comparison, engine: str) -> None:
    trial = of(compared, engine)
    assert (trial.loop_rounds or 0) > 0
    assert (trial.loop_rounds or 0) * (trial.ready_per_round or 0) >= PAGES  # each page was announced at least once


@pytest.mark.slow
def test_a_page_begins_before_it_ends_before_it_is_handed_over(compared: Comparison) -> None:
    for trial in compared.trials:
        phases = trial.phases
        assert phases is not None
        assert len(phases.url) == PAGES
        for began, ended, handed in zip(phases.began_at, phases.ended_at, phases.handed_over_at, strict=True):
            assert 0 <= began <= ended <= handed
    serial = of(compared, "serial", 1).phases
    assert serial is not None
    assert all(ended <= began for ended, began in zip(serial.ended_at, serial.began_at[1:], strict=False))


@pytest.mark.slow
def test_the_origin_is_measured(compared: Comparison) -> None:
    assert compared.origin.is_ours
    assert (compared.origin.capacity_pages_per_second or 0) > 100
    assert (compared.origin.cpu_seconds_per_page or 0) > 0
    assert any(trial.origin_cores for trial in compared.trials)


@pytest.mark.slow
def test_the_document_is_read_back(compared: Comparison, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(compared.json())
    assert comparison.read(tmp_path / "c.json") == compared
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UsageError, match="is no comparison"):
        comparison.read(tmp_path / "other.json")


@pytest.mark.slow
def test_a_childs_cpu_is_counted(functions: str) -> None:
    """The function burns 0.05 s of CPU for each item, in worker processes."""
    found = cormorant.compare(work=f"{functions}:spin", items=range(10), engines=["process"], concurrency=2, repeat=1)
    (trial,) = found.trials
    assert trial.ok == 10
    assert (trial.cpu_seconds or 0) >= 10 * 0.05
    assert found.work.source == "function"


@pytest.mark.slow
def test_what_a_function_prints_is_not_the_answer(functions: str) -> None:
    (trial,) = cormorant.compare(work=f"{functions}:says", items=["a"], engines=["serial"], repeat=1).trials
    assert (trial.error, trial.ok) == (None, 1)


@pytest.mark.slow
def test_a_trial_that_breaks_ends_no_other(functions: str) -> None:
    found = cormorant.compare(
        work=f"{functions}:leave", items=range(4), engines=["serial", "pool"], concurrency=2, repeat=1
    )
    serial, pool = found.trials
    assert "exit code 3" in (serial.error or "")
    assert serial.pages_per_second is None
    assert pool.failed == {"worker_lost": 4}
    assert any("broke" in caveat for caveat in found.caveats)


@pytest.mark.slow
def test_a_trial_that_ends_well_without_an_answer_is_broken(functions: str) -> None:
    found = cormorant.compare(work=f"{functions}:leave_well", items=[1], engines=["serial"], repeat=1)
    assert "ended with exit code 0 before it was over" in (found.trials[0].error or "")


@pytest.mark.slow
def test_widths_that_are_the_same_are_tried_once_and_said(functions: str) -> None:
    asked = {"items": range(6), "engines": ["serial", "thread"], "concurrency": [4, 16, 64], "repeat": 1}
    found = cormorant.compare(work=f"{functions}:says", **asked)  # type: ignore[arg-type]
    widths = [(trial.engine, trial.concurrency) for trial in found.trials]
    assert widths == [("serial", 1), ("thread", 4), ("thread", 6)]
    assert "thread: 64 at once became 6, because there are only 6 jobs." in found.caveats
    broken = cormorant.compare(work=f"{functions}:leave", **asked)  # type: ignore[arg-type]
    assert [(trial.engine, trial.concurrency) for trial in broken.trials if trial.engine == "thread"] == widths[1:]
    assert all(trial.error for trial in broken.trials)


@pytest.mark.slow
def test_a_busy_origin_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large pages that it has to compress: it works until the last is in hand, then one hung page is left."""
    given_by = works.of_site

    def heavy(origin: site.Site, *limits: Any) -> works.Work:
        large = [f"http://127.0.0.1:{origin.port}/gzip/{number}" for number in range(200)]
        return dataclasses.replace(given_by(origin, *limits), jobs=[*large, f"http://127.0.0.1:{origin.port}/hang/1"])

    monkeypatch.setattr(works, "EMBEDDED", {"latency": "constant:0", "body_bytes": "constant:400000"})
    monkeypatch.setattr(works, "of_site", heavy)
    for _ in range(3):  # others on this machine can only take the core away
        found = cormorant.compare(engines=["greenlet"], concurrency=16, repeat=1, pages=20, timeout=3)
        (trial,) = found.trials
        assert trial.failed == {"timeout": 1}
        if words.saturated(found):
            break
    (line,) = words.saturated(found)
    assert "of a core" in line
    assert (trial.wall_seconds or 0) > (trial.last_seconds or 0)


@pytest.mark.slow
def test_an_async_function_leaves_the_others_out(functions: str) -> None:
    found = cormorant.compare(
        work=f"{functions}:later", items=range(4), engines=["thread", "asyncio"], concurrency=2, repeat=1
    )
    assert [trial.engine for trial in found.trials] == ["asyncio"]
    assert found.trials[0].ok == 4
    assert any(caveat.startswith("thread left out") for caveat in found.caveats)


@pytest.mark.slow
def test_a_list_of_ones_own_is_asked_politely_and_said_to_be(rude: object) -> None:
    urls = [rude.url(f"/ok/{number}") for number in range(6)]  # type: ignore[attr-defined]
    found = cormorant.compare(urls, engines=["thread"], concurrency=3, repeat=1)
    assert (found.work.per_host, found.work.source, found.work.hosts) == (8, "list", 1)
    assert not found.origin.is_ours
    assert found.trials[0].ok == 6
    assert any("not ours" in caveat for caveat in found.caveats)


def test_ctrl_c_before_anything_was_measured_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(*_words: object) -> Trial:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_trial", one)
    with pytest.raises(KeyboardInterrupt):
        cormorant.compare(["http://127.0.0.1:1/"], engines=["serial"])


def test_ctrl_c_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = iter([Trial(engine="serial", concurrency=1, repeat=1, error="x"), KeyboardInterrupt()])

    def one(*_words: object) -> Trial:
        step = next(trials)
        if isinstance(step, BaseException):
            raise step
        return step

    monkeypatch.setattr(module, "_trial", one)
    told: list[str] = []
    found = cormorant.compare(["http://127.0.0.1:1/"], engines=["serial", "thread"], repeat=3, told=told.append)
    assert len(found.trials) == 1
    assert found.stopped
    assert told[-1].startswith("stopped after 1 of")


@pytest.mark.slow
def test_a_trial_that_lasts_too_long_is_ended_with_its_workers() -> None:
    plan = Plan(
        engine="pool",
        concurrency=2,
        jobs=[60, 60],
        warm_up=[0, 0],
        timeout_seconds=90.0,
        per_host=0,
        work="time:sleep",
        deadline_seconds=3.0,
    )
    before = {process.pid for process in meters.process().children(recursive=True)}
    with pytest.raises(Broken, match="not over after 3 s"):
        run(plan)
    end = time.monotonic() + 10
    while {process.pid for process in meters.process().children(recursive=True)} - before:
        assert time.monotonic() < end, "left behind"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"engines": ["thraed"]}, "no engine 'thraed'"),
        ({"repeat": 0}, "repeat is 0"),
        ({"concurrency": [8, 0]}, "give 1 or more"),
        ({"work": "no_such_module:function", "items": [1]}, "cannot be imported in a fresh process"),
        ({"work": "os:getcwd"}, "no items"),
        ({"urls": []}, "nothing to compare with"),
        ({"urls": "http://a.example/"}, r"give a list: compare\(\['http://a.example/'\]\)"),
        ({"urls": [5]}, r"URL 1 is 5, which is no text; give str\(url\)"),
        ({"urls": ["http://a.example/"], "work": "os:getcwd"}, "leave urls out"),
        ({"items": [1]}, "add work='MODULE:FUNCTION'"),
        ({"work": print, "items": [1]}, "name it: work='MODULE:FUNCTION'"),
        ({"work": "os:fspath", "items": [1, (2, 3)]}, r"item 2 is \(2, 3\), which is no JSON value"),
        ({"work": "os:fspath", "items": [{"at": [b"x"]}]}, "item 1 is"),
        ({"work": "os:fspath", "items": [object()]}, "item 1 is"),
        ({"work": "os:fspath", "items": [float("nan")]}, "item 1 is nan"),
        ({"work": "os:fspath", "items": [{1: 2}]}, "item 1 is"),
        ({"engines": "thread"}, r"engines=\['thread'\]"),
        ({"engines": []}, "no engine to compare; name some of serial, "),
        ({"concurrency": []}, r"concurrency=\[50, 500\]"),
        ({"concurrency": "50"}, r"concurrency=\[50, 500\]"),
        ({"timeout": 0}, "timeout is 0"),
        ({"per_host": -1}, "per_host is -1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(asked: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cormorant.compare(**asked)  # type: ignore[arg-type]


def test_a_sample_sees_a_child_and_usage_counts_it() -> None:
    spin = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    alone, used = meters.sample(meters.process().pid), meters.usage()
    with subprocess.Popen([sys.executable, "-c", f"{spin}\ninput()"], stdin=subprocess.PIPE) as child:
        end = time.monotonic() + 20
        while meters.usage().since(used).user_seconds < 0.25:
            assert time.monotonic() < end, "the child's CPU was never counted"
            time.sleep(0.02)
        beside = meters.sample(meters.process().pid)
        child.communicate(b"\n")
    assert beside.processes == alone.processes + 1
    assert beside.threads > alone.threads
    assert beside.rss_bytes > alone.rss_bytes
    assert beside.descriptors > alone.descriptors
