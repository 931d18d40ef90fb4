"""Whoever is killed, whenever: nothing is lost, nothing is there twice, nobody is left. Longer by hand:

CORMORANT_KILLS=50 python -m pytest tests/fleet/test_fleet_kills.py
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import fleet_jobs
import psutil
import pytest
from fleet_watch import (
    Command,
    Killer,
    Truth,
    ends,
    group_of,
    reached,
    server_of_processes,
    wait_until,
    workers,
)

import cormorant
from cormorant.errors import EngineLost
from cormorant.fleet import driver
from rude import Rude

pytestmark = [pytest.mark.usefixtures("tidy"), pytest.mark.timeout(300)]

ROUNDS = int(os.environ.get("CORMORANT_KILLS", "1"))
EVERY_SECONDS = 0.4
SILENT_SECONDS = 2.0
STEADY: dict[str, Any] = {"delay": 0.05, "per_host": 1, "breaker": 0, "retries": 0, "concurrency": 16}


@pytest.fixture(params=range(ROUNDS))
def draw(request: pytest.FixtureRequest) -> random.Random:
    """Return who is killed, by the number of the round."""
    return random.Random(request.param)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a worker that says nothing replaced soon."""
    monkeypatch.setattr(driver, "SILENT_SECONDS", SILENT_SECONDS)
    monkeypatch.setattr(driver, "BEAT_SECONDS", 0.2)


# --- workers ---


def test_workers_killed_all_the_time_lose_nothing_of_a_list(truth: Truth, draw: random.Random) -> None:
    alone = ends(cormorant.fetch(truth.urls, **STEADY | {"delay": 0.0, "per_host": 0}))
    with Killer([signal.SIGKILL], EVERY_SECONDS, draw.choice) as killer:
        assert ends(cormorant.fetch(truth.urls, workers=3, **STEADY)) == alone
    assert len(killer.killed) >= 3


def test_workers_killed_all_the_time_lose_nothing_of_a_crawl(truth: Truth, draw: random.Random) -> None:
    words: dict[str, Any] = {"scope": "any", "robots": False}
    alone = reached(cormorant.crawl([truth.url(0)], **words, **STEADY | {"delay": 0.0, "per_host": 0}))
    with Killer([signal.SIGKILL], EVERY_SECONDS, draw.choice) as killer:
        outcomes = list(cormorant.crawl([truth.url(0)], workers=2, **words, **STEADY))
    assert reached(outcomes) == alone
    assert max(Counter(one.url for one in outcomes).values()) == 1
    assert len(killer.killed) >= 3


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_stands_still_is_replaced(truth: Truth, draw: random.Random) -> None:
    run = cormorant.fetch(truth.urls, workers=2, **STEADY)
    outcomes = [next(run)]
    stopped = draw.choice(workers())
    os.kill(stopped, signal.SIGSTOP)
    outcomes += run
    assert Counter(one.url for one in outcomes) == Counter(truth.urls)
    assert stopped not in workers()


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_stands_still_holds_nobody_up_while_lines_are_dealt(draw: random.Random) -> None:
    """More lines than a pipe holds are on their way to it."""
    lines = 30_000
    urls = (f"http://127.0.0.{1 + number % 9}:9/{'x' * 60}{number}" for number in range(lines))
    stopped: list[int] = []

    def stop(there: list[int]) -> int:
        return there[-1] if len(there) > 1 and not stopped else 0

    class Stopper(Killer):
        def _run(self) -> None:
            while not self._is_over.wait(0.002):
                if (chosen := stop(workers())) and not time.sleep(0.15):
                    os.kill(chosen, signal.SIGSTOP)
                    stopped.append(chosen)
                    return

    with Stopper([signal.SIGSTOP], 0.0, draw.choice):
        assert sum(1 for _ in cormorant.fetch(urls, workers=2, breaker=0, per_host=0)) == lines
    assert stopped


