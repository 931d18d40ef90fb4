"""The public face as a user's type checker sees it. Never run: `tests/test_public.py` has mypy --strict read it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, assert_type

import cormorant


def title(page: cormorant.Page) -> str:
    return page.text.partition("<title>")[2].partition("</title>")[0]


def size(url: str) -> int:
    return len(cormorant.get(url, timeout=5, header={"Accept": "text/html"}).body)


async def asize(url: str) -> int:
    page = await cormorant.aget(url, method="POST", body=b"x", header=[("Content-Type", "text/plain")])
    return assert_type(len(page.body), int)


def shown(result: cormorant.Result) -> None:
    assert_type(result.ok, bool)
    assert_type(result.kind, cormorant.Kind | None)


def fetched(urls: list[str]) -> None:
    pages = cormorant.fetch(
        urls,
        engine="greenlet",
        concurrency=100,
        timeout=30.0,
        connect_timeout=10,
        max_body=0,
        no_body=False,
        retries=2,
        per_host=8,
        delay=0.5,
        allow_private=False,
        header={"Accept-Language": "en"},
        user_agent="me/1.0",
        proxy=None,
        insecure=False,
        keep_duplicates=True,
        parse=title,
        output="pages.jsonl",
        format="jsonl",
        overwrite=True,
    )
    assert_type(pages, Generator[cormorant.Page | cormorant.Failure, None, None])
    for outcome in pages:
        one(outcome)
    pages.close()


def one(outcome: cormorant.Outcome) -> None:
    assert_type(outcome.url, str)
    assert_type(outcome.ok, bool)
    assert_type(outcome.kind, cormorant.Kind | None)
    assert_type(outcome.status, int | None)
    assert_type(outcome.timings, cormorant.Timings)
    assert_type(outcome.redirects, tuple[cormorant.Redirect, ...])
    assert_type(outcome.header("content-type"), str | None)
    if isinstance(outcome, cormorant.Page):
        assert_type(outcome.status, int)
        assert_type(outcome.text, str)
        assert_type(outcome.charset, str)
    else:
        assert_type(outcome, cormorant.Failure)
        assert_type(outcome.message, str)
        assert_type(outcome.phase, str | None)


async def afetched(urls: list[str]) -> None:
    pages = cormorant.afetch(urls, concurrency=10)
    assert_type(pages, AsyncGenerator[cormorant.Page | cormorant.Failure, None])
    async for outcome in pages:
        one(outcome)


def crawled(seeds: list[str]) -> None:
    left: list[cormorant.LeftOut] = []
    pages = cormorant.crawl(
        seeds,
        scope="domain",
        depth=3,
        max_pages=10_000,
        max_pages_per_host=None,
        include=["/blog/"],
        exclude=(r"\?sort=",),
        sitemaps=True,
        prefer=["/new/"],
        obey_meta=True,
        drop_tracking=True,
        robots=True,
        delay=1,
        jitter=0.5,
        polite_by="address",
        throttle=True,
        breaker=10,
        max_delay=30,
        max_retry_after=300.0,
        parse=title,
        report_skipped=left.extend,
    )
    assert_type(pages, Generator[cormorant.Page | cormorant.Failure, None, None])
    for outcome in pages:
        assert_type(outcome.found, cormorant.Found | None)
        if isinstance(outcome, cormorant.Page):
            assert_type(outcome.links()[0].url, str)
            assert_type(outcome.robots, tuple[bool, bool])
            assert_type(outcome.json(), Any)
            assert_type(outcome.unchanged, bool)


async def acrawled(seeds: list[str]) -> None:
    async for outcome in cormorant.acrawl(seeds, depth=2, output="site.jsonl"):
        one(outcome)


def mapped(urls: list[str]) -> None:
    results = cormorant.map(size, urls, engine="process", callback=shown)
    assert_type(results, Generator[cormorant.Result, None, None])
    assert_type([result.value for result in cormorant.map(asize, urls, engine="asyncio")], list[Any])


def compared(urls: list[str]) -> None:
    comparison = cormorant.compare(urls, engines=["thread", "greenlet"], concurrency=[50, 500], repeat=5)
    assert_type(comparison, cormorant.Comparison)
    assert_type(comparison.trials[0].pages_per_second, float | None)
    assert_type(comparison.json(), bytes)


def errors() -> None:
    try:
        assert_type(cormorant.get("https://example.org/"), cormorant.Page)
    except cormorant.FetchError as error:
        assert_type(error.failure, cormorant.Failure)
    except (cormorant.BadURL, cormorant.UsageError, cormorant.MissingPackage):
        pass
    except (cormorant.OutputError, cormorant.EngineLost, cormorant.CormorantError):
        pass
    except cormorant.DeadlineExceeded:
        raise


def misused() -> None:
    cormorant.fetch(["https://example.org/"], concurency=10)  # type: ignore[call-arg]
    cormorant.fetch(["https://example.org/"], timeout="10")  # type: ignore[arg-type]
    cormorant.crawl(["https://example.org/"], dept=10)  # type: ignore[call-arg]
    cormorant.get("https://example.org/").status = 200  # type: ignore[misc]


assert_type(cormorant.__version__, str)
assert_type(cormorant.Options(concurrency=5).engine, str)
