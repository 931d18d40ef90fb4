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
from cormorant import api, engines
from cormorant.errors import UsageError
from cormorant.options import Options
from cormorant.watchdog import Held
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
    worker = api.open_map(function, items, Options(engine=engine, **words))
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

    worker = api.open_fetch(
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
        worker = api.open_fetch(
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
