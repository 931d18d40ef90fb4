"""How long a list must take under the asked politeness, before anything is fetched. Pure but for reading the list.

A host with n pages cannot be done before its last start, which is n - 1 gaps after its first; nor, with w at once,
before n / w pages have taken their time one after the other. The run cannot be done before its slowest host (the
critical path), nor before all pages have gone through `concurrency`. Memory grows with hosts, not with URLs.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections import Counter
from collections.abc import Iterable

from cormorant import urls
from cormorant.errors import BadURL
from cormorant.frontier.seen import SeenURLs
from cormorant.interfaces import Entry
from cormorant.options import Options
from cormorant.policies.politeness import Politeness
from cormorant.scheduler.requests import first_request, with_credentials

LATENCY_SECONDS = 0.2
SLOWEST_SHOWN = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """One host (or domain): how many requests it gets, and the least seconds they take."""

    host: str
    requests: int
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a list asks for, and the least time it takes.

    `seconds` is the shortest possible time; `critical` is the host that decides it, or None where `concurrency` does;
    `slowest` are the hosts that take longest. `latency_seconds` is what each page was assumed to take.
    """

    offered: int
    pages: int
    duplicates: int
    bad: int
    hosts: int
    seconds: float
    critical: HostPlan | None
    slowest: tuple[HostPlan, ...]
    concurrency: int
    latency_seconds: float


def plan(entries: Iterable[Entry], options: Options, concurrency: int, latency_seconds: float) -> Plan:
    """Read a list whole and plan it. With `robots` each host gets one request more; their Crawl-delay is not known yet.

    `polite_by` address counts by host: no name is looked up.
    """
    by = "host" if options.polite_by == "address" else options.polite_by
    politeness = Politeness(per_host=options.per_host, delay=options.delay, by=by)
    seen, counts, bad, offered = SeenURLs(), Counter[str](), 0, 0
    for text, line in entries:
        offered += 1
        try:
            request = first_request(text, line, (), options.timeout)
        except BadURL:
            bad += 1
            continue
        if seen.add(with_credentials(urls.canonical(request.url), request, ())) or options.keep_duplicates:
            counts[politeness.key(urls.origin(request.url), None)] += 1
    pages = counts.total()
    if options.robots:
        counts.update(dict.fromkeys(counts, 1))
    hosts = (_host_plan(host, requests, politeness, latency_seconds) for host, requests in counts.items())
    slowest = tuple(heapq.nlargest(SLOWEST_SHOWN, hosts, key=lambda one: (one.seconds, one.requests)))
    all_seconds = math.ceil(counts.total() / concurrency) * latency_seconds
    critical = slowest[0] if slowest and slowest[0].seconds > all_seconds else None
    return Plan(
        offered=offered,
        pages=pages,
        duplicates=offered - bad - pages,
        bad=bad,
        hosts=len(counts),
        seconds=critical.seconds if critical is not None else all_seconds,
        critical=critical,
        slowest=slowest,
        concurrency=concurrency,
        latency_seconds=latency_seconds,
    )


def _host_plan(host: str, requests: int, politeness: Politeness, latency_seconds: float) -> HostPlan:
    gaps = (requests - 1) * politeness.gap(None, 0.0, 0.0) + latency_seconds
    rounds = math.ceil(requests / politeness.per_host) * latency_seconds if politeness.per_host else 0.0
    return HostPlan(host=host, requests=requests, seconds=max(gaps, rounds))
