"""The workers behind the public calls: defaults filled in, each policy handed its share of the options.

`open_fetch`, `open_crawl` and `open_map` hand out the worker itself, for whoever watches it while it runs: the command
line, the lab.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from cormorant import engines, fetching, stores
from cormorant.auto import AutoWorker, engine_for
from cormorant.content.robots import product_token
from cormorant.errors import UsageError
from cormorant.frontier.memory import MemoryFrontier
from cormorant.interfaces import Entry, Frontier, Neighbours, Scheduler, Sink, Transports, Work
from cormorant.items import ItemScheduler
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
from cormorant.scheduler.fetch import FetchScheduler
from cormorant.scheduler.intake import Conditions
from cormorant.scheduler.settings import FetchPolicies
from cormorant.sinks.naming import of_shards
from cormorant.transport import Curl
from cormorant.worker import Worker

if TYPE_CHECKING:
    from cormorant.frontier.job_lists import Position
    from cormorant.jobs import Job

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
UNKNOWN: Iterator[Any] = iter(())  # how many there will be
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


class Positioned(Protocol):
    """Entries that know how far they were read."""

    def __iter__(self) -> Iterator[Entry | None]:
        """Return the entries."""
        ...

    @property
    def position(self) -> Position:
        """Behind the last entry that was returned."""
        ...


class Fetching:
    """What the runs over a list are made of; so many are `sharing` its hosts. Raises UsageError."""

    def __init__(
        self, options: Options, parse: fetching.Parse | None = None, since: str | None = None, sharing: int = 1
    ) -> None:
        _check_parse(parse)
        self.options, self.parse = options, parse
        self.engine = engine_for(options.engine, parse)
        self._policies = _policies(options, _conditions(since), sharing)

    def scheduler(
        self, entries: Iterator[Entry | None], frontier: Frontier, neighbours: Neighbours | None = None
    ) -> FetchScheduler:
        """Build a scheduler over `entries`; in a fleet with its neighbours."""
        return FetchScheduler(entries, frontier, self._policies, neighbours=neighbours)

    def work(self) -> Work:
        """Return the work of one job."""
        return fetching.work_for(self.engine, self.parse)


class Crawling:
    """What the runs of a crawl are made of; `words` are its keyword arguments. Raises UsageError."""

    def __init__(self, words: Mapping[str, Any], parse: fetching.Parse | None = None) -> None:
        _check_parse(parse)
        self._scope, self._following, self.options = _crawl_settings(words)
        self.parse = parse
        self.engine = engine_for(self.options.engine, parse)
        self._policies = _policies(self.options)

    def scheduler(
        self, entries: Iterator[Entry | None], frontier: Frontier, neighbours: Neighbours | None = None
    ) -> FetchScheduler:
        """Build a scheduler that begins with the seeds in `entries`; in a fleet with its neighbours."""
        options = self.options
        discovery = Discovery(
            self._scope, self._following, frontier, options.header, options.timeout, neighbours=neighbours
        )
        return FetchScheduler(entries, frontier, self._policies, discovery, neighbours=neighbours)

    def work(self) -> Work:
        """Return the work of one job."""
        return fetching.crawl_work_for(self.engine, self.parse, self._following.obey_meta)


def open_fetch(
    entries: Iterable[Entry | None],
    options: Options,
    parse: fetching.Parse | None = None,
    sink: Sink | None = None,
    transports: Transports | None = None,
    since: str | None = None,
    job: Job | None = None,
) -> Worker:
    """Build the worker behind `fetch`. `entries` are (text, line number); None says that there is nothing yet.

    With a job they are `Positioned`, and begin behind its position.
    """
    station = Fetching(options, parse, since)
    frontier = MemoryFrontier() if job is None else job.frontier(options.header, options.timeout)
    return _open_station(station, entries, frontier, sink, transports, job, entries)


def open_crawl(
    seeds: Iterable[Entry | None],
    words: Mapping[str, Any],
    parse: fetching.Parse | None = None,
    sink: Sink | None = None,
    transports: Transports | None = None,
    job: Job | None = None,
) -> Worker:
    """Build the worker behind `crawl`; `words` are its keyword arguments. A job as for `open_fetch`."""
    from cormorant.frontier.crawl import CrawlFrontier

    station = Crawling(words, parse)
    options = station.options
    frontier = CrawlFrontier() if job is None else job.frontier(options.header, options.timeout)
    return _open_station(station, seeds, frontier, sink, transports, job, UNKNOWN)


def _open_station(
    station: Fetching | Crawling,
    entries: Iterable[Entry | None],
    frontier: Frontier,
    sink: Sink | None,
    transports: Transports | None,
    job: Job | None,
    listed: Iterable[Any],
) -> Worker:
    scheduler = station.scheduler(iter(entries), frontier)
    worker = open_worker(station, scheduler, sink, transports, listed)
    return worker if job is None else _go_on(job, scheduler, entries, worker)


def open_worker(
    station: Fetching | Crawling,
    scheduler: Scheduler,
    sink: Sink | None = None,
    transports: Transports | None = None,
    listed: Iterable[Any] = UNKNOWN,
) -> Worker:
    """Build the worker that runs a scheduler of the station. `listed` has as many as will come, if that is known."""
    wire = transports or Curl(station.options)
    has_user_code = station.parse is not None
    return _open(
        scheduler, station.engine, station.work(), wire, station.options, listed, has_user_code=has_user_code, sink=sink
    )


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


def _go_on(job: Job, scheduler: FetchScheduler, entries: Any, worker: Worker) -> Worker:
    """Have scheduler and worker go on with what the job knows. `entries` are `Positioned`."""
    from cormorant.commits import Commits
    from cormorant.jobs import SCHEDULER

    assert job.journal is not None
    scheduler.go_on(job.journal, job.counters(SCHEDULER), time.monotonic(), time.time(), job.is_first)
    return worker.commit_by(Commits(job, scheduler.counters, lambda: entries.position))


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


def _policies(options: Options, conditions: Conditions | None = None, sharing: int = 1) -> FetchPolicies:
    """Hand each policy its share of the options."""
    return FetchPolicies(
        politeness=Politeness(
            per_host=options.per_host,
            delay=options.delay,
            jitter=options.jitter,
            most_delay=options.max_delay,
            by=options.polite_by,
            sharing=sharing,
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
    stores.refuse(since, "since reads a local output of an earlier run; fetch it from there first")
    from cormorant.frontier.validators import Validators

    return Validators.of_run(*(of_shards(since) or [since])).conditions


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
