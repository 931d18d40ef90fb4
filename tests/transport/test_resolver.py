"""Names are looked up beside the loop: a dead zone delays only its own pages, under every coroutine engine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import cormorant
from cormorant import Kind
from cormorant.transport.resolver import MOST_THREADS, Question, Resolved, Resolver, lookup, name_in
from rude import Rude

EVENTED = ("greenlet", "gevent", "asyncio")


class Zone:
    """Stands in for the system's resolver: `dead` names answer only when the test lets them."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked: list[str] = []
        self._system = socket.getaddrinfo

    def getaddrinfo(self, name: str, *how: Any, **ever: Any) -> Any:
        self.asked.append(name)
        if name.startswith("dead"):
            self.release.wait(20)
        if name.startswith(("dead", "missing")):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._system("127.0.0.1" if name.endswith(".test") else name, *how, **ever)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zone]:
    zone = Zone()
    monkeypatch.setattr(socket, "getaddrinfo", zone.getaddrinfo)
    yield zone
    zone.release.set()


@pytest.mark.parametrize("engine", EVENTED)
def test_forty_dead_names_ahead_hold_up_nobody(engine: str, rude: Rude, zone: Zone) -> None:
    port = rude.url().split(":")[2].split("/")[0]
    dead = [f"http://dead{number}.test:{port}/ok" for number in range(40)]
    good = [f"http://good{number}.test:{port}/ok" for number in range(20)]
    outcomes = list(cormorant.fetch([*dead, *good], engine=engine, concurrency=64, timeout=2))
    assert [outcome.url for outcome in outcomes[:20]] != dead[:20]
    assert {outcome.url for outcome in outcomes[:20]} == set(good)
    assert all(outcome.ok for outcome in outcomes[:20])
    assert {(outcome.kind, getattr(outcome, "phase", "")) for outcome in outcomes[20:]} == {(Kind.TIMEOUT, "dns")}


@pytest.mark.parametrize("engine", EVENTED)
def test_a_name_is_looked_up_once_for_many_pages(engine: str, rude: Rude, zone: Zone) -> None:
    port = rude.url().split(":")[2].split("/")[0]
    pages = [f"http://one.test:{port}/ok/{number}" for number in range(30)]
    assert all(page.ok for page in cormorant.fetch(pages, engine=engine, concurrency=8))
    assert zone.asked == ["one.test"]


@pytest.mark.parametrize("engine", EVENTED)
def test_a_missing_name_is_a_dns_failure_every_time(engine: str, zone: Zone) -> None:
    pages = [f"http://missing.test/{number}" for number in range(4)]
    outcomes = list(cormorant.fetch(pages, engine=engine, concurrency=1, timeout=5))
    assert [outcome.kind for outcome in outcomes] == [Kind.DNS] * 4
    assert zone.asked == ["missing.test"]  # the failure is remembered for a while


@pytest.mark.parametrize("engine", EVENTED)
def test_a_guarded_run_checks_the_address_behind_the_name(engine: str, rude: Rude, zone: Zone) -> None:
    port = rude.url().split(":")[2].split("/")[0]
    (outcome,) = cormorant.fetch([f"http://inside.test:{port}/ok"], engine=engine, allow_private=False)
    assert outcome.kind is Kind.BLOCKED


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("example.org", "example.org"),
        ("server1", "server1"),
        ("127.0.0.1", None),
        ("[::1]", None),
        ("localhost", None),
        ("a.localhost", None),
        ("notlocalhost", "notlocalhost"),
    ],
)
def test_only_names_are_looked_up(host: str, name: str | None) -> None:
    assert name_in(host) == name


def test_the_systems_answer_is_taken_as_it_is() -> None:
    assert set(lookup("localhost").addresses) <= {"127.0.0.1", "::1"}
    assert lookup("localhost").addresses
    assert "Could not resolve host: no.such.invalid" in lookup("no.such.invalid").problem


def test_every_name_under_way_has_a_thread_up_to_the_limit() -> None:
    release, rung = threading.Event(), threading.Semaphore(0)
    looking = threading.Semaphore(0)

    def wait(name: str) -> Resolved:
        looking.release()
        release.wait(20)
        return Resolved(("127.0.0.1",))

    resolver = Resolver(rung.release, wait)
    answers: list[Resolved] = []
    for number in range(MOST_THREADS + 10):
        resolver.ask(Question(f"n{number}", lambda resolved, _seconds: answers.append(resolved)), 60)
    for _ in range(MOST_THREADS):
        assert looking.acquire(timeout=10)
    assert not looking.acquire(blocking=False)
    release.set()
    for _ in range(MOST_THREADS + 10):
        assert rung.acquire(timeout=10)
    resolver.answer()
    assert answers == [Resolved(("127.0.0.1",))] * (MOST_THREADS + 10)
    resolver.close()


def test_a_name_nobody_waits_for_any_more_is_not_looked_up() -> None:
    rung = threading.Semaphore(0)
    asked: list[str] = []
    release = threading.Event()

    def look_up(name: str) -> Resolved:
        asked.append(name)
        release.wait(10)
        return Resolved((name,))

    resolver = Resolver(rung.release, look_up)
    questions = [Question(f"n{number}", lambda resolved, _seconds: None) for number in range(MOST_THREADS + 20)]
    for question in questions:
        resolver.ask(question, 60)
    for question in questions[MOST_THREADS:]:
        question.is_withdrawn = True
    release.set()
    for _ in questions:
        assert rung.acquire(timeout=10)
    assert len(asked) == MOST_THREADS
    resolver.close()


def test_a_withdrawn_question_is_not_answered() -> None:
    rung = threading.Event()
    resolver = Resolver(rung.set, lambda name: Resolved((name,)))
    answers: list[Resolved] = []
    question = Question("a", lambda resolved, _seconds: answers.append(resolved))
    resolver.ask(question, 60)
    question.is_withdrawn = True
    assert rung.wait(10)
    resolver.answer()
    assert answers == []
    assert resolver.next_deadline() is None
    resolver.close()


@pytest.mark.parametrize("engine", EVENTED)
def test_names_and_deadlines_share_the_loops_one_timer(engine: str, rude: Rude, zone: Zone) -> None:
    """Names that are found just as pages run out of time ask for wakes of less than a millisecond."""
    port = rude.url().split(":")[2].split("/")[0]
    pages = [f"http://n{number}.test:{port}/{'hang' if number % 3 == 0 else 'slow/0.1'}" for number in range(150)]
    kinds = [page.kind for page in cormorant.fetch(pages, engine=engine, concurrency=30, timeout=2)]
    assert kinds.count(Kind.TIMEOUT) == 50
    assert kinds.count(None) == 100
