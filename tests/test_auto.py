"""`auto`: the choice from figures that are fed, the probe with a hand-moved clock, the relay, and whole runs."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import cormorant
from cormorant.auto import probe as probes
from cormorant.auto.choice import Calls, Choice, Pages, for_calls, for_pages
from cormorant.auto.probe import Ended, Probe
from cormorant.auto.relay import Relay
from cormorant.errors import UsageError
from cormorant.items import ItemScheduler
from cormorant.messages import FINISHED, Done, Fetch, Wait
from cormorant.opening import open_fetch
from cormorant.options import Options
from cormorant.testing import Reply, Scripted, run

# --- choosing ---


def calls(**figures: Any) -> Calls:
    """A call of 100 ms that neither computes nor waits in our wire, on four cores, unless said otherwise."""
    known = {"ended": 8, "probe_seconds": 1.0, "wall_seconds": 0.1, "cpu_seconds": 0.0001, "wire_seconds": 0.0}
    return Calls(**{**known, "cores": 4, **figures})


@pytest.mark.parametrize(
    ("figures", "engine", "width"),
    [
        ({"cpu_seconds": 0.1}, "process", 4),
        ({"cpu_seconds": 0.05}, "process", 8),
        ({"cpu_seconds": 0.03}, "process", 13),
        ({"cpu_seconds": 0.1, "cores": 1}, "greenlet", 8),
        ({"cpu_seconds": 0.1, "refusal": "it is a lambda"}, "greenlet", 8),
        ({"wall_seconds": 0.004, "cpu_seconds": 0.004}, "greenlet", 8),
        ({}, "thread", 64),
        ({"cpu_seconds": 0.01}, "thread", 15),
        ({"cpu_seconds": 0.025, "wire_seconds": 0.05}, "thread", 8),
        ({"cpu_seconds": 0.001, "wire_seconds": 0.099}, "greenlet", 150),
        ({"wire_seconds": 0.0999}, "greenlet", 1024),
        ({"wall_seconds": 0.0011, "cpu_seconds": 0.0002}, "greenlet", 8),  # 0.9 ms may be the system's doing
        ({"ended": 0, "wall_seconds": 1.0, "cpu_seconds": 1.0}, "process", 4),
        ({"ended": 0, "wall_seconds": 1.0, "wire_seconds": 1.0}, "greenlet", 1024),
        ({"wall_seconds": 0.0, "cpu_seconds": 0.0}, "greenlet", 8),
    ],
    ids=str,
)
def test_a_function_goes_where_its_time_goes(figures: dict[str, Any], engine: str, width: int) -> None:
    choice = for_calls(calls(**figures))
    assert (choice.engine, choice.width) == (engine, width)


def test_the_reason_holds_the_figures() -> None:
    assert for_calls(calls(cpu_seconds=0.08, wire_seconds=0.02)) == Choice(
        "process",
        5,
        "a call takes 100 ms (median of 8), 80 ms computing, 20 ms waiting for pages: "
        "it computes, and there are 4 cores",
    )
    assert "it computes, but it is a lambda" in for_calls(calls(cpu_seconds=0.1, refusal="it is a lambda")).why
    assert "it computes, but there is one core" in for_calls(calls(cpu_seconds=0.1, cores=1)).why
    assert "not done after 1 s" in for_calls(calls(ended=0)).why


def pages(**figures: Any) -> Pages:
    """Forty pages in two seconds, all good, unless said otherwise."""
    known = {"ended": 40, "good": 40, "probe_seconds": 2.0, "latency_seconds": 0.1, "cpu_seconds": 0.001}
    return Pages(**{**known, **figures})


@pytest.mark.parametrize(
    ("latency", "cpu", "width"),
    [(0.1, 0.001, 150), (0.1, 0.00001, 1024), (0.001, 0.001, 8), (0.1, 0.0, 1024)],
    ids=str,
)
def test_pages_are_as_wide_as_keeps_the_thread_busy(latency: float, cpu: float, width: int) -> None:
    choice = for_pages(pages(latency_seconds=latency, cpu_seconds=cpu))
    assert (choice.engine, choice.width) == ("greenlet", width)


def test_no_page_no_width() -> None:
    choice = for_pages(pages(ended=0, good=0))
    assert choice == Choice("greenlet", None, "no page came back within 2 s to judge the width by")
    choice = for_pages(pages(good=4, latency_seconds=0.001))
    assert choice == Choice("greenlet", None, "4 of 40 pages were good, too few to judge the width by")
    assert "(median of 5)" in for_pages(pages(good=5)).why


# --- probing ---


class Watched:
    """A probe over `count` items, two at once, over after three ends or ten seconds; then five may be under way."""

    def __init__(self, count: int) -> None:
        self.heard: list[Any] = []
        self.probe = Probe(
            ItemScheduler(iter(range(count)), 30.0, object()),
            width=2,
            jobs=3,
            warm_up=1,
            seconds=10.0,
            warmed=lambda: self.heard.append("warm"),
            choose=self.choose,
            begin=lambda: self.heard.append("begin"),
        )

    def choose(self, ended: list[Ended]) -> int:
        self.heard.append([seconds for _, seconds in ended])
        return 5

    def start(self, now: float) -> int:
        step = self.probe.next(now)
        assert isinstance(step, Fetch)
        return step.ticket


def test_a_probe_lets_few_out_until_enough_have_ended() -> None:
    watched = Watched(20)
    probe = watched.probe
    first, second = watched.start(100.0), watched.start(101.0)
    assert probe.next(102.0) == Wait(until=110.0)
    probe.settle(Done(ticket=first), 103.0)
    third = watched.start(103.0)
    for ticket in (second, third):
        probe.settle(Done(ticket=ticket), 105.0)
    assert watched.heard == ["warm"]
    assert [watched.start(105.0) for _ in range(5)] == [3, 4, 5, 6, 7]
    assert watched.heard == ["warm", [3.0, 4.0, 2.0], "begin"]
    assert probe.next(106.0) == Wait()
    assert [result.index for result in probe.outcomes()] == [0, 1, 2]
    assert probe.in_flight == 5


def test_a_probe_waits_for_nobody() -> None:
    watched = Watched(20)
    watched.start(100.0), watched.start(100.0)
    assert watched.probe.next(109.9) == Wait(until=110.0)
    assert [watched.start(110.0) for _ in range(3)] == [2, 3, 4]
    assert watched.probe.next(110.0) == Wait()
    assert watched.heard == [[], "begin"]
    watched.probe.settle(Done(ticket=0), 200.0)
    assert watched.start(200.0) == 5


def test_a_list_that_ends_within_the_probe_begins_nothing() -> None:
    watched = Watched(3)
    for _ in range(3):
        watched.probe.settle(Done(ticket=watched.start(100.0)), 101.0)
    assert watched.probe.next(101.0) is FINISHED
    assert "begin" not in watched.heard


def test_a_stop_in_the_probe_begins_nothing() -> None:
    watched = Watched(20)
    ticket = watched.start(100.0)
    watched.probe.stop()
    assert watched.probe.next(111.0) == Wait()
    watched.probe.settle(Done(ticket=ticket), 112.0)
    assert watched.probe.next(112.0) is FINISHED
    assert "begin" not in watched.heard


# --- from one engine to the next ---


class Slow:
    """An engine whose jobs end when they are told to."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ended: list[Done] = []
        self.patience: list[float | None] = []
        self.closed = False

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        self.started.append(ticket)

    def collect(self, timeout: float | None) -> list[Done]:
        self.patience.append(timeout)
        ended, self.ended = self.ended, []
        return ended

    def close(self) -> None:
        self.closed = True