@pytest.mark.parametrize("name", ["pages.jsonl", "pages.warc.gz", "pages/", "pages.sqlite"])  # Parquet wants quiet
def test_parts_hold_each_page_once_whoever_is_killed(
    truth: Truth, draw: random.Random, name: str, tmp_path: Path
) -> None:
    output = str(tmp_path / name) + ("/" if name.endswith("/") else "")
    with Killer([signal.SIGKILL], EVERY_SECONDS, draw.choice) as killer:
        handed = list(cormorant.fetch(truth.urls[:400], workers=2, output=output, **STEADY))
    assert len(killer.killed) >= 2
    back = list(cormorant.read(output))
    assert Counter(one.url for one in handed) == Counter(truth.urls[:400])
    assert Counter(one.url for one in back) == Counter(truth.urls[:400])
    bodies = {one.url: one.body for one in handed}
    assert all(one.body == bodies[one.url] for one in back)


def test_all_workers_killed_at_once_are_replaced(truth: Truth) -> None:
    run = cormorant.fetch(truth.urls, workers=3, **STEADY)
    outcomes = [next(run)]
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
    outcomes += run
    assert Counter(one.url for one in outcomes) == Counter(truth.urls)


# --- functions that end their worker ---


def deadly_list(rude: Rude) -> list[str]:
    urls = [rude.url(f"/ok/{number}", f"127.0.0.{1 + number % 8}") for number in range(60)]
    urls[31] = rude.url("/ok/deadly", "127.0.0.8")
    return urls


@pytest.mark.parametrize("parse", [fleet_jobs.crash, fleet_jobs.leave], ids=["SIGSEGV", "exit"])
@pytest.mark.parametrize("engine", ["greenlet", "thread"])
def test_a_page_that_kills_workers_is_given_up_alone(rude: Rude, parse: Any, engine: str) -> None:
    urls = deadly_list(rude)
    outcomes = list(cormorant.fetch(urls, workers=2, parse=parse, engine=engine))
    assert Counter(one.url for one in outcomes) == Counter(urls)
    assert [(one.url, one.kind) for one in outcomes if isinstance(one, cormorant.Failure)] == [
        (urls[31], cormorant.Kind.WORKER_LOST)
    ]


def test_two_pages_that_kill_workers_are_both_given_up(rude: Rude) -> None:
    urls = deadly_list(rude)
    urls[5] = rude.url("/ok/deadly", "127.0.0.3")
    outcomes = list(cormorant.fetch(urls, workers=2, parse=fleet_jobs.crash))
    assert Counter(one.url for one in outcomes) == Counter(urls)
    assert {one.url for one in outcomes if not one.ok} == {urls[5], urls[31]}


@pytest.mark.usefixtures("impatient")
def test_a_page_that_holds_its_worker_for_ever_is_given_up(rude: Rude) -> None:
    urls = deadly_list(rude)
    outcomes = list(cormorant.fetch(urls, workers=2, parse=fleet_jobs.stop_thinking))
    assert Counter(one.url for one in outcomes) == Counter(urls)
    assert {one.url: str(getattr(one, "kind", "")) for one in outcomes if not one.ok} == {urls[31]: "worker_lost"}


def test_a_function_that_leaves_the_program_fails_its_page_alone(rude: Rude) -> None:
    """As with one worker: SystemExit in a job is that job's failure."""
    urls = deadly_list(rude)[:3]
    alone = Counter(str(getattr(one, "kind", "")) for one in cormorant.fetch(urls, parse=fleet_jobs.leave_program))
    fleet = cormorant.fetch(urls, workers=2, parse=fleet_jobs.leave_program)
    assert Counter(str(getattr(one, "kind", "")) for one in fleet) == alone


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no server of processes")
def test_the_server_of_processes_may_be_killed(truth: Truth, caplog: pytest.LogCaptureFixture) -> None:
    """Its workers go on, nobody is blamed; when one of them dies, another server starts the next."""
    alone = ends(cormorant.fetch(truth.urls, **STEADY | {"delay": 0.0, "per_host": 0}))
    run = cormorant.fetch(truth.urls, workers=2, **STEADY)
    outcomes = list(itertools.islice(run, 60))
    there = workers()
    server_of_processes().kill()
    outcomes += itertools.islice(run, 120)
    assert not caplog.records, "a worker was given up"
    os.kill(there[0], signal.SIGKILL)
    outcomes += run
    assert ends(outcomes) == alone
    (gone,) = (record.getMessage() for record in caplog.records)
    assert "nobody tells how" in gone
    wait_until(lambda: not any(map(psutil.pid_exists, there)))


