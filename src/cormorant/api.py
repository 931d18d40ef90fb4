"""The public calls over many: defaults filled in, one worker built, its outcomes handed through.

`fetch`, `afetch`, `crawl`, `acrawl` and `map` run a worker each. One page alone: `getting.py`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence, Sized
from typing import Any, TypedDict

from typing_extensions import Unpack

from cormorant import engines, fetching
from cormorant.auto import AutoWorker, engine_for
from cormorant.content.robots import product_token
from cormorant.errors import UsageError
from cormorant.frontier.memory import MemoryFrontier
from cormorant.interfaces import Entry, Scheduler, Sink, Transports, Work
from cormorant.items import ItemScheduler
from cormorant.messages import Outcome, Result
from cormorant.options import AUTO, CRAWL_DEFAULTS, Options
from cormorant.policies.breaker import Breaker
from cormorant.policies.following import Following
from cormorant.policies.politeness import Politeness
from cormorant.policies.redirects import Redirects
from cormorant.policies.retries import Retries
from cormorant.policies.robots import Robots
from cormorant.policies.scope import Scope
from cormorant.policies.throttle import Throttle
from cormorant.scheduler.discovery import Discovery
from cormorant.scheduler.fetch import Conditions, FetchPolicies, FetchScheduler
from cormorant.transport import Curl
from cormorant.worker import Report, Worker

# What `map` cannot keep to: it does not see your requests.
FOR_LISTS_ALONE = (
    "retries",
    "per_host",
    "delay",
    "jitter",
    "polite_by",
    "max_delay",
    "max_retry_after",
    "throttle",
    "breaker",
    "robots",
    "header",
    "keep_duplicates",
)
NOTHING_YET = object()  # an item source yields it when it has none at the moment


class OptionWords(TypedDict, total=False):
    """The keyword arguments of `fetch`, `afetch` and `map`: the fields of `Options`, all optional."""

    engine: str
    concurrency: int | None
    timeout: float
    connect_timeout: float
    max_body: int
    no_body: bool
    retries: int
    max_retry_after: float
    breaker: int
    per_host: int
    delay: float
    jitter: float
    polite_by: str
    max_delay: float
    throttle: bool
    robots: bool
    allow_private: bool
    header: Any
    user_agent: str
    proxy: str | None
    insecure: bool
    keep_duplicates: bool
    watchdog: float | None


class CrawlWords(OptionWords, total=False):
    """The keyword arguments of `crawl` besides: how far it goes (`scope` and the next seven) and how it goes on."""

    scope: str
    depth: int | None
    max_pages: int | None
    max_pages_per_host: int | None
    include: Sequence[str]
    exclude: Sequence[str]
    sitemaps: bool
    prefer: Sequence[str]
    obey_meta: bool
    drop_tracking: bool


def fetch(
    urls: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    since: str | None = None,
    **options: Unpack[OptionWords],
) -> Generator[Outcome, None, None]:
    """Fetch many URLs; yield a Page or a Failure for each, the moment it is back.

    `parse(page)` runs beside the fetch on every page with a status below 400, its result is `page.data`.
    `output` (with `format` and `overwrite`) also writes each outcome to a file, as `-o` does, before it is
    yielded. `since` is the JSON Lines file of an earlier run: what it has an ETag or a Last-Modified for is asked for
    only if it changed, and a page that did not is `unchanged` (status 304, nothing to parse). Options are the fields of
    `cormorant.Options`. A text that is no URL gives a Failure of kind bad_url. Closing the generator stops the work
    behind it. Raises UsageError for a wrong option, MissingPackage for an engine that is not installed.
    """
    chosen = Options.of(options)
    worker = open_fetch(_entries(urls), chosen, parse, since=since)
    return worker.save_to(_open_sink(output, format, overwrite, since)).run()


def afetch(
    urls: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    since: str | None = None,
    **options: Unpack[OptionWords],
) -> AsyncGenerator[Outcome, None]:
    """Do what `fetch` does inside your own event loop: `async for page in cormorant.afetch(urls)`.

    The engine is always asyncio, on the running loop.
    """
    if options.setdefault("engine", "asyncio") != "asyncio":
        raise UsageError(f"afetch runs on your event loop: engine 'asyncio' only, not {options['engine']!r}; use fetch")
    worker = open_fetch(_entries(urls), Options.of(options), parse, since=since)
    return worker.save_to(_open_sink(output, format, overwrite, since)).arun()


def crawl(
    seeds: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    report_skipped: Report | None = None,
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
    robots.txt kept to, 2 retries. How a page was found is its `found`. Raises UsageError for a wrong option.
    """
    worker = open_crawl(_entries(seeds), words, parse)
    if report_skipped is not None:
        worker.report_to(report_skipped)
    return worker.save_to(_open_sink(output, format, overwrite)).run()


