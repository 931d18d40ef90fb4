"""One suite for every engine: the same URLs give the same outcomes, and nobody waits for a stranger."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import popen_forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest

import cormorant
import engine_jobs
from cormorant import Kind, engines, testing
from cormorant.engines import children
from cormorant.errors import EngineLost, UsageError
from engine_names import CONCURRENT, ENGINES, PROCESSES, open_descriptors
from rude import Rude

every_engine = pytest.mark.parametrize("engine", ENGINES)
every_concurrent_engine = pytest.mark.parametrize("engine", CONCURRENT)
every_engine_with_a_loop = pytest.mark.parametrize("engine", ["greenlet", "gevent", "asyncio"])
every_process_engine = pytest.mark.parametrize("engine", PROCESSES)


def wait_until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def refused_url() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}/"


@pytest.fixture(scope="module")
def mixed(rude: Rude) -> list[str]:
    """60 good pages and one of each trouble."""
    good = [rude.url(f"/ok/{number}", host=f"127.0.0.{1 + number % 5}") for number in range(60)]
    bad = ["/status/404", "/status/500", "/partial/1000", "/redir/2", "/redir/loop"]
    return [*good, *(rude.url(path) for path in bad), refused_url(), "no url at all"]


def summary(outcome: cormorant.Outcome) -> tuple[object, ...]:
    return outcome.url, outcome.ok, outcome.status, outcome.kind, outcome.body


@pytest.fixture(scope="module")
def expected(mixed: list[str]) -> collections.Counter[tuple[object, ...]]:
    return collections.Counter(map(summary, cormorant.fetch(mixed, engine="serial", timeout=10)))


@every_engine
def test_same_urls_give_same_outcomes(
    engine: str, mixed: list[str], expected: collections.Counter[tuple[object, ...]]
) -> None:
    got = collections.Counter(map(summary, cormorant.fetch(mixed, engine=engine, concurrency=8, timeout=10)))
    assert got == expected
    assert collections.Counter(key[3] for key in got.elements()) == {
        None: 63,
        Kind.TRUNCATED: 1,
        Kind.REDIRECT: 1,
        Kind.CONNECT: 1,
        Kind.BAD_URL: 1,
    }


@every_concurrent_engine
def test_whoever_is_back_first_is_handed_over_first(engine: str, rude: Rude) -> None:
    pages = [rude.url("/slow/1.0"), rude.url("/slow/0.5"), rude.url("/ok/first")]
    order = [page.url for page in cormorant.fetch(pages, engine=engine, concurrency=3, timeout=10)]
    assert order == pages[::-1]


def test_serial_keeps_the_order_of_the_list(rude: Rude) -> None:
    pages = [rude.url("/slow/0.2"), rude.url("/ok/second")]
    assert [page.url for page in cormorant.fetch(pages, engine="serial")] == pages


@every_concurrent_engine
def test_a_hung_page_holds_up_nobody(engine: str, rude: Rude) -> None:
    hung = rude.url("/hang")
    pages = [hung, *(rude.url(f"/ok/{number}") for number in range(30))]
    outcomes = list(cormorant.fetch(pages, engine=engine, concurrency=8, timeout=3))
    assert [outcome.ok for outcome in outcomes] == [True] * 30 + [False]
    assert outcomes[-1].url == hung
    assert outcomes[-1].kind is Kind.TIMEOUT
    assert max(page.fetched_at + page.timings.total for page in outcomes[:-1]) < outcomes[-1].fetched_at + 2.5


@every_concurrent_engine
def test_as_many_at_once_as_asked_and_no_more(engine: str, rude: Rude) -> None:
    rude.clear_log()
    pages = [rude.url(f"/slow/0.3?{number}") for number in range(12)]
    assert all(page.ok for page in cormorant.fetch(pages, engine=engine, concurrency=4, per_host=0, timeout=10))
    assert rude.peak() == 4


@every_concurrent_engine
def test_no_host_gets_more_at_once_than_per_host(engine: str, rude: Rude) -> None:
    rude.clear_log()
    pages = [rude.url(f"/slow/0.2?{number}", host=f"127.0.0.{1 + number % 2}") for number in range(12)]
    assert all(page.ok for page in cormorant.fetch(pages, engine=engine, concurrency=12, per_host=2, timeout=10))
    assert rude.peak() == 2


@every_engine
def test_one_plain_function_runs_everywhere(engine: str, rude: Rude) -> None:
    pages = [rude.url(f"/ok/{number}") for number in range(20)]
    results = list(cormorant.map(engine_jobs.path_of, pages, engine=engine, concurrency=5, timeout=10))
    assert sorted(result.value for result in results) == sorted(pages)
    assert sorted(result.index for result in results) == list(range(20))
    assert all(result.ok and result.item == result.value for result in results)


@every_concurrent_engine
def test_get_inside_a_job_lets_the_others_run(engine: str, rude: Rude) -> None:
    rude.clear_log()
    pages = [rude.url(f"/slow/0.8?{number}") for number in range(6)]
    results = list(cormorant.map(engine_jobs.status_of, pages, engine=engine, concurrency=6, timeout=10))
    assert [result.value for result in results] == [200] * 6
    assert rude.peak() == 6


@every_engine
def test_a_functions_exception_is_its_own_items_failure(engine: str) -> None:
    results = list(cormorant.map(engine_jobs.refuse, ["this"], engine=engine, timeout=10))
    assert [(result.ok, result.kind, result.message) for result in results] == [
        (False, Kind.CALLBACK, "ValueError: cannot do this")
    ]
    assert "in refuse" in (results[0].traceback or "")


@every_engine
def test_a_function_that_leaves_takes_nobody_along(engine: str) -> None:
    results = sorted(cormorant.map(engine_jobs.leave, range(6), engine=engine, timeout=10), key=lambda one: one.index)
    assert [result.value for result in results] == [0, 1, 2, None, 4, 5]
    assert results[3].kind is Kind.CALLBACK


@every_engine
@pytest.mark.parametrize("function", [engine_jobs.sleep_seconds, engine_jobs.spin_seconds], ids=["blocks", "spins"])
def test_a_function_past_its_deadline_frees_its_slot(engine: str, function: object) -> None:
    start = time.monotonic()
    results = list(cormorant.map(function, [4.0, 0.0, 0.1], engine=engine, concurrency=1, timeout=0.7))  # type: ignore[arg-type]
    assert {result.item: result.kind for result in results} == {4.0: Kind.TIMEOUT, 0.0: None, 0.1: None}
    assert time.monotonic() - start < 3.9


@every_engine
def test_a_fetch_inside_a_function_ends_with_the_functions_deadline(engine: str, rude: Rude, tmp_path: Path) -> None:
    items = [(rude.url("/hang"), str(tmp_path / "left"))]
    results = list(cormorant.map(engine_jobs.clean_up_when_late, items, engine=engine, concurrency=2, timeout=0.6))
    assert [result.kind for result in results] == [Kind.TIMEOUT]
    if engine not in PROCESSES:  # a killed process runs no `finally`
        wait_until((tmp_path / "left").exists)  # an abandoned thread gets there a moment later


@every_engine
def test_except_exception_does_not_swallow_the_deadline(engine: str) -> None:
    assert not issubclass(cormorant.DeadlineExceeded, Exception)
    results = list(cormorant.map(engine_jobs.sleep_seconds, [3.0], engine=engine, timeout=0.5))
    assert [result.kind for result in results] == [Kind.TIMEOUT]


@every_engine
def test_closing_the_generator_stops_the_work_behind_it(engine: str, rude: Rude) -> None:
    rude.clear_log()
    pages = [rude.url("/ok/0"), *(rude.url(f"/slow/0.2?{number}") for number in range(200))]
    outcomes = cormorant.fetch(pages, engine=engine, concurrency=4, timeout=30)
    assert next(outcomes).ok
    start = time.monotonic()
    outcomes.close()
    assert time.monotonic() - start < 4
    time.sleep(0.5)  # what was on the wire already reaches the server
    after_close = len(rude.log())
    time.sleep(0.5)
    assert len(rude.log()) == after_close <= 1 + 2 * 4


@every_engine
def test_an_async_function_runs_under_asyncio_only(engine: str, rude: Rude) -> None:
    if engine == "asyncio":
        results = list(cormorant.map(engine_jobs.await_status, [rude.url("/ok")], engine=engine))
        assert [result.value for result in results] == [200]
    else:
        with pytest.raises(UsageError, match="'asyncio' only"):
            list(cormorant.map(engine_jobs.await_status, [rude.url("/ok")], engine=engine))


def test_an_async_function_past_its_deadline_is_cancelled() -> None:
    results = list(cormorant.map(engine_jobs.await_sleep, [9.0, 0.0], engine="asyncio", concurrency=1, timeout=0.3))
    assert {result.item: result.kind for result in results} == {9.0: Kind.TIMEOUT, 0.0: None}


def test_get_in_an_async_function_says_what_to_write(rude: Rude) -> None:
    (result,) = cormorant.map(engine_jobs.get_without_await, [rude.url("/ok")], engine="asyncio")
    assert "await cormorant.aget" in (result.message or "")


@every_engine
def test_the_callback_runs_at_the_callers(engine: str) -> None:
    called: list[tuple[int, int, str]] = []

    def note(result: cormorant.Result) -> None:
        called.append((result.value, os.getpid(), threading.current_thread().name))

    values = [result.value for result in cormorant.map(engine_jobs.double, [1, 2, 3], engine=engine, callback=note)]
    assert [value for value, _, _ in called] == values
    assert {(pid, name) for _, pid, name in called} == {(os.getpid(), threading.current_thread().name)}


@every_engine
def test_parse_runs_beside_the_fetch(engine: str, rude: Rude) -> None:
    pages = [rude.url("/ok/1"), rude.url("/status/404"), rude.url("/redir/1")]
    outcomes = {page.url: page for page in cormorant.fetch(pages, engine=engine, parse=engine_jobs.title_length)}
    assert outcomes[pages[0]].data == len(outcomes[pages[0]].body)
    assert outcomes[pages[1]].data is None
    assert outcomes[pages[2]].data == len(outcomes[pages[2]].body)


@every_engine
def test_a_parse_that_raises_keeps_the_page(engine: str, rude: Rude) -> None:
    (outcome,) = cormorant.fetch([rude.url("/ok/1")], engine=engine, parse=engine_jobs.failing_parse)
    assert (outcome.ok, outcome.kind, outcome.status) == (False, Kind.CALLBACK, 200)
    assert outcome.message == "parse: KeyError: 'price'"
    assert b"/ok/1" in outcome.body


@every_engine
def test_a_parse_may_fetch(engine: str, rude: Rude) -> None:
    (outcome,) = cormorant.fetch([rude.url("/ok/1")], engine=engine, parse=engine_jobs.parse_that_fetches)
    assert outcome.data == 200


def test_an_async_parse_runs_under_asyncio(rude: Rude) -> None:
    (outcome,) = cormorant.fetch([rude.url("/ok/1")], engine="asyncio", parse=engine_jobs.awaited_parse)
    assert isinstance(outcome, cormorant.Page)
    assert outcome.data == len(outcome.body)


@every_engine
def test_works_outside_the_main_thread(engine: str, rude: Rude) -> None:
    got: list[object] = []

    def run() -> None:
        got.extend(page.status for page in cormorant.fetch([rude.url("/ok/1")], engine=engine))
        got.extend(result.value for result in cormorant.map(engine_jobs.double, [4], engine=engine))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert got == [200, 8]


@every_process_engine
def test_a_killed_workers_job_is_lost_and_the_rest_goes_on(engine: str) -> None:
    items = [*"abcdef", "die", *"ghijkl"]
    results = list(cormorant.map(engine_jobs.kill_own_process, items, engine=engine, concurrency=3, timeout=20))
    assert {result.item: result.kind for result in results} == dict.fromkeys(items) | {"die": Kind.WORKER_LOST}
    assert len(results) == len(items)


@every_process_engine
def test_workers_that_die_as_soon_as_they_come_are_all_noticed(engine: str) -> None:
    """A replacement may take a job up and die before anybody has looked at the workers again."""
    results = list(cormorant.map(engine_jobs.kill_own_process, ["die"] * 12, engine=engine, concurrency=2, timeout=20))
    assert [result.kind for result in results] == [Kind.WORKER_LOST] * 12


@every_process_engine
def test_a_lost_fetch_can_be_retried(engine: str, rude: Rude) -> None:
    rude.clear_log()
    pages = [rude.url(f"/slow/2?{number}") for number in range(3)]  # busy for long enough to be found
    outcomes = cormorant.fetch(pages, engine=engine, concurrency=3, timeout=20, retries=3)
    killer = threading.Thread(target=_kill_a_busy_worker, args=(rude,))
    killer.start()
    got = sorted((page.url, page.status) for page in outcomes)
    killer.join()
    assert got == sorted((url, 200) for url in pages)


def _kill_a_busy_worker(rude: Rude) -> None:
    rude.wait_log(lambda hits: len(hits) >= 3)
    os.kill(worker_pids()[0], signal.SIGKILL)


def worker_pids() -> list[int]:
    """Return the pids of this process's multiprocessing children (they hang below the fork server).

    `-ww`: pytest-xdist sets COLUMNS, and ps cuts its lines to that.
    """
    lines = subprocess.run(
        ["ps", "-eww", "-o", "pid,ppid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    table = [(int(pid), int(ppid), words) for pid, ppid, words in (line.split(None, 2) for line in lines[1:])]
    servers = {pid for pid, ppid, words in table if ppid == os.getpid() and "forkserver" in words}
    return [pid for pid, ppid, words in table if ppid in servers or (ppid == os.getpid() and "spawn_main" in words)]


@every_process_engine
def test_killing_idle_workers_hangs_nothing(engine: str) -> None:
    """An idle Pool worker holds the task queue's lock; killed, it takes the lock along."""
    results = cormorant.map(engine_jobs.sleep_seconds, [0.0] * 3 + [0.2] * 21, engine=engine, concurrency=3, timeout=20)
    got = [next(results)]
    for round_ in range(3):
        while not (there := worker_pids()):
            got.append(next(results))  # the last round was answered before others were there
        for pid in there:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        got.extend(next(results) for _ in range(2 + round_ % 2))
    got.extend(results)
    assert len(got) == 24
    assert {result.kind for result in got} <= {None, Kind.WORKER_LOST}
    assert {result.index for result in got} == set(range(24))


