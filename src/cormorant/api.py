"""The public calls: defaults filled in, one worker built, its outcomes handed through.

`fetch`, `afetch` and `map` run a worker each; `get` and `aget` make one fetch, inside a job in the way of the
running engine, outside by blocking (or awaiting).
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sized
from typing import Any, TypedDict

import msgspec
from typing_extensions import Unpack

from cormorant import engines, fetching
from cormorant.auto import AutoWorker, engine_for
from cormorant.engines import job
from cormorant.errors import DeadlineExceeded, FetchError, UsageError
from cormorant.frontier.memory import MemoryFrontier
from cormorant.interfaces import Entry, Scheduler, Sink, Transports, Wire, Work
from cormorant.items import ItemScheduler
from cormorant.messages import Failure, Outcome, Page, Request, Result
from cormorant.options import AUTO, Options, header_pairs
from cormorant.policies.politeness import Politeness
from cormorant.policies.redirects import Redirects
from cormorant.policies.retries import Retries
from cormorant.scheduler import FetchPolicies, FetchScheduler, failure_of, first_request
from cormorant.transport import Curl
from cormorant.worker import Worker

SAYS_NOTHING_TO_MAP = ("retries", "per_host", "delay", "header", "keep_duplicates")
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
    per_host: int
    delay: float
    allow_private: bool
    header: Any
    user_agent: str
    proxy: str | None
    insecure: bool
    keep_duplicates: bool
    watchdog: float | None


def fetch(
    urls: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    **options: Unpack[OptionWords],
) -> Generator[Outcome, None, None]:
    """Fetch many URLs; yield a Page or a Failure for each, the moment it is back.

    `parse(page)` runs beside the fetch on every page with a status below 400, its result is `page.data`.
    `output` (with `format` and `overwrite`) also writes each outcome to a file, as `-o` does, before it is
    yielded. Options are the fields of `cormorant.Options`. A text that is no URL gives a Failure of kind bad_url.
    Closing the generator stops the work behind it. Raises UsageError for a wrong option, MissingPackage for an
    engine that is not installed.
    """
    chosen = Options.of(options)
    worker = open_fetch(_entries(urls), chosen, parse)
    return worker.save_to(_open_sink(output, format, overwrite)).run()


def afetch(
    urls: Iterable[str],
    *,
    parse: fetching.Parse | None = None,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    **options: Unpack[OptionWords],
) -> AsyncGenerator[Outcome, None]:
    """Do what `fetch` does inside your own event loop: `async for page in cormorant.afetch(urls)`.

    The engine is always asyncio, on the running loop.
    """
    if options.setdefault("engine", "asyncio") != "asyncio":
        raise UsageError(f"afetch runs on your event loop: engine 'asyncio' only, not {options['engine']!r}; use fetch")
    worker = open_fetch(_entries(urls), Options.of(options), parse)
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
) -> Worker:
    """Build the worker behind `fetch`. `entries` are (text, line number); None says that there is nothing yet."""
    if parse is not None and not callable(parse):
        raise UsageError(f"parse needs a function of a page, not {parse!r}; on the command line it is MODULE:FUNCTION")
    policies = FetchPolicies(
        politeness=Politeness(per_host=options.per_host, delay=options.delay),
        retries=Retries(limit=options.retries),
        redirects=Redirects(),
        seconds=options.timeout,
        headers=options.header,
        keep_duplicates=options.keep_duplicates,
    )
    scheduler = FetchScheduler(iter(entries), MemoryFrontier(), policies)
    engine = engine_for(options.engine, parse)
    work, wire = fetching.work_for(engine, parse), transports or Curl(options)
    return _open(scheduler, engine, work, wire, options, entries, has_user_code=parse is not None, sink=sink)


def open_map(
    function: Callable[[Any], Any], items: Iterable[Any], options: Options, sink: Sink | None = None
) -> Worker:
    """Build the worker behind `map`. `items` may yield NOTHING_YET."""
    if not callable(function):
        raise UsageError(f"map needs a function, not {type(function).__name__}: cormorant.map(function, items)")
    for word in SAYS_NOTHING_TO_MAP:
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
        raise UsageError("give a list of URLs, not one text: fetch([url]); for one page there is cormorant.get(url)")
    if not isinstance(texts, Iterable):
        raise UsageError(
            f"give an iterable of URLs, not {type(texts).__name__}; collect an async one into a list first"
        )
    numbered = ((_as_line(text), number) for number, text in enumerate(texts, 1))
    return list(numbered) if isinstance(texts, Sized) else numbered


def _as_line(text: object) -> str:
    """Return an entry as a line: one of a file without its end, what is no text (NaN, None) as what it looks like."""
    return text.rstrip("\r\n") if isinstance(text, str) else str(text)


def _open_sink(output: str | None, format: str | None, overwrite: bool) -> Sink | None:
    if output is None:
        return None
    from cormorant.sinks import open_sink

    return open_sink(output, format, overwrite)


def get(
    url: str, *, timeout: float | None = None, header: Any = (), method: str = "GET", body: bytes | None = None
) -> Page:
    """Fetch one page, redirects followed, and return it whatever its status.

    Inside a job (`map`, a parse function) it waits the way the running engine waits, through the engine's
    connections, and never longer than the job's deadline. Elsewhere it blocks. `timeout` is the total, in
    seconds (default 30). Raises FetchError, which carries the Failure, when there is no page; UsageError when
    `url` is no URL, or inside an `async def` job (`await cormorant.aget(url)` there).
    """
    request = _request(url, timeout, header, method, body)
    running = job.current.get()
    if running is None:
        return _page(_hops(request, _own_wire()))
    if running.wire is None:
        raise UsageError("get would block the event loop: inside an async function write `await cormorant.aget(url)`")
    return _page(_hops(request, running.wire))


async def aget(
    url: str, *, timeout: float | None = None, header: Any = (), method: str = "GET", body: bytes | None = None
) -> Page:
    """Do what `get` does with `await`: inside an `async def` job, or in your own event loop."""
    request = _request(url, timeout, header, method, body)
    running = job.current.get()
    if running is not None and running.awaited_wire is not None:
        step: Request | Outcome = request
        while isinstance(step, Request):
            step = _after(step, await running.awaited_wire.fetch(step))
        return _page(step)
    return _page(await _alone(request))


async def _alone(request: Request) -> Outcome:
    """Make one fetch on the running loop, outside any job."""
    setup = engines.Setup(work=fetching.afetch, transports=Curl(Options()), width=1, has_user_code=False)
    engine = engines.start_awaited(setup)
    try:
        step: Request | Outcome = request
        while isinstance(step, Request):
            engine.start(0, step, step.seconds)
            (done,) = await engine.collect(None)
            step = _after(step, done.value if done.fault is None else failure_of(step, done.fault))
        return step
    finally:
        await engine.close()


def _hops(request: Request, wire: Wire) -> Outcome:
    step: Request | Outcome = request
    while isinstance(step, Request):
        step = _after(step, wire.fetch(step))
    return step


def _after(request: Request, outcome: Outcome) -> Request | Outcome:
    """Return the next hop, or the end."""
    return (Redirects().next(request, outcome) or outcome) if isinstance(outcome, Page) else outcome


def _request(url: str, timeout: float | None, header: Any, method: str, body: bytes | None) -> Request:
    method = method.upper()
    if not method.isalpha() or not method.isascii() or (body is not None and method in ("GET", "HEAD")):
        raise UsageError(f"method {method!r} cannot be sent{' with a body' if body is not None else ''}; write 'POST'")
    seconds = Options(timeout=Options().timeout if timeout is None else timeout).timeout
    running = job.current.get()
    if running is not None:
        seconds = min(seconds, running.seconds_left())
        if seconds <= 0:
            raise DeadlineExceeded
    request = first_request(url, None, header_pairs(header), seconds)
    return msgspec.structs.replace(request, method=method, body=body) if method != "GET" else request


def _page(outcome: Outcome) -> Page:
    if isinstance(outcome, Failure):
        raise FetchError(outcome)
    return outcome


_thread = threading.local()


def _own_wire() -> Wire:
    """Return this thread's own blocking transport, for `get` outside jobs; never the one of a process we forked off."""
    if getattr(_thread, "process", None) != os.getpid():
        _thread.process, _thread.wire = os.getpid(), Curl(Options()).blocking()
    wire: Wire = _thread.wire
    return wire
