"""A loop that was held up ends no hop: whether it is told of the pause, or comes late without a word."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cormorant
from cormorant import engines
from cormorant.messages import Kind, Outcome
from cormorant.options import Options
from cormorant.transport import Curl
from cormorant.transport.deadlines import TimedExchange
from driving import EventedDriver, asking
from rude import Rude

PAUSE_SECONDS = 1.0

told_or_not = pytest.mark.parametrize("told", [True, False], ids=["told", "late"])


@pytest.fixture
def drive() -> Iterator[Callable[..., EventedDriver]]:
    """Build evented drivers, `drive(**options)`, that are closed when the test is over."""
    drivers: list[EventedDriver] = []

    def build(**options: Any) -> EventedDriver:
        drivers.append(EventedDriver(Curl(Options(**options))))
        return drivers[-1]

    yield build
    for driver in drivers:
        driver.close()


def fetch_with_pause(driver: EventedDriver, url: str, seconds: float, told: bool, turns: int) -> Outcome:
    """Start a hop, let the loop turn a few times, hold it up, go on."""
    came: list[Outcome] = []
    driver.transport.start(asking(url, seconds), came.append)
    for _ in range(turns):
        driver.loop.turn(0.05)
    assert not came
    time.sleep(PAUSE_SECONDS)
    if told:
        driver.transport.paused(PAUSE_SECONDS)
    driver.loop.run_until(lambda: bool(came))
    return came[0]


@told_or_not
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_connection_made_meanwhile_is_no_timeout(
    turns: int, told: bool, rude: Rude, trusted: None, drive: Callable[..., EventedDriver]
) -> None:
    """Whatever the handshake still needs."""
    page = fetch_with_pause(drive(connect_timeout=0.4), rude.https_url("/slow/0.3"), 5.0, told, turns)
    assert (page.kind, page.message) == (None, None)


@told_or_not
def test_an_answer_that_came_meanwhile_is_no_timeout(
    told: bool, rude: Rude, drive: Callable[..., EventedDriver]
) -> None:
    page = fetch_with_pause(drive(), rude.url("/slow/0.3"), 0.6, told, 3)
    assert (page.kind, page.message) == (None, None)
    assert not told or page.timings.total < 0.6


@told_or_not
@pytest.mark.parametrize(("path", "phase"), [("/hang", "first_byte"), ("/drip", "body"), ("/stall-at/9000", "body")])
def test_what_hangs_ends_soon_after_the_pause(
    path: str, phase: str, told: bool, rude: Rude, drive: Callable[..., EventedDriver]
) -> None:
    start = time.monotonic()
    failure = fetch_with_pause(drive(), rude.url(path), 0.5, told, 3)
    assert (failure.kind, getattr(failure, "phase", None)) == (Kind.TIMEOUT, phase)
    assert "timed out after" in (failure.message or "")
    assert time.monotonic() - start < PAUSE_SECONDS + 2


@told_or_not
def test_a_swallowed_connection_ends_soon_after_the_pause(
    told: bool, deaf_url: str, drive: Callable[..., EventedDriver]
) -> None:
    failure = fetch_with_pause(drive(connect_timeout=0.4), deaf_url, 20.0, told, 3)
    assert (failure.kind, getattr(failure, "phase", None)) == (Kind.TIMEOUT, "connect")
    assert failure.timings.total < PAUSE_SECONDS + 2


def test_a_hop_without_a_known_socket_ends_in_time_too(
    monkeypatch: pytest.MonkeyPatch, rude: Rude, drive: Callable[..., EventedDriver]
) -> None:
    monkeypatch.setattr(TimedExchange, "descriptor", None)
    failure = drive().fetch(asking(rude.url("/hang"), 0.3))
    assert (failure.kind, getattr(failure, "phase", None)) == (Kind.TIMEOUT, "first_byte")


def test_a_handle_that_was_late_fetches_again(rude: Rude, drive: Callable[..., EventedDriver]) -> None:
    driver = drive()
    assert driver.fetch(asking(rude.url("/hang"), 0.3)).kind is Kind.TIMEOUT
    assert driver.fetch(asking(rude.url("/slow/0.3"), 5.0)).kind is None


def test_a_name_found_meanwhile_is_no_timeout(
    monkeypatch: pytest.MonkeyPatch, rude: Rude, drive: Callable[..., EventedDriver]
) -> None:
    found = threading.Event()

    def look_up(*_what: Any, **_how: Any) -> Any:
        time.sleep(0.2)
        found.set()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    url = rude.url("/ok", host="found-late.test")
    page = fetch_with_pause(drive(connect_timeout=0.6), url, 0.8, True, 1)
    assert found.is_set()
    assert (page.kind, page.message) == (None, None)


def test_what_a_name_took_is_part_of_connecting(
    monkeypatch: pytest.MonkeyPatch, deaf_url: str, drive: Callable[..., EventedDriver]
) -> None:
    """One connect timeout for both, as where libcurl looks the name up itself."""

    def look_up(*_what: Any, **_how: Any) -> Any:
        time.sleep(0.7)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    url = deaf_url.replace("127.0.0.1", "slow-name.test")
    failure = drive(connect_timeout=1.0).fetch(asking(url, 20.0))
    assert (failure.kind, getattr(failure, "phase", None)) == (Kind.TIMEOUT, "connect")
    assert 0.9 < failure.timings.total < 1.5


@pytest.mark.parametrize("seconds", [0.0005, 0.001, 0.0015, 0.002, 0.004])
def test_a_deadline_shorter_than_libcurls_clock_ends_the_hop_too(
    seconds: float, rude: Rude, drive: Callable[..., EventedDriver]
) -> None:
    """What libcurl is told to end, it ends a millisecond after it began itself: later than we did."""
    driver = drive()
    came: list[Outcome] = []
    for _ in range(20):
        driver.transport.start(asking(rude.url("/hang"), seconds), came.append)
    driver.loop.run_until(lambda: len(came) == 20)
    assert {outcome.kind for outcome in came} == {Kind.TIMEOUT}


@pytest.mark.parametrize("engine", ["greenlet", "gevent", "asyncio"])
def test_a_tiny_timeout_ends_every_page_under_every_loop(engine: str, rude: Rude) -> None:
    if engines.missing(engine):
        pytest.skip(f"{engine} is not installed")
    for timeout in (0.001, 0.002):
        pages = list(
            cormorant.fetch(
                [rude.url(f"/hang?{number}") for number in range(20)], engine=engine, timeout=timeout, per_host=0
            )
        )
        assert [page.kind for page in pages] == [Kind.TIMEOUT] * 20
