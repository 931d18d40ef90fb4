"""A hop whose kept connection must not be used is made again, and its time goes on from where it began first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pycurl
import pytest

from cormorant.messages import Kind, Outcome
from cormorant.options import Options
from cormorant.transport import Curl
from driving import EventedDriver, asking
from rude import Rude

PAUSE_SECONDS = 0.2
Start = Callable[[str, float], list[Outcome]]


@pytest.fixture
def driver(rude: Rude) -> Iterator[EventedDriver]:
    """A driver whose one kept connection is not to be used again."""
    driver = EventedDriver(Curl(Options()))
    assert driver.fetch(asking(rude.url("/ok"))).ok
    (connection,) = driver.transport._connections._known
    driver.transport._connections.distrust(connection)
    rude.clear_log()
    yield driver
    driver.close()


@pytest.fixture
def start(driver: EventedDriver) -> Start:
    """Start a hop and let nothing of it happen yet."""

    def begin(url: str, seconds: float) -> list[Outcome]:
        came: list[Outcome] = []
        driver.transport.start(asking(url, seconds), came.append)
        return came

    return begin


def test_a_pause_before_it_is_made_again_is_not_taken_off_twice(
    driver: EventedDriver, start: Start, rude: Rude
) -> None:
    came = start(rude.url("/slow/0.05"), 5.0)
    (exchange,) = driver.transport._running.values()
    time.sleep(PAUSE_SECONDS)
    driver.transport.paused(PAUSE_SECONDS)
    driver.loop.run_until(lambda: bool(came))
    assert exchange.loads == 3  # the page before, this one, this one again
    (page,) = came
    assert page.kind is None
    assert page.timings.total >= page.timings.first_byte >= 0.04
    assert min(page.timings.connect, page.timings.body) >= 0.0
    assert len(rude.log()) == 1


def test_one_that_was_to_end_is_made_again_without_that(driver: EventedDriver, start: Start, rude: Rude) -> None:
    came = start(rude.url("/slow/0.05"), 5.0)
    (exchange,) = driver.transport._running.values()
    exchange.end_now()
    exchange._surplus = True  # as libcurl's callback would, had it come so far within its millisecond
    driver.transport._end(exchange.curl, (pycurl.E_ABORTED_BY_CALLBACK, ""))
    assert exchange.loads == 3
    driver.loop.run_until(lambda: bool(came))
    assert came[0].kind is None, came[0].message


def test_one_that_is_late_before_it_is_made_again_ends_all_the_same(
    driver: EventedDriver, start: Start, rude: Rude
) -> None:
    """Its deadline counts from its first load; nothing of the second one may put it off or lose it."""
    came = start(rude.url("/hang"), 0.01)
    time.sleep(0.02)
    driver.transport._end_late()  # before libcurl has looked at it at all
    driver.loop.run_until(lambda: bool(came), seconds=5)
    (failure,) = came
    assert failure.kind is Kind.TIMEOUT
    assert failure.timings.total >= 0.0


def test_its_deadline_counts_from_its_first_load(driver: EventedDriver, start: Start, rude: Rude) -> None:
    came = start(rude.url("/hang"), 0.3)
    (exchange,) = driver.transport._running.values()
    began, ends_at = exchange.began, exchange.ends_at
    time.sleep(0.05)
    driver.loop.turn(0.0)
    assert exchange.loads == 3
    assert (exchange.began, exchange.ends_at) == (began, ends_at)
    driver.loop.run_until(lambda: bool(came))
    assert came[0].kind is Kind.TIMEOUT