def test_what_runs_in_the_first_engine_ends_there() -> None:
    first, second = Slow(), Slow()
    relay = Relay(first)
    relay.start(0, None, 1.0)
    relay.start(1, None, 1.0)
    first.ended = [Done(ticket=0)]
    assert [done.ticket for done in relay.collect(None)] == [0]
    relay.hand_to(second)
    relay.start(2, None, 1.0)
    assert (first.started, second.started) == ([0, 1], [2])
    assert relay.collect(None) == []
    assert first.patience[-1] == 0.0
    assert second.patience[-1] is not None  # else the first engine's job would wait for the second's
    first.ended, second.ended = [Done(ticket=1)], [Done(ticket=2)]
    assert [done.ticket for done in relay.collect(5.0)] == [1, 2]
    assert first.closed
    relay.collect(5.0)
    assert second.patience[-1] == 5.0
    relay.close()
    assert second.closed


def test_an_empty_first_engine_is_closed_at_once_and_a_full_one_at_the_end() -> None:
    first = Slow()
    Relay(first).hand_to(Slow())
    assert first.closed
    first, second = Slow(), Slow()
    relay = Relay(first)
    relay.start(0, None, 1.0)
    relay.hand_to(second)
    assert not first.closed
    relay.close()
    assert first.closed
    assert second.closed


# --- whole runs ---


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "cormorant.auto")
    return caplog


