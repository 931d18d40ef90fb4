"""The public calls over many: defaults filled in, one worker built, its outcomes handed through.

`fetch`, `afetch`, `crawl`, `acrawl` and `map` run a worker each. One page alone: `getting.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sized
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from cormorant import fetching
from cormorant.errors import UsageError
from cormorant.interfaces import DurableSink, Entry
from cormorant.listed import as_line
from cormorant.messages import Outcome, Result
from cormorant.opening import CrawlWords, OptionWords, Positioned, open_crawl, open_fetch, open_map
from cormorant.options import Options
from cormorant.policies.scope import Scope
from cormorant.worker import Report, Worker

if TYPE_CHECKING:
    from cormorant.jobs import Job


def fetch(
    urls: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    since: str | None = None,
    job: str | None = None,
    **options: Unpack[OptionWords],
) -> Generator[Outcome, None, None]:
    """Fetch many URLs; yield a Page or a Failure for each, the moment it is back.

    `parse(page)` runs beside the fetch on every page with a status below 400, its result is `page.data`.
    `output` (with `format` and `overwrite`) also writes each outcome to a file, as `-o` does, before it is
    yielded. `since` is the JSON Lines file of an earlier run: what it has an ETag or a Last-Modified for is asked for
    only if it changed, and a page that did not is `unchanged` (status 304, nothing to parse). Options are the fields of
    `cormorant.Options`. A text that is no URL gives a Failure of kind bad_url. Closing the generator stops the work
    behind it. `job` is a folder that remembers the run: after a crash, or a `break`, the same call with the same list
    goes on, and each URL is in `output` once (without one, what was handed over just before a kill comes again).
    Raises UsageError for a wrong option, MissingPackage for an engine that is not installed.
    """
    worker = _fetch_worker(urls, parse, _Out(output, format, overwrite), since, job, options)
    return worker.run()


def afetch(
    urls: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    since: str | None = None,
    job: str | None = None,
    **options: Unpack[OptionWords],
) -> AsyncGenerator[Outcome, None]:
    """Do what `fetch` does inside your own event loop: `async for page in cormorant.afetch(urls)`.

    The engine is always asyncio, on the running loop.
    """
    if options.setdefault("engine", "asyncio") != "asyncio":
        raise UsageError(f"afetch runs on your event loop: engine 'asyncio' only, not {options['engine']!r}; use fetch")
    return _fetch_worker(urls, parse, _Out(output, format, overwrite), since, job, options).arun()


def crawl(
    seeds: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    report_skipped: Report | None = None,
    job: str | None = None,
    **words: Unpack[CrawlWords],
) -> Generator[Outcome, None, None]:
    """Fetch the seeds, and what their pages link to; yield a Page or a Failure for each, the moment it is back.

    `scope` is how far it goes from the seeds: host (their hosts), domain (their registered domains), prefix (the
    folders of their paths, and below) or any; `depth` links from a seed at most; `max_pages` in all and
    `max_pages_per_host`; `include` and `exclude` are regular expressions searched in the URL. `sitemaps` also fetches
    what the sites' sitemaps list. `prefer` (regular expressions) says what goes first. `obey_meta` follows no
    `nofollow` and keeps no `noindex`. `drop_tracking` takes URLs that differ in tracking parameters alone for one.
    `report_skipped(list)` is called with what was seen and left out (`url`, `reason`, `source`, `depth`). The other
    options are the fields of `cormorant.Options`, politer than for `fetch`: one page at a time to a host, 1 s apart,
    robots.txt kept to, 2 retries. How a page was found is its `found`. `job` as for `fetch`. Raises UsageError for a
    wrong option.
    """
    return _crawl_worker(seeds, parse, _Out(output, format, overwrite), report_skipped, job, words).run()


def acrawl(
    seeds: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    report_skipped: Report | None = None,
    job: str | None = None,
    **words: Unpack[CrawlWords],
) -> AsyncGenerator[Outcome, None]:
    """Do what `crawl` does inside your own event loop: `async for page in cormorant.acrawl(seeds, depth=2)`.

    The engine is always asyncio, on the running loop.
    """
    words.setdefault("engine", "asyncio")
    if words["engine"] != "asyncio":
        raise UsageError(f"acrawl runs on your event loop: engine 'asyncio' only, not {words['engine']!r}; use crawl")
    return _crawl_worker(seeds, parse, _Out(output, format, overwrite), report_skipped, job, words).arun()


def map(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    callback: Callable[[Result], None] | None = None,
    **options: Unpack[OptionWords],
) -> Generator[Result, None, None]:
    """Run your own function over `items` under any engine; yield a Result for each, in completion order.

    Inside `function`, `cormorant.get(url)` waits the way the running engine waits. `callback(result)` is called
    here, in the caller's thread, before the result is yielded. `timeout` is the deadline of one item: past it
    the job is ended (or its thread abandoned) and the result says `timeout`. An `async def` function runs under
    engine 'asyncio' only.
    """
    worker = open_map(function, items, Options.of(options))
    return worker.run() if callback is None else _called_back(worker.run(), callback)


def _called_back(
    results: Generator[Result, None, None], callback: Callable[[Result], None]
) -> Generator[Result, None, None]:
    try:
        for result in results:
            callback(result)
            yield result
    finally:
        results.close()


@dataclasses.dataclass(frozen=True, slots=True)
class _Out:
    """Where outcomes are written, besides being handed over."""

    target: str | None
    format: str | None
    overwrite: bool

    def open(self, since: str | None, job: Job | None) -> DurableSink | None:
        target = self.target
        if target is None:
            return None
        if since is not None and os.path.exists(target) and os.path.samefile(target, since):
            raise UsageError(
                f"{target!r} is both since and output, and unchanged pages have no body; name another output"
            )
        from cormorant import sinks

        if job is None:
            return sinks.open_sink(target, self.format, self.overwrite)
        return job.open_output(target, self.format, self.overwrite)


def _fetch_worker(
    urls: Iterable[str],
    parse: fetching.Parse | None,
    out: _Out,
    since: str | None,
    job: str | None,
    options: Mapping[str, Any],
) -> Worker:
    chosen = Options.of(options)
    if job is None:
        return open_fetch(_entries(urls), chosen, parse, since=since).save_to(out.open(since, None))
    words = {"command": "cormorant.fetch", "since": since} | dict(options)

    def build(kept: Job, entries: Positioned) -> Worker:
        return open_fetch(entries, chosen, parse, since=since, job=kept)

    return _kept(job, words, parse, urls, out, since, build)


def _crawl_worker(
    seeds: Iterable[str],
    parse: fetching.Parse | None,
    out: _Out,
    report_skipped: Report | None,
    job: str | None,
    words: Mapping[str, Any],
) -> Worker:
    if job is None:
        worker = open_crawl(_entries(seeds), words, parse).save_to(out.open(None, None))
    else:

        def build(kept: Job, entries: Positioned) -> Worker:
            return open_crawl(entries, words, parse, job=kept)

        said = {"command": "cormorant.crawl", "scope": Scope().reach} | dict(words)
        worker = _kept(job, said, parse, seeds, out, None, build)
    return worker if report_skipped is None else worker.report_to(report_skipped)


def _kept(
    folder: str,
    words: dict[str, Any],
    parse: fetching.Parse | None,
    texts: Iterable[str],
    out: _Out,
    since: str | None,
    build: Callable[[Job, Positioned], Worker],
) -> Worker:
    """Build a worker whose run is remembered in `folder`."""
    from cormorant.jobs import Job
    from cormorant.listed import Listed

    _check_texts(texts)
    target = None if out.target is None else os.path.abspath(out.target)
    if since is not None:
        words["since"] = os.path.abspath(since)
    words |= {"output": target, "format": out.format, "parse": None if parse is None else _name_of(parse)}
    job = Job.open(folder, words)
    try:
        worker = build(job, Listed(texts, job.position))
        return worker.save_to(out.open(since, job))
    except BaseException:
        job.close()
        raise


def _name_of(parse: fetching.Parse) -> str:
    """Return by what name a function is known again: its own, that of what it is a part of, or that of its class."""
    whole = parse.func if isinstance(parse, functools.partial) else parse
    named: Any = whole if hasattr(whole, "__qualname__") else type(whole)
    return f"{named.__module__}:{named.__qualname__}"


def _entries(texts: Iterable[str]) -> Iterable[Entry | None]:
    _check_texts(texts)
    numbered = ((as_line(text), number) for number, text in enumerate(texts, 1))
    return list(numbered) if isinstance(texts, Sized) else numbered


def _check_texts(texts: object) -> None:
    if isinstance(texts, str | bytes):
        raise UsageError("give a list of URLs, not one text: [url]; for one page there is cormorant.get(url)")
    if not isinstance(texts, Iterable):
        raise UsageError(
            f"give an iterable of URLs, not {type(texts).__name__}; collect an async one into a list first"
        )