def acrawl(
    seeds: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    report_skipped: Report | None = None,
    **words: Unpack[CrawlWords],
) -> AsyncGenerator[Outcome, None]:
    """Do what `crawl` does inside your own event loop: `async for page in cormorant.acrawl(seeds, depth=2)`.

    The engine is always asyncio, on the running loop.
    """
    words.setdefault("engine", "asyncio")
    if words["engine"] != "asyncio":
        raise UsageError(f"acrawl runs on your event loop: engine 'asyncio' only, not {words['engine']!r}; use crawl")
    worker = open_crawl(_entries(seeds), words, parse)
    if report_skipped is not None:
        worker.report_to(report_skipped)
    return worker.save_to(_open_sink(output, format, overwrite)).arun()


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


def open_fetch(
    entries: Iterable[Entry | None],
    options: Options,
    parse: fetching.Parse | None = None,
    sink: Sink | None = None,
    transports: Transports | None = None,
    since: str | None = None,
) -> Worker:
    """Build the worker behind `fetch`. `entries` are (text, line number); None says that there is nothing yet."""
    _check_parse(parse)
    scheduler = FetchScheduler(iter(entries), MemoryFrontier(), _policies(options, _conditions(since)))
    engine = engine_for(options.engine, parse)
    work, wire = fetching.work_for(engine, parse), transports or Curl(options)
    return _open(scheduler, engine, work, wire, options, entries, has_user_code=parse is not None, sink=sink)


def open_crawl(
    seeds: Iterable[Entry | None],
    words: Mapping[str, Any],
    parse: fetching.Parse | None = None,
    sink: Sink | None = None,
    transports: Transports | None = None,
) -> Worker:
    """Build the worker behind `crawl`; `words` are its keyword arguments."""
    from cormorant.frontier.crawl import CrawlFrontier

    _check_parse(parse)
    scope, following, options = _crawl_settings(words)
    frontier = CrawlFrontier()
    discovery = Discovery(scope, following, frontier, options.header, options.timeout)
    scheduler = FetchScheduler(iter(seeds), frontier, _policies(options), discovery)
    engine = engine_for(options.engine, parse)
    work = fetching.crawl_work_for(engine, parse, following.obey_meta)
    wire = transports or Curl(options)
    unknown = iter(())  # how many there will be
    return _open(scheduler, engine, work, wire, options, unknown, has_user_code=parse is not None, sink=sink)


def _crawl_settings(words: Mapping[str, Any]) -> tuple[Scope, Following, Options]:
    """Take apart the keyword arguments of `crawl`: what is for its policies, and the options that it shares."""
    rest = dict(words)
    for name in ("include", "exclude", "prefer"):
        if name in rest:
            rest[name] = (rest[name],) if isinstance(rest[name], str) else tuple(rest[name])
    if "scope" in rest:
        rest["reach"] = rest.pop("scope")
    settings: list[dict[str, Any]] = []
    for policy in (Scope, Following):
        names = [field.name for field in dataclasses.fields(policy)]
        settings.append({name: rest.pop(name) for name in names if name in rest})
    return Scope(**settings[0]), Following(**settings[1]), Options.of(CRAWL_DEFAULTS | rest, CrawlWords.__annotations__)