SLOW_TO_IMPORT = """
import multiprocessing, time

if multiprocessing.parent_process():
    time.sleep(60)

def function(item):
    pass
"""


@every_process_engine
def test_worker_processes_that_never_begin_end_the_run(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their module does something for ever as it is imported."""
    (tmp_path / f"slow_to_import_{engine}.py").write_text(SLOW_TO_IMPORT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(children, "BEGIN_SECONDS", 0.5)
    function = importlib.import_module(f"slow_to_import_{engine}").function
    with pytest.raises(EngineLost, match="never ends"):
        list(cormorant.map(function, [1, 2, 3], engine=engine, concurrency=2, timeout=20))
    wait_until(lambda: worker_pids() == [])


def test_a_job_that_no_worker_of_a_pool_takes_up_is_handed_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two stands still, and the other waits for it, or is busy for long."""

    def items() -> Iterator[float]:
        yield from (0.0, 0.0)
        time.sleep(0.3)  # both are idle
        os.kill(worker_pids()[0], signal.SIGSTOP)
        yield from (3.0, 0.0)

    monkeypatch.setattr(children, "BEGIN_SECONDS", 0.5)
    results = cormorant.map(engine_jobs.sleep_seconds, items(), engine="pool", concurrency=2, timeout=20)
    assert sorted((result.index, result.kind) for result in results) == [(number, None) for number in range(4)]


KILLS_WHILE_IT_RUNS = pytest.mark.filterwarnings(  # a Pool's thread finds no server
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)


@KILLS_WHILE_IT_RUNS
@every_process_engine
def test_killing_the_server_of_processes_hangs_nothing(engine: str) -> None:
    """multiprocessing takes its workers for dead then, which they are not: under a Pool they go on."""
    results = cormorant.map(engine_jobs.sleep_seconds, [0.0, 0.02] * 200, engine=engine, concurrency=8, timeout=20)
    got, killed, bereft = [], 0, set[int]()
    for result in results:
        got.append(result)
        if len(got) % 60 == 1:
            for server in servers_of_processes():
                bereft |= {child.pid for child in server.children()}
                server.kill()
                killed += 1
    assert killed >= 2
    assert bereft
    assert sorted(result.index for result in got) == list(range(400))
    assert {result.kind for result in got} <= ({None} if engine == "pool" else {None, Kind.WORKER_LOST})
    wait_until(lambda: worker_pids() == [] and not any(map(children.is_there, bereft)))


@KILLS_WHILE_IT_RUNS
def test_the_workers_of_a_killed_server_go_when_they_are_done() -> None:
    results = cormorant.map(engine_jobs.sleep_seconds, [0.05] * 120, engine="pool", concurrency=4, timeout=20)
    got = [next(results) for _ in range(10)]
    (server,) = servers_of_processes()
    bereft = [child.pid for child in server.children()]
    server.kill()
    got += [next(results) for _ in range(100)]
    assert len(bereft) == 4
    assert not any(map(children.is_there, bereft))
    got += results
    assert [result.kind for result in got] == [None] * 120


@KILLS_WHILE_IT_RUNS
def test_a_worker_that_nobody_knows_is_missed_when_it_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is killed after it has started one, and before it has told which: that one takes a job, and dies."""
    told, told_wrong = popen_forkserver.forkserver.read_signed, []

    def read_signed(descriptor: int) -> int:
        number: int = told(descriptor)
        if number < 0 or told_wrong:  # an exit code
            return number
        told_wrong.append(number)
        time.sleep(0.5)  # it has begun, and has a job
        for server in servers_of_processes():
            server.kill()
        os.kill(number, signal.SIGKILL)
        raise EOFError

    def kill_a_busy_worker() -> None:
        monkeypatch.setattr(popen_forkserver.forkserver, "read_signed", read_signed)
        os.kill(worker_pids()[0], signal.SIGKILL)

    results = cormorant.map(engine_jobs.sleep_seconds, [0.0] + [1.0] * 15, engine="pool", concurrency=4, timeout=10)
    got = [next(results)]
    killer = threading.Timer(0.5, kill_a_busy_worker)
    killer.start()
    got += results
    killer.join()
    assert told_wrong
    assert sorted(result.index for result in got) == list(range(16))
    assert collections.Counter(result.kind for result in got) == {None: 14, Kind.WORKER_LOST: 2}
    wait_until(lambda: not any(map(children.is_there, told_wrong)))


def servers_of_processes() -> list[psutil.Process]:
    """Return the process of multiprocessing that starts the others, if there is one."""
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if any("forkserver" in word for word in child.cmdline())]


@every_process_engine
@pytest.mark.parametrize("kill", [False, True], ids=["busy", "killed while idle"])
def test_a_run_that_nobody_ends_is_ended_with_the_interpreter(engine: str, kill: bool, tmp_path: Path) -> None:
    """An idle worker of a Pool takes a lock along, for which Pool's own finalizer would wait."""
    script = tmp_path / "left.py"
    script.write_text(LEFT_AT_EXIT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, str(script), engine, "kill" * kill],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("left\n", "", 0)


LEFT_AT_EXIT = """
import os, signal, sys, time
import cormorant, engine_jobs, test_engine_conformance

if __name__ == "__main__":
    engine, kill = sys.argv[1:]
    seconds = [0.0] * 5 if kill else [0.0] + [60.0] * 10
    results = cormorant.map(engine_jobs.sleep_seconds, seconds, engine=engine, concurrency=4)
    next(results)
    if kill:
        time.sleep(0.5)  # nobody hands on more: all are idle
        for pid in test_engine_conformance.worker_pids():
            os.kill(pid, signal.SIGKILL)
    print("left")
"""


@every_process_engine
def test_an_unpicklable_result_costs_its_own_item_only(engine: str) -> None:
    results = list(cormorant.map(engine_jobs.unpicklable, range(6), engine=engine, concurrency=2, timeout=20))
    kinds = {result.item: result.kind for result in results}
    assert kinds == {0: None, 1: None, 2: None, 3: Kind.CALLBACK, 4: None, 5: None}
    assert "cannot travel" in next(result.message or "" for result in results if result.item == 3)


@every_process_engine
def test_an_unpicklable_item_costs_its_own_item_only(engine: str) -> None:
    items = [1, threading.Lock(), 3]
    results = list(cormorant.map(engine_jobs.unpicklable, items, engine=engine, timeout=20))
    assert sorted(str(result.kind) for result in results) == ["None", "callback", "callback"]


@every_process_engine
def test_a_function_that_cannot_travel_is_refused_with_the_fix(engine: str) -> None:
    with pytest.raises(UsageError, match="top level of a module"):
        list(cormorant.map(lambda item: item, [1], engine=engine))


@every_process_engine
def test_no_orphans_when_the_parent_is_killed(engine: str, tmp_path: Path) -> None:
    code = (
        "import engine_jobs, cormorant\n"
        "if __name__ == '__main__':\n"
        f"    items = [({str(tmp_path)!r}, 60.0)] * 3\n"
        f"    list(cormorant.map(engine_jobs.note_pid, items, engine={engine!r}, concurrency=3))\n"
    )
    script = tmp_path.parent / f"{tmp_path.name}.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    end = time.monotonic() + 20
    while len(os.listdir(tmp_path)) < 3:
        assert time.monotonic() < end, "the workers never began"
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    pids = [int(name) for name in os.listdir(tmp_path)]
    end = time.monotonic() + 5
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < end, f"orphans: {alive}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


@every_engine
def test_ten_thousand_jobs_leave_nothing_behind(engine: str) -> None:
    def run(jobs: int) -> tuple[int, int]:
        total = sum(
            result.value for result in cormorant.map(engine_jobs.double, range(jobs), engine=engine, concurrency=4)
        )
        assert total == jobs * (jobs - 1)
        gc.collect()
        return len(gc.get_objects()), open_descriptors()

    run(200)
    objects, descriptors = run(200)
    more_objects, _ = run(10_000)
    assert more_objects - objects < 500
    wait_until(lambda: open_descriptors() - descriptors <= 2)  # executors close their pipes in threads of their own


def test_threads_stuck_for_good_do_not_keep_the_interpreter_from_leaving(tmp_path: Path) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(
        "import threading, cormorant\n"
        "def stuck(item): threading.Event().wait()\n"
        "print([r.kind.value for r in cormorant.map(stuck, [1, 2], engine='thread', concurrency=2, timeout=0.3)])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=15, check=False
    )
    assert (done.stdout, done.returncode) == ("['timeout', 'timeout']\n", 0), done.stderr


@every_process_engine
def test_a_script_without_its_guard_is_told_so(engine: str, tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        f"import cormorant\nprint(list(cormorant.map(str, [1, 2, 3], engine={engine!r}, concurrency=2)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=40, check=False
    )
    assert done.returncode == 1
    assert "cormorant.errors.EngineLost: the worker processes die as they start" in done.stderr


@pytest.mark.parametrize("engine", ["serial", "greenlet", "gevent", "asyncio"])
def test_a_deadline_that_was_swallowed_comes_again(engine: str) -> None:
    start = time.monotonic()
    results = list(cormorant.map(engine_jobs.swallow_in_a_loop, [20.0], engine=engine, timeout=0.5))
    assert [result.kind for result in results] == [Kind.TIMEOUT]
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("engine", ["greenlet", "gevent", "asyncio"])
def test_a_jobs_context_is_its_own(engine: str) -> None:
    results = cormorant.map(engine_jobs.mark_context, range(20), engine=engine, concurrency=2)
    assert {result.value for result in results} == {"clean"}


@every_engine
def test_an_exception_without_words_is_a_failure_too(engine: str) -> None:
    (result,) = cormorant.map(engine_jobs.fail_without_words, ["x"], engine=engine)
    assert (result.kind, result.message) == (Kind.CALLBACK, "Mute")


@pytest.mark.parametrize("engine", ["greenlet", "gevent"])
def test_a_close_that_fails_leaves_no_alarm_behind(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(transport: object) -> None:
        raise RuntimeError("it does not close")

    monkeypatch.setattr(testing.ScriptedEvented, "close", fail)
    setup = engines.Setup(work=str, transports=testing.Scripted({}), width=1, has_user_code=True)
    running = engines.start(engine, setup)
    running.start(0, "item", 5.0)
    assert signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0)
    with pytest.raises(RuntimeError, match="does not close"):
        running.close()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_page_that_comes_as_it_is_cancelled_is_dropped() -> None:
    from cormorant.engines.asyncio import deliver_to

    async def cancelled() -> None:
        page = asyncio.get_running_loop().create_future()
        page.cancel()
        deliver_to(page, cormorant.Page(url="http://a.example/", status=200))

    asyncio.run(cancelled())


async def _cancel_own_task(item: int) -> int:
    task = asyncio.ensure_future(asyncio.sleep(5))
    task.cancel()
    await task
    return item


def test_a_task_of_ones_own_that_was_cancelled_ends_the_job() -> None:
    (result,) = cormorant.map(_cancel_own_task, [1], engine="asyncio", timeout=10)
    assert result.kind is Kind.CALLBACK


def _fetch_inside(url: str) -> float:
    assert [page.status for page in cormorant.fetch([url], engine="serial")] == [200]
    time.sleep(3)
    return 3.0


@pytest.mark.parametrize("engine", ["serial", "greenlet", "gevent", "asyncio"])
def test_a_fetch_inside_a_job_leaves_the_jobs_deadline_alone(engine: str, rude: Rude) -> None:
    (result,) = cormorant.map(_fetch_inside, [rude.url("/ok")], engine=engine, timeout=0.8)
    assert result.kind is Kind.TIMEOUT


def _interrupt_itself(item: int) -> int:
    raise KeyboardInterrupt


def test_an_interrupt_of_a_threads_own_is_its_items_failure() -> None:
    (result,) = cormorant.map(_interrupt_itself, [1], engine="thread", timeout=5)
    assert (result.kind, result.message) == (Kind.CALLBACK, "KeyboardInterrupt: ")


def test_serial_beside_the_main_thread_survives_a_late_job(rude: Rude) -> None:
    got: list[object] = []
    items = [(rude.url("/hang"), 30.0), *((rude.url(f"/ok/{number}"), 30.0) for number in range(3))]

    def run() -> None:
        got.extend(result.kind for result in cormorant.map(_status_with, items, engine="serial", timeout=0.5))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert got == [Kind.TIMEOUT, None, None, None]


def _status_with(item: tuple[str, float]) -> int:
    return cormorant.get(item[0], timeout=item[1]).status


@pytest.mark.parametrize("engine", ["greenlet", "gevent"])
def test_iterating_from_another_thread_is_refused_with_the_fix(engine: str, rude: Rude) -> None:
    outcomes = cormorant.fetch([rude.url(f"/ok/{number}") for number in range(9)], engine=engine, concurrency=1)
    assert next(outcomes).ok
    said: list[str] = []

    def go_on() -> None:
        try:
            list(outcomes)
        except UsageError as error:
            said.append(str(error))

    thread = threading.Thread(target=go_on)
    thread.start()
    thread.join(10)
    assert "stay in their thread" in said[0]


@every_concurrent_engine
def test_a_slow_input_holds_back_no_page(engine: str, rude: Rude) -> None:
    read: list[int] = []

    def slow() -> Iterator[str]:
        for number in range(20):
            read.append(number)
            time.sleep(0.05)
            yield rude.url(f"/ok/{number}")

    outcomes = cormorant.fetch(slow(), engine=engine, concurrency=30, timeout=10)
    assert next(outcomes).ok
    assert len(read) < 19
    outcomes.close()


def take_one_then_pause(outcomes: Iterator[Any], seconds: float) -> list[Any]:
    """Do what a slow consumer does: take the first, be away, take the rest."""
    first = next(outcomes)
    time.sleep(seconds)
    return [first, *outcomes]


@every_engine
def test_a_slow_consumer_costs_no_page(engine: str, rude: Rude) -> None:
    """Bytes that came during the pause, bodies that still come, names, redirects: none is late for it."""
    paths = [f"{path}?{number}" for number in range(6) for path in ("/slow/0.2", "/bytes/400000", "/redir/2", "/ok")]
    pages = [rude.url(path, host=f"127.0.0.{1 + number}") for number, path in enumerate(paths)]
    outcomes = cormorant.fetch([rude.url("/ok/first"), *pages], engine=engine, concurrency=25, timeout=0.8)
    got = take_one_then_pause(outcomes, 2.0)
    assert [(page.url, page.kind, page.message) for page in got if not page.ok] == []
    assert len(got) == 25
    assert max(page.timings.total for page in got) < 0.8


@every_engine
def test_a_slow_consumer_costs_no_job(engine: str, rude: Rude) -> None:
    """Jobs that wait in `get`, between two of them and before they began."""
    pages = [rude.url(f"/slow/0.2?{number}", host=f"127.0.0.{1 + number}") for number in range(6)]
    items = [rude.url("/ok/first"), *pages]
    results = cormorant.map(engine_jobs.path_of, items, engine=engine, concurrency=4, timeout=0.8)
    got = take_one_then_pause(results, 2.0)
    assert [(result.item, result.kind, result.message) for result in got if not result.ok] == []
    assert len(got) == 7


@every_engine_with_a_loop
def test_a_hung_page_ends_after_the_pause_too(engine: str, rude: Rude) -> None:
    pages = [rude.url("/ok/first"), rude.url("/hang"), rude.url("/stall-at/9000")]
    start = time.monotonic()
    got = take_one_then_pause(cormorant.fetch(pages, engine=engine, concurrency=3, timeout=0.8), 2.0)
    assert time.monotonic() - start < 2.0 + 0.8 + 2
    assert {(page.url, page.kind, getattr(page, "phase", None)) for page in got} == {
        (pages[0], None, None),
        (pages[1], Kind.TIMEOUT, "first_byte"),
        (pages[2], Kind.TIMEOUT, "body"),
    }
    assert all(0.7 < page.timings.total < 1.4 for page in got if not page.ok)


def _wait_by_gevent(seconds: float) -> float:
    import gevent

    gevent.sleep(seconds)
    return seconds


@pytest.mark.parametrize(
    ("engine", "function"),
    [("gevent", _wait_by_gevent), ("asyncio", engine_jobs.await_sleep)],
    ids=["gevent", "asyncio"],
)
def test_a_hung_job_ends_after_the_pause_too(engine: str, function: Any) -> None:
    start = time.monotonic()
    got = take_one_then_pause(cormorant.map(function, [0.0, 30.0], engine=engine, concurrency=2, timeout=0.8), 2.0)
    assert {result.item: result.kind for result in got} == {0.0: None, 30.0: Kind.TIMEOUT}
    assert time.monotonic() - start < 2.0 + 0.8 + 2


def test_a_consumer_that_blocks_afetch_costs_no_page(rude: Rude) -> None:
    """Whether he blocks the loop at once, or after he let it run."""

    def hold_the_loop() -> None:
        time.sleep(1.5)

    async def consume() -> list[cormorant.Outcome]:
        got = []
        pages = [rude.url("/ok/first"), *(rude.url(f"/slow/0.3?{number}") for number in range(20))]
        async for page in cormorant.afetch(pages, concurrency=21, per_host=0, timeout=0.8):
            got.append(page)
            if len(got) == 1:
                hold_the_loop()
            if len(got) == 2:
                await asyncio.sleep(0)
                hold_the_loop()
        return got

    got = asyncio.run(consume())
    assert [(page.url, page.message) for page in got if not page.ok] == []
    assert len(got) == 21


def test_gevents_loop_runs_on_while_its_caller_waits(rude: Rude) -> None:
    """A consumer who waits by gevent pauses nobody: the time counts."""
    gevent = pytest.importorskip("gevent")
    pages = [rude.url("/ok/first"), rude.url("/hang"), rude.url("/slow/1.5")]
    outcomes = cormorant.fetch(pages, engine="gevent", concurrency=3, timeout=2)
    got = [next(outcomes)]
    gevent.sleep(1.0)
    got.extend(outcomes)
    assert [page.kind for page in got] == [None, None, Kind.TIMEOUT]
    assert got[1].timings.total >= 1.4
    assert 1.9 < got[2].timings.total < 2.9
