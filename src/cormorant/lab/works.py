"""What every engine is given: the embedded site's list, the user's URLs, or the user's own function over items."""

from __future__ import annotations

import dataclasses
import pkgutil
from collections.abc import Iterable
from typing import Any

import msgspec

from cormorant import urls as texts
from cormorant.engines import is_async
from cormorant.errors import BadURL, UsageError
from cormorant.lab import site
from cormorant.lab.comparison import WorkDone
from cormorant.options import Options

EMBEDDED: dict[str, Any] = {"latency": "lognormal:0.006:0.8", "slow_seconds": 0.2, "drip_seconds": 0.2}
EMBEDDED_TIMEOUT_SECONDS = 1.0
WARM_UP_SHARE = 10  # one in so many jobs is run before, and dropped
MOST_WARM_UP = 50


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The jobs and how to do them; `function` is `MODULE:FUNCTION`, or None to fetch. `origin` is who is asked."""

    done: WorkDone
    origin: str
    jobs: list[Any]
    warm_up: list[Any]
    function: str | None = None
    is_async: bool = False


def embedded_workload(pages: int, seed: int) -> site.Workload:
    """Return the usual mix with latencies that let seven engines be tried three times within two minutes."""
    return site.Workload.mixed(pages, seed=seed, **EMBEDDED)


def refuse_mixed(urls: Iterable[str] | None, work: str | None, items: Iterable[Any] | None) -> None:
    """Raise UsageError when it is not clear what is to be done."""
    if urls is not None and work is not None:
        raise UsageError("urls and work together: a function gets its items by items=[...]; leave urls out")
    if items is not None and work is None:
        raise UsageError("items without a function: add work='MODULE:FUNCTION', or give pages as urls")


def of_site(origin: site.Site, timeout: float | None, per_host: int | None) -> Work:
    """Return the whole list of a running site; the warm-up are other pages of it, all good."""
    workload = origin.workload
    return Work(
        done=WorkDone(
            name=f"mixed-{workload.pages}",
            source="embedded",
            jobs=workload.pages,
            hosts=workload.hosts_here,
            timeout_seconds=EMBEDDED_TIMEOUT_SECONDS if timeout is None else timeout,
            per_host=per_host or 0,
            workload=dataclasses.asdict(workload),
        ),
        origin="the embedded site",
        jobs=list(origin.urls()),
        warm_up=[
            f"http://{workload.host(number)}:{origin.port}/page/{workload.pages + number}"
            for number in range(_warm_up(workload.pages))
        ],
    )


def of_list(urls: Iterable[str], timeout: float | None, per_host: int | None) -> Work:
    """Return the user's URLs; its first are the warm-up. Raises UsageError for what is no list of texts, or empty."""
    if isinstance(urls, (str, bytes)):
        raise UsageError(f"urls is one string; give a list: compare([{urls!r}])")
    jobs = list(urls)
    for place, url in enumerate(jobs, 1):
        if not isinstance(url, str):
            raise UsageError(f"URL {place} is {url!r}, which is no text; give str(url)")
    if not jobs:
        raise UsageError("nothing to compare with: give URLs, -i FILE, or nothing at all for the embedded site")
    hosts = {host for url in jobs if (host := _host(url)) is not None}
    return Work(
        done=WorkDone(
            name=f"{len(jobs)} URLs on {len(hosts)} hosts",
            source="list",
            jobs=len(jobs),
            hosts=len(hosts),
            timeout_seconds=Options().timeout if timeout is None else timeout,
            per_host=Options().per_host if per_host is None else per_host,
        ),
        origin=", ".join(sorted(hosts)[:3]) + (" and others" if len(hosts) > 3 else ""),
        jobs=jobs,
        warm_up=jobs[: _warm_up(len(jobs))],
    )


def of_function(name: str, items: Iterable[Any] | None, timeout: float | None) -> Work:
    """Return the user's function over `items`.

    Raises UsageError when it cannot be imported by its name, and for items that a fresh process would not get as
    they are: they travel as JSON.
    """
    if not isinstance(name, str):
        raise UsageError(f"work is {name!r}; every trial is a fresh process, so name it: work='MODULE:FUNCTION'")
    jobs = list(() if items is None else items)
    if not jobs:
        raise UsageError("no items for the function: give -i FILE (items=[...] in Python)")
    for place, item in enumerate(jobs, 1):
        _refuse_no_json(place, item)
    try:
        function = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{name!r} cannot be imported in a fresh process; write MODULE:FUNCTION ({error})") from None
    return Work(
        done=WorkDone(
            name=f"{name} over {len(jobs)} items",
            source="function",
            jobs=len(jobs),
            hosts=None,
            timeout_seconds=Options().timeout if timeout is None else timeout,
            per_host=0,
        ),
        origin=f"whatever {name} asks",
        jobs=jobs,
        warm_up=jobs[: _warm_up(len(jobs))],
        function=name,
        is_async=is_async(function),
    )


def _refuse_no_json(place: int, item: Any) -> None:
    """Raise UsageError for an item that would be lost or become another on its way through JSON."""
    try:
        is_same = _is_same(item, msgspec.json.decode(msgspec.json.encode(item)))
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        is_same = False
    if not is_same:
        raise UsageError(
            f"item {place} is {item!r}, which is no JSON value, and every trial is a fresh process; give None, bool, "
            "int, float, str, or lists and dicts of these (a tuple as a list), and build the rest in the function"
        )


def _is_same(item: Any, copy: Any) -> bool:
    """Tell whether a value came through JSON as it was, types and all."""
    if type(item) is not type(copy):
        return False
    if isinstance(item, dict):
        return item.keys() == copy.keys() and all(_is_same(value, copy[key]) for key, value in item.items())
    if isinstance(item, list):
        return len(item) == len(copy) and all(map(_is_same, item, copy))
    return bool(item == copy)


def _warm_up(jobs: int) -> int:
    return min(MOST_WARM_UP, max(2, jobs // WARM_UP_SHARE))


def _host(url: str) -> str | None:
    try:
        return texts.origin(texts.clean(url))
    except BadURL:
        return None