def engine_of(told: pytest.LogCaptureFixture) -> str:
    (line,) = [record.getMessage() for record in told.records if record.name == "cormorant.auto"]
    return line.split()[2].rstrip(":,")


def nap(item: int) -> tuple[int, str]:
    time.sleep(0.02)
    return item, threading.current_thread().name


def burn(item: int) -> tuple[int, int]:
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
    return item, os.getpid()


def noted(item: tuple[str, int]) -> int:
    """Leave a line for every call there ever was, whatever becomes of its value."""
    path, number = item
    with open(path, "a") as file:  # O_APPEND: whole lines, from every process
        file.write(f"{number}\n")
    return burn(number)[0]


async def awaited(item: int) -> int:
    return item


def test_who_waits_elsewhere_gets_threads(told: pytest.LogCaptureFixture) -> None:
    results = list(cormorant.map(nap, range(60), engine="auto"))
    assert sorted(result.value[0] for result in results) == list(range(60))
    assert engine_of(told) == "thread"
    assert len({result.value[1] for result in results}) > 8


@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: [0])(0)) < 2, reason="needs two cores")
def test_who_computes_gets_processes_and_each_item_is_run_once(
    told: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "calls")
    results = list(cormorant.map(noted, ((path, number) for number in range(30)), engine="auto", concurrency=2))
    assert engine_of(told) == "process"
    assert "process, 2 at once" in told.text
    assert sorted(result.value for result in results) == list(range(30))
    assert sorted(map(int, Path(path).read_text().split())) == list(range(30))


def test_what_cannot_travel_stays(told: pytest.LogCaptureFixture) -> None:
    here = os.getpid()
    results = list(cormorant.map(lambda item: burn(item), range(12), engine="auto"))
    assert {result.value[1] for result in results} == {here}
    assert engine_of(told) in ("greenlet", "thread")  # on a busy machine, waiting for a core looks like waiting
    assert any("cannot travel" in record.getMessage() or "one core" in record.getMessage() for record in told.records)


def test_results_that_cannot_travel_are_seen_in_the_probe(told: pytest.LogCaptureFixture) -> None:
    results = list(cormorant.map(lambda_after_burning, range(12), engine="auto"))
    assert all(result.ok for result in results)
    assert engine_of(told) != "process"


def lambda_after_burning(item: int) -> Any:
    burn(item)
    return lambda: item


def test_an_async_function_gets_asyncio(told: pytest.LogCaptureFixture) -> None:
    assert {result.value for result in cormorant.map(awaited, range(20), engine="auto")} == set(range(20))
    assert engine_of(told) == "asyncio"


def test_a_short_list_ends_in_the_probe(told: pytest.LogCaptureFixture) -> None:
    assert [result.value for result in cormorant.map(abs, [-1, -2], engine="auto")] == [1, 2]
    assert "the whole list was done within the probe" in told.text
    assert list(cormorant.map(abs, [], engine="auto")) == []


