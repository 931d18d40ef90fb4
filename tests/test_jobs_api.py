"""`job=` of `fetch`, `afetch`, `crawl`, `acrawl`: who leaves the loop, or dies in it, goes on by the same call."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cormorant
from rude import Rude
from rude.crawling import ROBOTS

HASTY: Any = {"delay": 0, "per_host": 4, "retries": 0}


@pytest.fixture
def urls(rude: Rude) -> list[str]:
    rude.clear_log()
    return [rude.url(f"/ok/{number}") for number in range(12)]


@pytest.fixture
def job(tmp_path: Path) -> str:
    return str(tmp_path / "job")


@pytest.fixture
def output(tmp_path: Path) -> str:
    return str(tmp_path / "out.jsonl")


def some(outcomes: Iterator[cormorant.Outcome], number: int) -> list[str]:
    """Take so many, leave the loop, and return their URLs."""
    taken = []
    for outcome in outcomes:
        taken.append(outcome.url)
        if len(taken) == number:
            break
    return taken


def kept(output: str) -> list[str]:
    return sorted(outcome.url for outcome in cormorant.read(output))


# --- a list ---


@pytest.mark.parametrize("engine", ["serial", "thread", "greenlet"])
def test_who_leaves_the_loop_goes_on(urls: list[str], job: str, output: str, engine: str) -> None:
    words: Any = {"output": output, "job": job, "engine": engine}
    first = some(cormorant.fetch(urls, **words), 3)
    assert set(first) <= set(kept(output))
    second = some(cormorant.fetch(urls, **words), 4)
    rest = [outcome.url for outcome in cormorant.fetch(urls, **words)]
    assert kept(output) == sorted(urls)
    assert not set(first) & {*second, *rest}
    assert list(cormorant.fetch(urls, **words)) == []
    assert [*Path(job).iterdir()] == [Path(job, "journal.sqlite")]


def test_without_an_output_what_was_handed_over_counts(urls: list[str], job: str) -> None:
    first = some(cormorant.fetch(urls, job=job), 5)
    rest = [outcome.url for outcome in cormorant.fetch(urls, job=job)]
    assert Counter([*first, *rest]) == Counter(urls)


def test_an_output_may_be_a_path(urls: list[str], job: str, output: str) -> None:
    words: Any = {"job": job, "output": Path(output)}
    some(cormorant.fetch(urls, **words), 3)
    some(cormorant.fetch(urls, **words), 99)
    assert kept(output) == sorted(urls)


def test_who_dies_in_the_loop_goes_on(urls: list[str], job: str, output: str) -> None:
    def die() -> None:
        for number, _ in enumerate(cormorant.fetch(urls, job=job, output=output)):
            if number == 4:
                raise KeyError("a bug of the caller's")

    with pytest.raises(KeyError):
        die()
    assert len(list(cormorant.fetch(urls, job=job, output=output))) < 12
    assert kept(output) == sorted(urls)


def test_a_generator_is_read_as_it_is_needed(urls: list[str], job: str) -> None:
    def slowly() -> Iterator[str]:
        for number, url in enumerate(urls):
            read.append(number)
            yield url

    read: list[int] = []
    words: Any = {"job": job, "engine": "serial", "concurrency": 1}
    first = some(cormorant.fetch(slowly(), **words), 2)
    assert len(read) <= 4
    read.clear()
    rest = [outcome.url for outcome in cormorant.fetch(slowly(), **words)]
    assert read == list(range(12))
    assert Counter([*first, *rest]) == Counter(urls)


def test_another_list_is_refused_and_a_longer_one_taken(urls: list[str], job: str) -> None:
    assert len(list(cormorant.fetch(urls[:4], job=job))) == 4
    for other in (urls[1:], urls[:3], []):
        with pytest.raises(cormorant.UsageError, match="does not begin with the 4 URLs that the job was given before"):
            cormorant.fetch(other, job=job)
    assert [outcome.url for outcome in cormorant.fetch(urls[:5], job=job)] == urls[4:5]


def test_bad_urls_and_duplicates_over_a_break(urls: list[str], job: str, output: str) -> None:
    mixed = ["no url", urls[0], "no url", urls[0], "", urls[1], "no url"]
    seen = []
    for _ in range(10):
        seen += some(cormorant.fetch(mixed, job=job, output=output, engine="serial"), 1)
    lines = Counter((outcome.line, outcome.input) for outcome in cormorant.read(output))
    assert lines == {(1, "no url"): 1, (2, urls[0]): 1, (3, "no url"): 1, (5, ""): 1, (6, urls[1]): 1, (7, "no url"): 1}
    assert len(seen) == 6


def test_what_is_fixed_and_what_is_free(urls: list[str], job: str, output: str) -> None:
    words: Any = {"job": job, "output": output}
    list(cormorant.fetch(urls, **words))
    for changed in ({"output": f"{output}.gz"}, {"keep_duplicates": True}, {"parse": len}, {"output": None}):
        with pytest.raises(cormorant.UsageError, match=r"was begun with .*, and now it is"):
            cormorant.fetch(urls, **words | changed)
    with pytest.raises(cormorant.UsageError, match=r"command cormorant\.fetch, and now it is command cormorant\.crawl"):
        cormorant.crawl(urls, **words)
    assert list(cormorant.fetch(urls, **words, engine="thread", timeout=3, header={"a": "b"}, retries=1)) == []


def test_a_word_that_says_what_is_so_anyhow_changes_nothing(urls: list[str], job: str) -> None:
    list(cormorant.fetch(urls, job=job))
    assert list(cormorant.fetch(urls, job=job, keep_duplicates=False, since=None)) == []
    list(cormorant.crawl(urls[:1], job=f"{job}2", **HASTY))
    assert list(cormorant.crawl(urls[:1], job=f"{job}2", scope="host", include=(), max_pages=None, **HASTY)) == []


class Told:
    """A parse function with a state."""

    def __call__(self, page: cormorant.Page) -> int:
        return page.status


def told(page: cormorant.Page, more: int) -> int:
    return page.status + more


@pytest.mark.parametrize("parse", [Told(), functools.partial(told, more=0)], ids=["object", "partial"])
def test_a_parse_function_need_not_be_a_plain_one(urls: list[str], job: str, parse: Any) -> None:
    for _ in range(2):
        for outcome in cormorant.fetch(urls, job=job, parse=parse, engine="thread"):
            assert outcome.data == 200


def test_a_call_that_nobody_looks_at_holds_no_job(urls: list[str], job: str, output: str) -> None:
    cormorant.fetch(urls, job=job, output=output).close()
    assert len(list(cormorant.fetch(urls, job=job, output=output))) == 12


def test_a_call_in_your_own_loop_that_nobody_looks_at_holds_no_job(urls: list[str], job: str, output: str) -> None:
    async def twice() -> int:
        cormorant.afetch(urls, job=job, output=output)
        return len([outcome async for outcome in cormorant.afetch(urls, job=job, output=output)])

    assert asyncio.run(twice()) == 12


def test_two_at_once_are_refused(urls: list[str], job: str) -> None:
    outcomes = cormorant.fetch(urls, job=job)
    next(outcomes)
    with pytest.raises(cormorant.UsageError, match=r"in use by another run .*; wait for it, or close its generator"):
        cormorant.fetch(urls, job=job)
    outcomes.close()
    assert len(list(cormorant.fetch(urls, job=job))) <= 11


# --- in your own loop ---


def test_in_your_own_loop(urls: list[str], job: str, output: str) -> None:
    async def left() -> str:
        async with contextlib.aclosing(cormorant.afetch(urls, job=job, output=output)) as outcomes:
            return (await anext(outcomes)).url

    async def twice() -> list[str]:
        first = await left()
        return [first] + [outcome.url async for outcome in cormorant.afetch(urls, job=job, output=output)]

    found = asyncio.run(twice())
    assert len(found) == len(set(found))
    assert kept(output) == sorted(urls)


def test_a_task_that_is_cancelled_lets_go_of_the_job(rude: Rude, urls: list[str], job: str, output: str) -> None:
    words: Any = {"job": job, "output": output}
    all_but_one = asyncio.Event()

    async def cancelled() -> None:
        count = 0
        async for _ in cormorant.afetch([*urls, rude.url("/hang")], **words):
            count += 1
            if count == len(urls):
                all_but_one.set()

    async def both() -> None:
        task = asyncio.create_task(cancelled())
        await all_but_one.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        left = [outcome.url async for outcome in cormorant.afetch([*urls, rude.url("/hang")], **words, timeout=0.2)]
        assert left == [rude.url("/hang")]  # what was handed over is kept

    asyncio.run(both())
    assert Counter(kept(output)).most_common(1)[0][1] == 1
    assert len(kept(output)) == 13


# --- a crawl ---


def test_a_crawl_goes_on(rude: Rude, job: str, output: str) -> None:
    seed = rude.url("/web/home", ROBOTS["plain"])
    whole = Counter(outcome.url for outcome in cormorant.crawl([seed], **HASTY))
    rude.clear_log()
    left: list[cormorant.LeftOut] = []
    words: Any = HASTY | {"job": job, "output": output, "report_skipped": left.extend}
    found = []
    for number in (1, 2, 3, 4, 100):
        found += some(cormorant.crawl([seed], **words), number)
    assert Counter(kept(output)) == whole
    assert len(found) == len(set(found))
    assert [one.reason for one in left] == ["scope"]
    assert [hit.path for hit in rude.log()].count("/robots.txt") == 1


def test_what_is_left_out_for_a_budget_is_told_once(rude: Rude, job: str) -> None:
    """Also where the caller leaves in the middle of a round, with outcomes before it that nobody took."""
    seeds = [rude.url("/links/5", f"127.0.0.{number}") for number in (7, 8, 9)]
    left: list[cormorant.LeftOut] = []
    words: Any = HASTY | {"job": job, "max_pages": 4, "per_host": 8, "report_skipped": left.extend}
    found = []
    for _ in range(8):
        found += some(cormorant.crawl(seeds, **words), 1)
    assert len(found) == 4
    assert Counter(one.url for one in left).most_common(1)[0][1] == 1


def test_a_crawl_in_your_own_loop(rude: Rude, job: str) -> None:
    seed = rude.url("/web/home", ROBOTS["plain"])

    async def crawl(number: int) -> list[str]:
        async with contextlib.aclosing(cormorant.acrawl([seed], job=job, **HASTY)) as pages:
            return [page.url async for _, page in _numbered(pages, number)]

    found = asyncio.run(crawl(4)) + asyncio.run(crawl(100))
    assert len(found) == len(set(found)) == 17


async def _numbered(pages: Any, number: int) -> Any:
    count = 0
    async for page in pages:
        count += 1
        yield count, page
        if count == number:
            return
