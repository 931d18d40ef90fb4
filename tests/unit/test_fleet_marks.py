"""What a dead worker had under way: read from its file, and blamed by how it died."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cormorant.fleet.marks import Marks, blamed, print_of
from cormorant.messages import Page, Request

URLS = [f"http://a.example/{number}" for number in range(4)]


def mark(url: str) -> int:
    return print_of(Request(url=url, target=url, input=url))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "marks"


def test_a_page_has_the_print_of_its_request() -> None:
    request = Request(url=URLS[0], target=URLS[1], input="a.example/0", line=7)
    assert print_of(request) == print_of(Page(url=URLS[0], status=200, input="a.example/0", line=7))
    assert print_of(request) != print_of(Page(url=URLS[0], status=200, input="a.example/0", line=8))


def test_a_crash_is_blamed_on_all_that_was_under_way(path: Path) -> None:
    marks = Marks(path, 2)
    for url in URLS[:2]:
        marks.begin(mark(url))
    marks.end(mark(URLS[0]))
    marks.begin(mark(URLS[2]))
    assert sorted(blamed(path, is_crash=True)) == sorted(map(mark, URLS[1:3]))


def test_a_kill_from_outside_is_blamed_on_nobody(path: Path) -> None:
    marks = Marks(path, 2)
    marks.begin(mark(URLS[0]))
    assert blamed(path, is_crash=False) == []


@pytest.mark.parametrize("is_crash", [True, False])
def test_a_death_in_a_function_is_blamed_on_what_it_ran_for(path: Path, is_crash: bool) -> None:
    marks = Marks(path, 3)
    seen: list[list[int]] = []
    look = marks.watched(lambda page: seen.append(blamed(path, is_crash)))
    for url in URLS[:3]:
        marks.begin(mark(url))
    look(Page(url=URLS[1], status=200, input=URLS[1]))
    assert seen == [[mark(URLS[1])]]
    assert len(blamed(path, is_crash=True)) == 3, "the function has returned"


def test_an_awaited_function_is_watched_until_it_has_returned(path: Path) -> None:
    marks = Marks(path, 2)
    for url in URLS[:2]:
        marks.begin(mark(url))

    async def parse(page: Page) -> list[int]:
        await asyncio.sleep(0)
        return blamed(path, is_crash=False)

    found = asyncio.run(marks.watched(parse)(Page(url=URLS[0], status=200, input=URLS[0])))
    assert found == [mark(URLS[0])]
    assert blamed(path, is_crash=False) == []


def test_a_worker_that_died_before_it_began_is_blamed_on_nobody(path: Path) -> None:
    assert blamed(path, is_crash=True) == []
