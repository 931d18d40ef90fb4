"""The public calls over many: defaults filled in, one worker built, its outcomes handed through.

`fetch`, `afetch`, `crawl`, `acrawl` and `map` run a worker each. One page alone: `getting.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sized
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from cormorant import fetching, stores
from cormorant.errors import UsageError
from cormorant.fleet.wanted import Wanted
from cormorant.frontier.job_lists import Position
from cormorant.interfaces import DurableSink, Entry
from cormorant.listed import as_line
from cormorant.messages import Outcome, Result
from cormorant.opening import CrawlWords, OptionWords, Positioned, open_crawl, open_fetch, open_map
from cormorant.options import Options
from cormorant.policies.scope import Scope
from cormorant.worker import Report, Worker

if TYPE_CHECKING:
    from cormorant.fleet.driver import Fleet
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
    workers: int | None = None,
    shards: int | None = None,
    split: str | None = None,
    cluster: str | None = None,
    merge: bool = False,
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
    `workers` processes share the list, each with the engine, and hosts of its own; what they write goes to `shards`
    parts beside `output` (`merge` puts them together at the end), and `cormorant.read` reads them all. `split` is what
    stays with one worker: domain (the usual), host, address, or url. `cluster` is the address of Ray, or local.
    As with every program that starts processes, the script's main part needs its `if __name__ == "__main__":`.
    Raises UsageError for a wrong option, MissingPackage for an engine that is not installed.
    """
    wanted = {"workers": workers, "shards": shards, "split": split, "cluster": cluster, "merge": merge}
    return _fetch_worker(urls, parse, _Out(output, format, overwrite, merge), since, job, options, wanted).run()


def afetch(
    urls: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    since: str | None = None,
    job: str | None = None,
    workers: int | None = None,
    shards: int | None = None,
    split: str | None = None,
    cluster: str | None = None,
    merge: bool = False,
    **options: Unpack[OptionWords],
) -> AsyncGenerator[Outcome, None]:
    """Do what `fetch` does inside your own event loop: `async for page in cormorant.afetch(urls)`.

    The engine is always asyncio, on the running loop; with `workers` it is theirs, and any.
    """
    wanted = {"workers": workers, "shards": shards, "split": split, "cluster": cluster, "merge": merge}
    if workers is None and cluster is None and options.setdefault("engine", "asyncio") != "asyncio":
        raise UsageError(f"afetch runs on your event loop: engine 'asyncio' only, not {options['engine']!r}; use fetch")
    return _fetch_worker(urls, parse, _Out(output, format, overwrite, merge), since, job, options, wanted).arun()


