"""The demo: one rude list fetched under every engine, one after the other, and a table that says who waited for whom.

The list is the embedded site's usual mix (good pages, slow, dripping, hung, cut, redirected, 404, 500) with an
address where nobody listens and a line that is no URL. Every engine gets the same list, and what it hands over is
held against the other engines and against what the site is known to serve.

**Waited behind a hung page.** See `waiting.py`; a page's own time is the latency that the site knows, and a hung page
is under way for the `TIMEOUT` seconds before its failure is handed over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from cormorant import engines as rooms
from cormorant.errors import CormorantError
from cormorant.lab import site
from cormorant.lab.waiting import longest_wait
from cormorant.messages import Kind, Outcome

TIMEOUT = 2.0
CONCURRENCY = 16
NO_URL = "this line is no URL"
_SHOWN = 5


class Fact(NamedTuple):
    """What must be equal under every engine."""

    url: str
    ok: bool
    status: int | None
    kind: Kind | None
    body: bytes


class HandOver(NamedTuple):
    """One outcome and the seconds from the start of the run to its hand-over."""

    seconds: float
    outcome: Outcome


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One engine's run over the list; `error` says why it broke off, when it did."""

    engine: str
    hand_overs: list[HandOver]
    seconds: float
    error: str | None = None

    def good(self) -> list[HandOver]:
        """Return the hand-overs of pages with a status below 400."""
        return [hand_over for hand_over in self.hand_overs if hand_over.outcome.ok]

    def facts(self) -> Counter[Fact]:
        """Return the multiset that is compared."""
        outcomes = (hand_over.outcome for hand_over in self.hand_overs)
        return Counter(Fact(out.url, out.ok, out.status, out.kind, out.body) for out in outcomes)

    def longest_wait(self, latencies: Mapping[str, float]) -> float:
        """Return how long a good page waited behind a hung one; see the top of this file."""
        ends = [over.seconds for over in self.hand_overs if over.outcome.kind is Kind.TIMEOUT]
        good = [(over.seconds, latencies.get(over.outcome.url, 0.0)) for over in self.good()]
        return longest_wait(good, [(end - TIMEOUT, end) for end in ends])


def run(pages: int = 200, engines: Sequence[str] | None = None, *, console: Console | None = None) -> int:
    """Fetch a list of `pages` pages under `engines` (None: all) and print the table.

    Returns 0 when all engines that are installed gave the same, right outcomes, 1 otherwise. Raises UsageError for an
    engine or number that cannot be, MissingPackage without the site's server.
    """
    console = console or Console()
    chosen = list(engines or rooms.names())
    missing = {name: rooms.missing(name) for name in chosen}
    with site.running(site.Workload.mixed(pages)) as served, _refusing_url() as refused:
        middle = pages // 2
        urls = [*served.urls()[:middle], refused, NO_URL, *served.urls()[middle:]]
        runs = []
        for name in (name for name in chosen if not missing[name]):
            with console.status(f"{name}: {len(urls)} URLs"):
                runs.append(_fetch(name, urls))
        truth = {url: served.expected(url) for url in served.urls()}
    right = Counter(Fact(url, end.good, end.status, end.kind, end.body) for url, end in truth.items())
    right.update([Fact(refused, False, None, Kind.CONNECT, b""), Fact(NO_URL, False, None, Kind.BAD_URL, b"")])
    console.print(_table(runs, {url: end.seconds for url, end in truth.items()}))
    for name, line in missing.items():
        if line:
            console.print(f"{name} is not installed: {line}", markup=False)
    return _judge(console, runs, right)


def _fetch(engine: str, urls: Sequence[str]) -> Run:
    from cormorant import api

    most = rooms.facts(engine).most_at_once
    words: dict[str, Any] = {"concurrency": min(CONCURRENCY, most or CONCURRENCY), "timeout": TIMEOUT, "per_host": 0}
    hand_overs: list[HandOver] = []
    error = None
    start = time.monotonic()
    try:
        for outcome in api.fetch(urls, engine=engine, **words):
            hand_overs.append(HandOver(time.monotonic() - start, outcome))
    except CormorantError as problem:
        error = f"{type(problem).__name__}: {problem}"
    return Run(engine, hand_overs, time.monotonic() - start, error)


@contextlib.contextmanager
def _refusing_url() -> Iterator[str]:
    """Give a URL that refuses connections: its port is bound, so nobody else takes it, but nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/"


def _table(runs: Sequence[Run], latencies: Mapping[str, float]) -> Table:
    table = Table(
        title=f"The same {len(latencies) + 2} URLs under every engine, {CONCURRENCY} at once, timeout {TIMEOUT:g} s",
        caption="waited behind a hung page: the longest stretch with a hung page under way and no good page handed "
        "over, less the own latency of the good page that ended it",
    )
    table.add_column("engine")
    headings = ("pages", "failures", "seconds", "first page after", "last page after", "waited behind a hung page")
    for heading in headings:
        table.add_column(heading, justify="right")
    for each in runs:
        table.add_row(each.engine, *_cells(each, latencies))
    return table


def _cells(each: Run, latencies: Mapping[str, float]) -> list[str]:
    good = each.good()
    counts = [str(len(good)), str(len(each.hand_overs) - len(good)), f"{each.seconds:.2f}"]
    if not good:
        return counts
    return [*counts, f"{good[0].seconds:.3f} s", f"{good[-1].seconds:.2f} s", f"{each.longest_wait(latencies):.3f} s"]


def _judge(console: Console, runs: Sequence[Run], right: Counter[Fact]) -> int:
    """Say in one line whether all agree, and what differs where they do not; returns the exit code."""
    what = "multisets of (url, ok, status, kind, body)"
    wrong = [each for each in runs if each.error or each.facts() != right]
    if runs and not wrong:
        names = ", ".join(each.engine for each in runs)
        console.print(f"[green]Equal[/green] {what} under {names}: and just what the site serves.")
        return 0
    console.print(
        f"[red]Not equal[/red]: {what} differ from what the site serves under {len(wrong)} of {len(runs)} engines."
    )
    for each in wrong:
        if each.error:
            console.print(f"  {each.engine} broke off: {each.error}", markup=False)
        for sign, facts in (("missing", right - each.facts()), ("instead", each.facts() - right)):
            for fact in sorted(facts, key=lambda fact: fact.url)[:_SHOWN]:
                shown = f"{fact.url} ok={fact.ok} status={fact.status} kind={fact.kind} {len(fact.body)} bytes"
                console.print(f"  {each.engine} {sign}: {shown}", markup=False)
    return 1