def test_a_hung_first_call_holds_nobody_up(told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cormorant.auto.CALLS_SECONDS", 0.2)
    let_go = threading.Event()

    def hangs_once(item: int) -> int:
        if item == 0:
            let_go.wait(30)
        return item

    order = []
    for result in cormorant.map(hangs_once, range(30), engine="auto", timeout=60):
        order.append(result.value)
        if len(order) == 29:
            let_go.set()
    assert order[-1] == 0
    assert sorted(order) == list(range(30))


def test_leaving_in_the_probe_and_after_it_ends_the_work() -> None:
    for enough in (2, 20):
        begun: list[int] = []

        def note(item: int, begun: list[int] = begun) -> int:
            begun.append(item)
            time.sleep(0.005)
            return item

        with contextlib.closing(cormorant.map(note, range(10_000), engine="auto")) as results:
            for _ in range(enough):
                next(results)
        seen = len(begun)
        time.sleep(0.05)
        assert len(begun) == seen < 200


def test_an_item_that_raises_or_is_late_is_an_outcome_in_the_probe_too() -> None:
    def rude(item: int) -> int:
        if item == 1:
            raise KeyError(item)
        if item == 2:
            time.sleep(5)
        return item

    results = {result.item: result.kind for result in cormorant.map(rude, range(20), engine="auto", timeout=0.3)}
    assert {item: kind for item, kind in results.items() if kind} == {1: "callback", 2: "timeout"}
    assert len(results) == 20


URLS = [f"https://host{number % 7}.example/{number}" for number in range(120)]


def scripted(seconds: float) -> Scripted:
    return Scripted({url: Reply(body=b"x", seconds=seconds) for url in URLS})


def test_pages_alone_widen_one_engine(told: pytest.LogCaptureFixture) -> None:
    outcomes = list(run(URLS, scripted(0.02), Options(engine="auto")))
    assert Counter(outcome.url for outcome in outcomes) == Counter(URLS)
    assert all(outcome.ok for outcome in outcomes)
    (line,) = [record.getMessage() for record in told.records]
    assert line.startswith("auto: engine greenlet, ")
    assert "median of 40" in line
    assert int(line.split()[3]) > 8


def refusing(good_every: int) -> Scripted:
    """Refused at once, but for every so many, which takes 50 ms."""
    refused = Reply(kind=cormorant.Kind.CONNECT)
    good = Reply(body=b"x", seconds=0.05)
    return Scripted({url: refused if number % good_every else good for number, url in enumerate(URLS)})


def test_failures_say_nothing_about_how_long_a_page_takes(told: pytest.LogCaptureFixture) -> None:
    outcomes = list(run(URLS, refusing(4), Options(engine="auto", retries=0, per_host=0)))
    assert Counter(outcome.ok for outcome in outcomes) == {False: 90, True: 30}
    (line,) = [record.getMessage() for record in told.records]
    assert float(re.search(r"a page takes ([\d.]+) ms \(median of \d+\)", line)[1]) >= 50


def test_too_few_good_pages_are_no_measure(told: pytest.LogCaptureFixture) -> None:
    outcomes = list(run(URLS, refusing(30), Options(engine="auto", retries=0, per_host=0)))
    assert len(outcomes) == len(URLS)
    (line,) = [record.getMessage() for record in told.records]
    assert re.search(r"engine greenlet, 64 at once: \d of \d+ pages were good, too few", line)


def test_no_wider_than_the_list_is_long(told: pytest.LogCaptureFixture) -> None:
    worker = open_fetch([(url, None) for url in URLS[:60]], Options(engine="auto"), transports=scripted(0.02))
    assert len(list(worker.run())) == 60
    assert "engine greenlet, 60 at once" in told.text


def test_a_width_that_was_asked_for_is_kept(told: pytest.LogCaptureFixture) -> None:
    assert len(list(run(URLS, scripted(0.0), Options(engine="auto", concurrency=3)))) == 120
    assert "auto: engine greenlet, 3 at once: pages alone" in told.text


def test_pages_that_all_hang_are_widened_when_the_time_is_over(
    told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cormorant.auto.PAGES_SECONDS", 0.2)
    outcomes = list(run(URLS, scripted(60.0), Options(engine="auto", timeout=0.6, per_host=0)))
    assert Counter(outcome.url for outcome in outcomes) == Counter(URLS)
    assert {outcome.kind for outcome in outcomes} == {cormorant.Kind.TIMEOUT}
    assert "no page came back within 0.2 s" in told.text or "no page came back within 200 ms" in told.text


def parse(page: cormorant.Page) -> int:
    time.sleep(0.01)
    return len(page.body)


def test_a_parse_function_that_blocks_gets_threads(told: pytest.LogCaptureFixture) -> None:
    worker = open_fetch(((url, None) for url in URLS), Options(engine="auto"), parse, transports=scripted(0.0))
    outcomes = list(worker.run())
    assert Counter(outcome.url for outcome in outcomes) == Counter(URLS)
    assert {outcome.data for outcome in outcomes} == {1}
    assert worker.engine == engine_of(told) == "thread"
    statistics = worker.statistics()
    assert (statistics.offered, statistics.ok, statistics.not_reached) == (120, 120, 0)


def test_afetch_is_asyncio() -> None:
    with pytest.raises(UsageError, match="'asyncio' only"):
        cormorant.afetch(["https://a.example/"], engine="auto")


def test_the_wire_is_told_from_other_waits() -> None:
    from cormorant.engines import job
    from cormorant.messages import Request
    from cormorant.scheduler.requests import first_request

    def both(request: Request) -> Any:
        time.sleep(0.02)
        running = job.current.get()
        assert running is not None
        assert running.wire is not None
        return running.wire.fetch(request)

    meter = probes.CallMeter(both, scripted(0.05))
    done = job.run(job.Job(0, time.monotonic() + 5, meter.blocking()), meter, first_request(URLS[0], None, (), 5.0))
    assert done.value.ok
    wall, cpu, wire = meter.medians()
    assert 0.05 <= wire <= wall - 0.02
    assert cpu < 0.02