def _check_parse(parse: object) -> None:
    if parse is not None and not callable(parse):
        raise UsageError(f"parse needs a function of a page, not {parse!r}; on the command line it is MODULE:FUNCTION")


def _policies(options: Options, conditions: Conditions | None = None) -> FetchPolicies:
    """Hand each policy its share of the options."""
    return FetchPolicies(
        politeness=Politeness(
            per_host=options.per_host,
            delay=options.delay,
            jitter=options.jitter,
            most_delay=options.max_delay,
            by=options.polite_by,
        ),
        retries=Retries(limit=options.retries, most_retry_after=options.max_retry_after),
        redirects=Redirects(),
        seconds=options.timeout,
        headers=options.header,
        keep_duplicates=options.keep_duplicates,
        breaker=Breaker(limit=options.breaker),
        throttle=Throttle(per_host=options.per_host) if options.throttle else None,
        robots=Robots(tries=options.retries + 1) if options.robots else None,
        robots_token=product_token(options.user_agent),
        conditions=conditions,
    )


def _conditions(since: str | None) -> Conditions | None:
    if since is None:
        return None
    from cormorant.frontier.validators import Validators

    return Validators.of_run(since).conditions


def open_map(
    function: Callable[[Any], Any], items: Iterable[Any], options: Options, sink: Sink | None = None
) -> Worker:
    """Build the worker behind `map`. `items` may yield NOTHING_YET."""
    if not callable(function):
        raise UsageError(f"map needs a function, not {type(function).__name__}: cormorant.map(function, items)")
    for word in FOR_LISTS_ALONE:
        if getattr(options, word) != getattr(Options(), word):
            raise UsageError(f"{word} is for lists of URLs, and map cannot see your requests: leave it out")
    scheduler = ItemScheduler(iter(items), options.timeout, NOTHING_YET)
    engine = engine_for(options.engine, function)
    return _open(scheduler, engine, function, Curl(options), options, items, has_user_code=True, sink=sink)


def _open(
    scheduler: Scheduler,
    engine: str,
    work: Work,
    transports: Transports,
    options: Options,
    entries: Iterable[Any],
    **rest: Any,
) -> Worker:
    """Build the worker: as many at once as asked, as the engine can, and no more than there are entries."""
    listed = max(1, len(entries)) if isinstance(entries, Sized) else None
    rest["watchdog_seconds"] = options.watchdog
    if engine == AUTO:
        return AutoWorker(scheduler, work, transports, wanted=options.concurrency, listed=listed, **rest)
    width = engines.width(engine, options.concurrency)
    return Worker(scheduler, engine, work, transports, width=min(width, listed or width), **rest)


def _entries(texts: Iterable[str]) -> Iterable[Entry | None]:
    if isinstance(texts, str | bytes):
        raise UsageError("give a list of URLs, not one text: [url]; for one page there is cormorant.get(url)")
    if not isinstance(texts, Iterable):
        raise UsageError(
            f"give an iterable of URLs, not {type(texts).__name__}; collect an async one into a list first"
        )
    numbered = ((_as_line(text), number) for number, text in enumerate(texts, 1))
    return list(numbered) if isinstance(texts, Sized) else numbered


def _as_line(text: object) -> str:
    """Return an entry as a line: one of a file without its end, what is no text (NaN, None) as what it looks like."""
    return text.rstrip("\r\n") if isinstance(text, str) else str(text)


def _open_sink(output: str | None, format: str | None, overwrite: bool, since: str | None = None) -> Sink | None:
    if output is None:
        return None
    if since is not None and os.path.exists(output) and os.path.samefile(output, since):
        raise UsageError(f"{output!r} is both since and output, and unchanged pages have no body; name another output")
    from cormorant.sinks import open_sink

    return open_sink(output, format, overwrite)