def test_workers_that_die_as_they_start_end_the_run_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stillborn_jobs.py").write_text(
        "import multiprocessing, os\n"
        "if multiprocessing.parent_process() is not None:\n    os._exit(9)\n"
        "def parse(page):\n    return 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import stillborn_jobs  # type: ignore[import-not-found]

    began = time.monotonic()
    with pytest.raises(EngineLost, match="exit code 9"):
        list(cormorant.fetch(["http://127.0.0.1:9/"], workers=2, parse=stillborn_jobs.parse))
    assert time.monotonic() - began < 20
    del sys.modules["stillborn_jobs"]


def test_workers_that_somebody_ends_as_they_start_end_the_run_at_last(draw: random.Random) -> None:
    with Killer([signal.SIGKILL], 0.005, draw.choice, most=1_000), pytest.raises(EngineLost, match=r"memory.*SIGKILL"):
        list(cormorant.fetch(["http://127.0.0.1:9/"], workers=1))


# --- the driver ---


@pytest.fixture(params=["driver", "all"])
def victims(request: pytest.FixtureRequest) -> str:
    """Say who is killed: the driver alone, or all its processes at once."""
    return str(request.param)


def kill(pid: int, victims: str) -> None:
    if victims == "all":
        os.killpg(pid, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["pages.jsonl", "pages.warc.gz"])
def test_a_killed_driver_leaves_nobody_and_its_job_goes_on_with_other_workers(
    truth: Truth, command: Command, victims: str, name: str, draw: random.Random
) -> None:
    urls = command.list(truth.urls)
    words = ["fetch", "-i", urls, "-o", name, "--job", "job", "--breaker", 0, "--delay", 0.08, "--per-host", 1, "-q"]
    for number in (2, 3):
        before = truth.asked()
        process = command.start(*words, "-w", number)
        wait_until(lambda before=before: truth.asked() > before + draw.randrange(20, 150))
        kill(process.pid, victims)
        process.wait()
        wait_until(lambda pid=process.pid: not group_of(pid), 5.0)
    code, _, err = command.run("resume", "job", "-w", 4)
    assert code == 1, err
    back = list(cormorant.read(command.folder / name))
    assert Counter(one.url for one in back) == Counter(truth.urls)


def test_a_killed_driver_of_a_crawl_loses_nothing(truth: Truth, command: Command, victims: str) -> None:
    words = ["crawl", truth.url(0), "--scope", "any", "--no-robots", "-o", "pages.jsonl", "--job", "job"]
    words += ["--delay", "0.05", "--breaker", "0", "--retries", "0", "-q"]
    for number in (2, 3):
        before = truth.asked()
        process = command.start(*words, "-w", number)
        wait_until(lambda before=before: truth.asked() > before + 120)
        kill(process.pid, victims)
        process.wait()
        wait_until(lambda pid=process.pid: not group_of(pid), 5.0)
    code, _, err = command.run(*words, "-w", 1)
    assert code == 1, err
    back = list(cormorant.read(command.folder / "pages.jsonl"))
    assert max(Counter(one.url for one in back).values()) == 1
    quick = STEADY | {"delay": 0.0, "per_host": 0}
    assert reached(back) == reached(cormorant.crawl([truth.url(0)], scope="any", robots=False, **quick))