def crawl(
    seeds: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    report_skipped: Report | None = None,
    job: str | None = None,
    workers: int | None = None,
    shards: int | None = None,
    cluster: str | None = None,
    merge: bool = False,
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
    robots.txt kept to, 2 retries. How a page was found is its `found`. `job`, `workers`, `shards`, `cluster` and
    `merge` as for `fetch`. Raises UsageError for a wrong option.
    """
    wanted = {"workers": workers, "shards": shards, "cluster": cluster, "merge": merge}
    return _crawl_worker(seeds, parse, _Out(output, format, overwrite, merge), report_skipped, job, words, wanted).run()


def acrawl(
    seeds: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    report_skipped: Report | None = None,
    job: str | None = None,
    workers: int | None = None,
    shards: int | None = None,
    cluster: str | None = None,
    merge: bool = False,
    **words: Unpack[CrawlWords],
) -> AsyncGenerator[Outcome, None]:
    """Do what `crawl` does inside your own event loop: `async for page in cormorant.acrawl(seeds, depth=2)`.

    The engine is always asyncio, on the running loop; with `workers` it is theirs, and any.
    """
    wanted = {"workers": workers, "shards": shards, "cluster": cluster, "merge": merge}
    if workers is None and cluster is None and words.setdefault("engine", "asyncio") != "asyncio":
        raise UsageError(f"acrawl runs on your event loop: engine 'asyncio' only, not {words['engine']!r}; use crawl")
    out = _Out(output, format, overwrite, merge)
    return _crawl_worker(seeds, parse, out, report_skipped, job, words, wanted).arun()


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
    merge: bool = False

    def check(self, since: str | None) -> None:
        """Raise UsageError when it is the file of the earlier run."""
        target = self.target
        if target is None or since is None:
            return
        if os.path.exists(target) and os.path.samefile(target, since):
            raise UsageError(
                f"{target!r} is both since and output, and unchanged pages have no body; name another output"
            )

    def open(self, job: Job | None) -> DurableSink | None:
        if self.target is None:
            return None
        from cormorant import sinks

        if job is None:
            return sinks.open_sink(self.target, self.format, self.overwrite)
        return job.open_output(self.target, self.format, self.overwrite)


def _fetch_worker(
    urls: Iterable[str],
    parse: fetching.Parse | None,
    out: _Out,
    since: str | None,
    job: str | None,
    options: Mapping[str, Any],
    wanted: Mapping[str, Any],
) -> Worker | Fleet:
    chosen = Options.of(options, besides=inspect.signature(fetch).parameters)
    out.check(since)

    def build(kept: Job | None, entries: Any, of_workers: Wanted) -> Worker | Fleet:
        if of_workers.is_fleet:
            return _fleet(entries, options, of_workers, out, kept, is_crawl=False, parse=parse, since=since)
        return open_fetch(entries, chosen, parse, since=since, job=kept).save_to(out.open(kept))

    words = {"command": "cormorant.fetch", "since": since} | dict(options)
    return _built(build, urls, job, words, parse, out, wanted)


def _crawl_worker(
    seeds: Iterable[str],
    parse: fetching.Parse | None,
    out: _Out,
    report_skipped: Report | None,
    job: str | None,
    words: Mapping[str, Any],
    wanted: Mapping[str, Any],
) -> Worker | Fleet:
    def build(kept: Job | None, entries: Any, of_workers: Wanted) -> Worker | Fleet:
        if of_workers.is_fleet:
            if report_skipped is not None:
                raise UsageError("report_skipped is told by one worker: leave workers and cluster out, or it")
            return _fleet(entries, words, of_workers, out, kept, is_crawl=True, parse=parse)
        worker = open_crawl(entries, words, parse, job=kept).save_to(out.open(kept))
        return worker if report_skipped is None else worker.report_to(report_skipped)

    said = {"command": "cormorant.crawl", "scope": Scope().reach} | dict(words)
    return _built(build, seeds, job, said, parse, out, wanted)


def _fleet(
    entries: Positioned, words: Mapping[str, Any], wanted: Wanted, out: _Out, job: Job | None, **rest: Any
) -> Fleet:
    from cormorant.fleet.launch import open_fleet
    from cormorant.fleet.wanted import Output

    output = Output(target=out.target, format=out.format, overwrite=out.overwrite, merges=out.merge)
    return open_fleet(entries, words, wanted, output, streams=True, job=job, **rest)


def _built(
    build: Callable[[Job | None, Any, Wanted], Worker | Fleet],
    texts: Iterable[str],
    folder: str | None,
    words: dict[str, Any],
    parse: fetching.Parse | None,
    out: _Out,
    wanted: Mapping[str, Any],
) -> Worker | Fleet:
    """Build what runs over `texts`; what is remembered in `folder` goes on there."""
    from cormorant.listed import Listed

    if folder is None:
        alone = Wanted.of(None, **wanted)
        if not alone.is_fleet:
            return build(None, _entries(texts), alone)
        _check_texts(texts)
        return build(None, Listed(texts, Position()), alone)
    from cormorant.jobs import Job

    _check_texts(texts)
    target = None if out.target is None else stores.absolute(out.target)
    if words.get("since") is not None:
        words["since"] = stores.absolute(words["since"])
    words |= {"output": target, "format": out.format, "parse": None if parse is None else _name_of(parse)}
    words |= {"shards": wanted["shards"], "split": wanted.get("split")}
    job = Job.open(folder, words)
    try:
        return build(job, Listed(texts, job.position), Wanted.of(job, **wanted))
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
