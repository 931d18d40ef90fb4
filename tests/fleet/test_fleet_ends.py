"""Runs of a fleet that end before their end, and lists that have none: nothing is lost that was not handed on."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fleet_jobs
import pytest
from fleet_watch import Command, Truth, wait_until

import cormorant
from cormorant.errors import OutputError, UsageError
from cormorant.fleet import driver
from cormorant.fleet.wanted import most_workers_here
from rude import Rude

pytestmark = [pytest.mark.usefixtures("tidy"), pytest.mark.timeout(120)]

UNHURRIED: dict[str, Any] = {"delay": 0.0, "per_host": 0, "breaker": 0, "retries": 0}


def test_what_a_loop_has_not_seen_comes_when_a_job_goes_on(truth: Truth, tmp_path: Path) -> None:
    words = UNHURRIED | {"workers": 2, "job": str(tmp_path / "job")}
    run = cormorant.fetch(truth.urls, **words)
    met = {one.url for one in itertools.islice(run, 5)}
    time.sleep(1.3)  # longer than between two commits, in which all that was sent could be committed
    run.close()
    met |= {one.url for one in cormorant.fetch(truth.urls, **words)}
    assert met == set(truth.urls)


@pytest.mark.parametrize("name", ["pages.jsonl", "pages.sqlite"])
def test_a_child_that_a_function_left_holds_nothing_up(truth: Truth, tmp_path: Path, name: str) -> None:
    """It has its parent's open files, the locks among them."""
    place = tmp_path / "child"
    parse = functools.partial(fleet_jobs.leave_a_child, str(place))
    words = UNHURRIED | {"delay": 0.02, "workers": 2, "parse": parse}
    run = cormorant.fetch(truth.urls, job=tmp_path / "job", output=tmp_path / name, **words)
    outcomes = list(itertools.islice(run, 50))
    wait_until(lambda: place.exists() and " " in place.read_text())
    worker, child = map(int, place.read_text().split())
    os.kill(worker, signal.SIGKILL)
    try:
        outcomes += run
        os.kill(child, 0)  # it is there still
    finally:
        os.kill(child, signal.SIGKILL)
    assert Counter(one.url for one in outcomes) == Counter(truth.urls)
    assert Counter(one.url for one in cormorant.read(tmp_path / name)) == Counter(truth.urls)


def test_an_error_of_one_worker_takes_nothing_from_the_others(truth: Truth, tmp_path: Path) -> None:
    met: set[str] = set()
    room = tmp_path / "room"
    good = next(one.url for one in cormorant.fetch(truth.urls[150:], engine="serial") if one.status == 200)
    parse = functools.partial(fleet_jobs.fill_the_disk, str(room), good)

    def go_on() -> None:
        for one in cormorant.fetch(truth.urls, workers=3, parse=parse, job=str(tmp_path / "job"), **UNHURRIED):
            met.add(one.url)

    with pytest.raises(OutputError):
        go_on()
    assert len(met) > 100, "the others end in good order"
    room.touch()
    go_on()
    assert met == set(truth.urls)


@pytest.mark.parametrize("name", ["pages.parquet", "pages.jsonl.gz", "pages.warc.gz", "pages.jsonl"])
def test_what_was_handed_on_is_in_the_output_when_a_loop_is_left(truth: Truth, tmp_path: Path, name: str) -> None:
    run = cormorant.fetch(truth.urls, workers=2, output=str(tmp_path / name), **UNHURRIED)
    met = {one.url for one in itertools.islice(run, 100)}
    run.close()
    assert met <= {one.url for one in cormorant.read(tmp_path / name)}


def test_a_list_without_end_is_fetched_as_it_comes(rude: Rude) -> None:
    """All of one host, so that one worker never has anything."""

    def endless() -> Iterator[str]:
        for number in itertools.count():
            yield rude.url(f"/ok/{number}")

    run = cormorant.fetch(endless(), workers=2, **UNHURRIED)
    assert len({one.url for one in itertools.islice(run, 300)}) == 300
    run.close()


def test_a_loop_that_takes_its_time_has_no_worker_killed(
    truth: Truth, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(driver, "SILENT_SECONDS", 2.0)
    monkeypatch.setattr(driver, "ATTENTIVE_SECONDS", 0.5)
    monkeypatch.setattr(driver, "BEAT_SECONDS", 0.01)
    met = []
    for one in cormorant.fetch(truth.urls, workers=2, **UNHURRIED):
        met.append(one.url)
        if len(met) == 50:
            time.sleep(3.0)
    assert Counter(met) == Counter(truth.urls)
    assert not caplog.records


def test_a_merged_job_that_is_run_again_is_done(command: Command, rude: Rude) -> None:
    urls = [rude.url(f"/ok/{number}", f"127.0.0.{1 + number % 9}") for number in range(40)]
    words = ("fetch", "-i", command.list(urls), "-o", "pages.jsonl", "-w", 2, "--merge", "--job", "job")
    assert command.run(*words)[0] == 0
    (command.folder / "pages-s0003.jsonl").write_bytes((command.folder / "pages.jsonl").read_bytes())  # a kill left it
    code, _, said = command.run(*words)
    assert code == 0, said
    assert "40 URLs" in said
    assert Counter(one.url for one in cormorant.read(command.folder / "pages.jsonl")) == Counter(urls)


@pytest.mark.parametrize("number", [0, -1, "2", 2.5, True, most_workers_here() + 1])
def test_a_number_of_workers_that_is_none_is_refused(number: Any) -> None:
    with pytest.raises(UsageError, match=r"workers is .*; give 1 to"):
        cormorant.fetch(["http://a.example/"], workers=number)


def test_a_misspelt_word_is_told_from_the_words_of_workers() -> None:
    with pytest.raises(UsageError, match="did you mean 'workers'"):
        cormorant.fetch(["http://a.example/"], wrokers=2)  # type: ignore[call-arg]
