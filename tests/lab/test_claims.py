"""The claims: each rule with numbers that hold and numbers that do not, and the measuring in a fresh process."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from cormorant.errors import UsageError
from cormorant.lab.claims import Verdict, blocking, cores, judge, judging, memory, order, readiness, switching, waits
from cormorant.lab.claims.__main__ import block
from cormorant.lab.claims.claim import Values
from cormorant.lab.claims.registry import HOMES, claim
from cormorant.lab.claims.running import Span

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")

WAITS = {
    "waits": 1000,
    "wait_seconds": 0.5,
    "greenlet_seconds": 0.7,
    "greenlet_threads": 1,
    "gevent_seconds": 0.8,
    "gevent_threads": 1,
    "asyncio_seconds": 0.9,
    "asyncio_threads": 1,
}
SWITCHES = {"greenlet_switch_ns": 160, "gevent_switch_ns": 900, "asyncio_switch_ns": 1300, "uvloop_switch_ns": 600}
BYTES = {
    "greenlet_bytes": 1500,
    "gevent_bytes": 8000,
    "asyncio_bytes": 1000,
    "thread_bytes": 16_000,
    "process_bytes": 9e6,
}
BLOCKED = {
    "block_seconds": 0.2,
    "wait_seconds": 0.05,
    "greenlet_alone_seconds": 0.05,
    "greenlet_beside_block_seconds": 0.25,
    "asyncio_alone_seconds": 0.05,
    "asyncio_beside_block_seconds": 0.25,
    "thread_alone_seconds": 0.05,
    "thread_beside_block_seconds": 0.05,
}
ONE_CORE = {"cores": 4, "greenlet_cores_used": 1.0, "gevent_cores_used": 1.0, "asyncio_cores_used": 0.98}
ALL_CORES = {"cores": 4, "process_cores_used": 3.9, "share_of_core_per_job": 1.0}
PARALLEL = {"cores": 4, "asyncio_cores_used": 1.0, "asyncio_under_way_at_once": 1}
ORDER = {f"{name}_agreement": 1.0 for name in order.OVERLAPPING} | {
    "step_seconds": 0.03,
    "serial_latency_order": -0.1,
    "serial_list_order": 1.0,
}
EPOLL = {
    "epoll_100_idle_us": 0.4,
    "poll_100_idle_us": 4.0,
    "select_100_idle_us": 5.0,
    "epoll_5000_idle_us": 0.5,
    "poll_5000_idle_us": 800.0,
}
SHARED = {"epoll_mappings": 0, "epoll_mmap_errno": 19, "epoll_events_handed_over": 1}
GIL = {"waits": 40, "wait_seconds": 0.025, "serial_seconds": 1.1, "thread_seconds": 0.1}
WIDTHS = {
    "wait_seconds": 0.02,
    "at_128_pages_per_second": 1000,
    "at_512_pages_per_second": 2000,
    "at_2048_pages_per_second": 4000,
}


@pytest.mark.parametrize(
    ("rule", "values", "holds"),
    [
        pytest.param(waits.many_waits_rule, WAITS, True, id="many-waits"),
        pytest.param(waits.many_waits_rule, WAITS | {"asyncio_seconds": 6.0}, False, id="many-waits-late"),
        pytest.param(waits.many_waits_rule, WAITS | {"gevent_threads": 2}, False, id="many-waits-two-threads"),
        pytest.param(switching.coroutine_rule, SWITCHES | {"thread_switch_ns": 4000}, True, id="coroutine-switch"),
        pytest.param(switching.coroutine_rule, SWITCHES | {"thread_switch_ns": 3800}, False, id="asyncio-too-dear"),
        pytest.param(switching.thread_rule, {"thread_switch_ns": 2, "process_switch_ns": 3}, True, id="thread-switch"),
        pytest.param(switching.thread_rule, {"thread_switch_ns": 2, "process_switch_ns": 2.9}, False, id="about-same"),
        pytest.param(memory.rule, BYTES, True, id="memory"),
        pytest.param(memory.rule, BYTES | {"gevent_bytes": 200_000, "thread_bytes": 3e5}, False, id="memory-coroutine"),
        pytest.param(memory.rule, BYTES | {"thread_bytes": 7999}, False, id="memory-thread"),
        pytest.param(memory.rule, BYTES | {"process_bytes": 1e6}, False, id="memory-process"),
        pytest.param(blocking.rule, BLOCKED, True, id="blocking"),
        pytest.param(blocking.rule, BLOCKED | {"asyncio_beside_block_seconds": 0.1}, False, id="blocking-not-asyncio"),
        pytest.param(blocking.rule, BLOCKED | {"thread_beside_block_seconds": 0.2}, False, id="blocking-threads-too"),
        pytest.param(cores.one_core_rule, ONE_CORE, True, id="one-core"),
        pytest.param(cores.one_core_rule, ONE_CORE | {"thread_cores_used": 3.5}, True, id="one-core-without-gil"),
        pytest.param(cores.one_core_rule, ONE_CORE | {"gevent_cores_used": 1.9}, False, id="one-core-two"),
        pytest.param(cores.one_core_rule, ONE_CORE | {"gevent_cores_used": 0.5}, None, id="one-core-busy"),
        pytest.param(cores.one_core_rule, ONE_CORE | {"cores": 1}, None, id="one-core-alone"),
        pytest.param(cores.all_cores_rule, ALL_CORES, True, id="all-cores"),
        pytest.param(cores.all_cores_rule, ALL_CORES | {"process_cores_used": 1.0}, False, id="all-cores-not"),
        pytest.param(
            cores.all_cores_rule,
            ALL_CORES | {"process_cores_used": 1.0, "share_of_core_per_job": 0.4},
            None,
            id="all-cores-busy",
        ),
        pytest.param(cores.all_cores_rule, ALL_CORES | {"cores": 1}, None, id="all-cores-alone"),
        pytest.param(cores.asyncio_parallel_rule, PARALLEL, False, id="asyncio-parallel"),
        pytest.param(cores.asyncio_parallel_rule, PARALLEL | {"asyncio_cores_used": 3.0}, False, id="one-at-once"),
        pytest.param(
            cores.asyncio_parallel_rule, PARALLEL | {"asyncio_under_way_at_once": 4}, False, id="all-on-one-core"
        ),
        pytest.param(
            cores.asyncio_parallel_rule,
            PARALLEL | {"asyncio_cores_used": 3.0, "asyncio_under_way_at_once": 4},
            True,
            id="asyncio-parallel-if-it-were",
        ),
        pytest.param(order.rule, ORDER, True, id="order"),
        pytest.param(order.rule, ORDER | {"thread_agreement": 0.5}, False, id="order-thread"),
        pytest.param(order.rule, ORDER | {"serial_list_order": 0.9}, False, id="order-serial"),
        pytest.param(readiness.rule, EPOLL, True, id="epoll"),
        pytest.param(readiness.rule, EPOLL | {"epoll_5000_idle_us": 1.3}, False, id="epoll-grows"),
        pytest.param(readiness.rule, EPOLL | {"poll_5000_idle_us": 19.0}, False, id="epoll-poll-does-not-grow"),
        pytest.param(readiness.rule, {"epoll_100_idle_us": 0.4, "poll_100_idle_us": 4.0}, None, id="epoll-few-files"),
        pytest.param(readiness.mmap_rule, SHARED, False, id="mmap"),
        pytest.param(readiness.mmap_rule, SHARED | {"epoll_mappings": 1}, True, id="mmap-mapped"),
        pytest.param(readiness.mmap_rule, SHARED | {"epoll_mmap_errno": 0}, True, id="mmap-can-be-mapped"),
        pytest.param(readiness.mmap_rule, {}, None, id="mmap-no-epoll"),
        pytest.param(waits.threads_and_gil_rule, GIL, False, id="threads-help"),
        pytest.param(waits.threads_and_gil_rule, GIL | {"thread_seconds": 1.0}, True, id="threads-useless"),
        pytest.param(waits.widths_rule, WIDTHS, True, id="more-is-faster"),
        pytest.param(waits.widths_rule, WIDTHS | {"at_2048_pages_per_second": 2100}, False, id="more-is-not-faster"),
        pytest.param(
            waits.widths_rule,
            {"wait_seconds": 0.02, "at_128_pages_per_second": 1000, "at_400_pages_per_second": 2000},
            None,
            id="more-few-files",
        ),
    ],
)
def test_a_verdict_follows_from_the_numbers_alone(rule: object, values: Values, holds: bool | None) -> None:
    before = dict(values)
    finding = rule(values)
    assert finding.holds is holds, finding
    assert finding.figure
    assert "\n" not in finding.figure
    assert values == before


def test_what_is_not_installed_is_left_out_and_said() -> None:
    without_gevent = {name: value for name, value in SWITCHES.items() if "gevent" not in name}
    finding = switching.coroutine_rule(without_gevent | {"thread_switch_ns": 4000})
    assert finding.holds is True
    assert finding.figure.endswith("not installed here and left out: gevent")


def test_agreement_is_one_in_order_and_minus_one_reversed() -> None:
    assert order.agreement([1, 2, 3, 4]) == 1
    assert order.agreement([4, 3, 2, 1]) == -1
    assert order.agreement([1, 2, 4, 3]) == pytest.approx(4 / 6)


def test_cores_used_count_the_jobs_alone_and_from_the_first_to_the_last() -> None:
    side_by_side = [Span(10.0, 12.0, 2.0), Span(10.0, 12.0, 2.0)]
    in_turn = [Span(10.0, 11.0, 1.0), Span(11.0, 12.0, 1.0)]
    assert (cores.cores_used(side_by_side), cores.most_at_once(side_by_side)) == (2.0, 2)
    assert (cores.cores_used(in_turn), cores.most_at_once(in_turn)) == (1.0, 1)
    assert cores.best_of(iter([in_turn, side_by_side, in_turn]), 1.5) is side_by_side
    assert cores.best_of(iter([in_turn, side_by_side]), 0.5) is in_turn


@pytest.mark.parametrize("name", HOMES)
def test_every_claim_states_its_rule(name: str) -> None:
    stated = claim(name)
    assert stated.name == name
    assert "Holds when" in stated.how
    assert stated.says.endswith(".")


def test_every_claim_of_every_module_is_judged() -> None:
    written = {
        each.name for module in (blocking, cores, memory, order, readiness, switching, waits) for each in module.CLAIMS
    }
    assert written == set(HOMES)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'epoll-mmap'"):
        judge(["epol-mmap"])


@on_linux
def test_a_claim_is_measured_in_a_fresh_process() -> None:
    (verdict,) = judge(["epoll-mmap"])
    assert verdict.holds is False
    assert verdict.values == {"epoll_mappings": 0, "epoll_mmap_errno": 19, "epoll_events_handed_over": 1}
    assert "fs/eventpoll.c" in (verdict.source or "")
    assert "ENODEV" in verdict.figure


def follows_its_rule(verdict: Verdict) -> bool:
    """Tell whether the verdict is what the rule says of its own values."""
    return claim(verdict.name).rule(dict(verdict.values)).holds is verdict.holds


@pytest.mark.slow
def test_real_figures_are_told_as_they_come_and_ordered_as_their_mechanisms_are() -> None:
    names = ["coroutine-switch-cheap", "thread-switch-cheap", "memory-per-wait", "asyncio-parallel"]
    told: list[Verdict] = []
    verdicts = judge(names, told=told.append)
    assert [verdict.name for verdict in verdicts] == names
    assert told == verdicts
    for verdict in verdicts:
        assert verdict.values, verdict
        assert all(value > 0 for value in verdict.values.values()), verdict
        assert follows_its_rule(verdict), verdict
    switches, threads, sizes, parallel = (verdict.values for verdict in verdicts)
    loops = [f"{name}_switch_ns" for name in ("gevent", "asyncio", "uvloop")]
    assert switches["greenlet_switch_ns"] < min(switches[name] for name in loops if name in switches)
    assert switches["greenlet_switch_ns"] < switches["thread_switch_ns"]
    assert threads["thread_switch_ns"] == min(value for name, value in threads.items() if name.startswith("thread_by_"))
    assert max(sizes["greenlet_bytes"], sizes["asyncio_bytes"]) < sizes["thread_bytes"] < sizes["process_bytes"]
    assert parallel["asyncio_under_way_at_once"] == cores.JOBS
    assert parallel["asyncio_cores_used"] < cores.MOST_OF_ONE_CORE


@pytest.mark.slow
def test_waits_and_blocks_are_those_of_the_engines() -> None:
    pytest.importorskip("granian")
    many, blocked, served = judge(["one-thread-many-waits", "blocking-stops-all", "first-back-first-served"])
    assert all(map(follows_its_rule, (many, blocked, served)))
    for engine in ("greenlet", "asyncio"):
        assert many.values[f"{engine}_threads"] == 1, many.figure
        in_turn = many.values["waits"] * many.values["wait_seconds"]
        assert many.values["wait_seconds"] <= many.values[f"{engine}_seconds"] < in_turn / 10, many.figure
        beside = blocked.values[f"{engine}_beside_block_seconds"]
        assert beside >= blocked.values["block_seconds"] * 0.9, blocked.figure
        assert blocked.values["thread_beside_block_seconds"] < beside, blocked.figure
        assert served.values[f"{engine}_agreement"] > served.values["serial_latency_order"], served.figure
    assert served.values["serial_list_order"] == 1, served.figure


@pytest.mark.slow
def test_the_ready_one_is_handed_over_among_the_idle() -> None:
    (verdict,) = judge(["epoll-only-ready"])
    assert follows_its_rule(verdict), verdict.figure
    few, many = (sorted({int(name.split("_")[1]) for name in verdict.values})[place] for place in (0, -1))
    grown = {
        name: verdict.values[f"{name}_{many}_idle_us"] / verdict.values[f"{name}_{few}_idle_us"]
        for name in ("epoll" if sys.platform == "linux" else "kqueue", "poll")
        if f"{name}_{many}_idle_us" in verdict.values
    }
    assert grown["poll"] > 1
    assert grown["poll"] == max(grown.values())


@pytest.mark.slow
@on_linux
def test_a_claim_that_breaks_says_so_and_the_next_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uvloop.py").write_text("raise RuntimeError('broken on purpose')\n")
    monkeypatch.syspath_prepend(tmp_path)
    broken, sound = judge(["coroutine-switch-cheap", "epoll-mmap"])
    assert broken.holds is None
    assert broken.figure.startswith("not measured: RuntimeError: broken on purpose")
    assert broken.claim
    assert broken.values == {}
    assert sound.holds is False


@pytest.mark.slow
def test_a_claim_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = tmp_path / "began"
    (tmp_path / "mmap.py").write_text(f"import time\nopen({str(began)!r}, 'w').close()\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(judging, "DEADLINE_SECONDS", 1.0)
    (verdict,) = judge(["epoll-mmap"])
    assert began.exists()
    assert (verdict.holds, verdict.figure) == (None, "not measured: it took longer than 1 s")


@on_linux
def test_by_hand_one_claim_is_json_on_stdout() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "cormorant.lab.claims", "epoll-mmap"], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    assert msgspec.json.decode(answer.stdout, type=Verdict).name == "epoll-mmap"


def test_by_hand_an_unknown_claim_names_the_others() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "cormorant.lab.claims", "nonsense"], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 1
    assert "no claim 'nonsense'; choose one of one-thread-many-waits, " in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("holds", "word"), [(True, "holds"), (False, "does not hold"), (None, "not measured")], ids=["yes", "no", "unknown"]
)
def test_by_hand_a_verdict_is_shown_whole(holds: bool | None, word: str) -> None:
    verdict = Verdict(name="n", claim="A claim.", holds=holds, figure="3 ns [a list]", how="h", source="man 7 epoll")
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(block(verdict))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert lines == [f"{word:13}  A claim.", f"{'':13}  3 ns [a list]", f"{'':13}  man 7 epoll"]
