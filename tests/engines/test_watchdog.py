"""The watchdog: the call that holds a loop is named, the ones that do not are not."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import threading
import time
from typing import Any

import pytest

import cormorant
import engine_jobs
from cormorant import engines, opening
from cormorant.errors import UsageError
from cormorant.options import Options
from cormorant.watchdog import Held, Watchdog, _name
from rude import Rude

LOOPS = [name for name in engines.names() if engines.facts(name).one_loop]
LIMIT_SECONDS = 0.1

every_loop = pytest.mark.parametrize("engine", LOOPS)


async def blocks_in_async(seconds: float) -> None:
    await asyncio.sleep(0)
    time.sleep(seconds)  # noqa: ASYNC251  (the fault that is looked for)


def line_of(function: Any, text: str) -> str:
    """Return `file:line in function` for the one line of a function that holds `text`."""
    lines, first = inspect.getsourcelines(function)
    (number,) = (first + at for at, line in enumerate(lines) if text in line)
    return f"{inspect.getsourcefile(function)}:{number} in {function.__qualname__}"


def held_by(function: Any, items: list[Any], engine: str, **options: Any) -> tuple[Held, ...]:
    """Run `function` over `items` one after the other, so that each may hold the loop for itself."""
    words = {"concurrency": 1, "watchdog": LIMIT_SECONDS, **options}
    worker = opening.open_map(function, items, Options(engine=engine, **words))
    assert sum(1 for _ in worker.run()) == len(items)
    return worker.statistics().held


@pytest.mark.slow
@every_loop
@pytest.mark.parametrize(
    ("function", "text"), [(engine_jobs.sleep_seconds, "time.sleep"), (engine_jobs.spin_seconds, "while ")]
)
def test_the_line_that_holds_the_loop_is_named_with_its_job(engine: str, function: Any, text: str) -> None:
    (held,) = held_by(function, [0.001, 0.3, 0.002], engine)
    file, line, name = re.split(r":| in ", line_of(function, text))
    seen_file, seen_line, seen_name = re.split(r":| in ", held.place)
    assert (seen_file, seen_name) == (file, name)
    assert int(seen_line) - int(line) in (0, 1)  # a loop's body is seen too
    assert held.job == "0.3"
    assert held.times == 1
    assert 0.2 < held.longest_seconds == held.seconds
    assert text in held.stack


class Unspeakable:
    """An item that cannot say what it is."""

    def __init__(self, error: type[Exception]) -> None:
        self.error, self.asked = error, 0

    def __repr__(self) -> str:
        self.asked += 1
        raise self.error("no name")


class HalfBuilt:
    """An item whose attributes raise."""

    @property
    def url(self) -> str:
        raise ValueError("not yet")


def naps(_item: Any) -> None:
    time.sleep(0.25)


@pytest.mark.slow
@every_loop
@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_an_item_that_cannot_be_named_is_named_by_its_type(engine: str, error: type[Exception]) -> None:
    item = Unspeakable(error)
    (held,) = held_by(naps, [item, HalfBuilt()], engine)
    assert (held.job, held.times) == ("Unspeakable", 2)
    assert item.asked == 1  # looked at many times, asked once


def test_a_name_is_short_whatever_the_item() -> None:
    assert _name(0.3) == "0.3"
    assert _name(("a", 1)) == "('a', 1)"
    assert len(_name("x" * 10_000_000)) <= 201
    elements = [Unspeakable(ValueError) for _ in range(1000)]
    assert _name(elements) == "list"
    assert sum(element.asked for element in elements) == 1
    assert len(_name([list(range(10))] * 1_000_000)) <= 201
    assert _name(10**5000) == "int"  # Python refuses to write it
    assert _name(HalfBuilt()) == "HalfBuilt"


def test_a_loop_that_is_closed_ends_the_watch_quietly() -> None:
    asked = threading.Event()

    def refuse(_callback: Any) -> None:
        asked.set()
        raise RuntimeError("Event loop is closed")

    watchdog = Watchdog(LIMIT_SECONDS)
    watchdog.watch(refuse)
    assert asked.wait(10)
    watchdog.close()
    assert watchdog.held() == ()


def short_then_long(_item: Any) -> None:
    time.sleep(0.1)
    time.sleep(0.24)


@pytest.mark.slow
@every_loop
def test_a_hold_is_shared_out_by_time_and_not_by_looks(engine: str) -> None:
    """Looks become rarer while a hold goes on: of the second nap there are fewer."""
    places = {held.place: held for held in held_by(short_then_long, [1], engine, watchdog=0.02)}
    short, long = (places[line_of(short_then_long, text)] for text in ("sleep(0.1)", "sleep(0.24)"))
    assert short.seconds < long.seconds
    assert short.seconds + long.seconds > 0.3


@pytest.mark.slow
def test_a_call_in_an_async_function_is_named() -> None:
    (held,) = held_by(blocks_in_async, [0.3], "asyncio")
    assert held.place == line_of(blocks_in_async, "time.sleep")
    assert held.job == "0.3"


@pytest.mark.slow
@every_loop
def test_a_place_is_told_once_and_counted(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cormorant.watchdog"):
        (held,) = held_by(engine_jobs.sleep_seconds, [0.3, 0.3, 0.3], engine)
    assert held.times == 3
    assert held.seconds > 2 * held.longest_seconds
    (message,) = caplog.messages
    assert held.place in message
    assert "time.sleep(seconds)" in message


@pytest.mark.slow
@every_loop
def test_two_places_are_told_apart(engine: str, rude: Rude) -> None:
    def parse(page: cormorant.Page) -> None:
        time.sleep(0.25)

    worker = opening.open_fetch(
        [(rude.url(f"/ok/{number}"), number) for number in range(2)],
        Options(engine=engine, watchdog=LIMIT_SECONDS, concurrency=1),
        parse,
    )
    for _page in worker.run():
        time.sleep(0.35)
    places = {held.place: held for held in worker.statistics().held}
    parsing = places[line_of(parse, "time.sleep")]
    assert parsing.job in {rude.url("/ok/0"), rude.url("/ok/1")}
    (here,) = (
        held for place, held in places.items() if place.endswith(f"in {test_two_places_are_told_apart.__name__}")
    )
    assert here.place.endswith(f"in {test_two_places_are_told_apart.__name__}")
    assert here.times == 2


@every_loop
def test_short_calls_and_waiting_jobs_hold_nothing(engine: str, rude: Rude) -> None:
    urls = [rude.url(f"/ok/{number}?ms=400") for number in range(8)]
    assert held_by(engine_jobs.status_of, urls, engine, concurrency=8) == ()


@pytest.mark.slow
def test_a_consumer_that_blocks_in_afetch_is_named(rude: Rude) -> None:
    async def consume() -> tuple[Held, ...]:
        worker = opening.open_fetch(
            [(rude.url(f"/ok/{number}"), number) for number in range(3)],
            Options(engine="asyncio", watchdog=LIMIT_SECONDS),
        )
        async for page in worker.arun():
            if page.line == 1:
                time.sleep(0.3)  # noqa: ASYNC251
        return worker.statistics().held

    (held,) = asyncio.run(consume())
    assert "consume" in held.place
    assert held.job is None


@pytest.mark.slow
def test_another_task_that_blocks_beside_afetch_is_not_called_ours(
    rude: Rude, caplog: pytest.LogCaptureFixture
) -> None:
    async def stranger() -> None:
        await asyncio.sleep(0.05)
        time.sleep(0.25)  # noqa: ASYNC251

    async def consume() -> None:
        beside = asyncio.create_task(stranger())
        async for _page in cormorant.afetch([rude.url("/slow/0.4")], watchdog=LIMIT_SECONDS):
            pass
        await beside

    asyncio.run(consume())
    (message,) = caplog.messages
    assert "stranger (no job of ours: another task, or the loop over the outcomes)" in message


@every_loop
def test_nobody_watches_after_the_end(engine: str, rude: Rude) -> None:
    pages = cormorant.fetch([rude.url("/ok/1"), rude.url("/hang")], engine=engine, watchdog=0.05)
    assert next(pages).ok
    assert "cormorant-watchdog" in {thread.name for thread in threading.enumerate()}
    pages.close()
    assert "cormorant-watchdog" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("engine", sorted(set(engines.names()) - set(LOOPS)))
def test_an_engine_without_a_loop_says_so(engine: str) -> None:
    with pytest.raises(UsageError, match=f"'{engine}' has no loop .* use greenlet, gevent, asyncio"):
        cormorant.fetch([], engine=engine, watchdog=0.1)


@pytest.mark.parametrize("seconds", [0, -1, 0.001, "0.1", True])
def test_a_limit_that_cannot_be_is_refused(seconds: Any) -> None:
    with pytest.raises(UsageError, match="watchdog is"):
        cormorant.fetch([], watchdog=seconds)
