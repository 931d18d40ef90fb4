"""A web on a clock moved by hand: drives a scheduler through a day in moments, and keeps the books of a server.

`answer(request) -> Outcome | Harvest` is the site, `seconds(request)` how long it takes; `books` holds (start, end,
host, request) of every request as its server would have seen it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import msgspec

from cormorant.messages import FINISHED, Done, Fetch, Harvest, Kind, Lead, Outcome, Page, Purpose, Request, Timings
from cormorant.scheduler.fetch import FetchScheduler
from cormorant.scheduler.requests import refused
from cormorant.urls import origin


def page(request: Request, status: int = 200, body: bytes = b"", **headers: str) -> Page:
    """Return an answer to a request; header names are given with `_` for `-`."""
    return Page(
        url=request.url,
        status=status,
        body=body,
        input=request.input,
        line=request.line,
        final_url=request.target,
        headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()),
        attempts=request.attempts,
        redirects=request.redirects,
        found=request.found,
        timings=Timings(first_byte=0.1, total=0.1),
    )


def leading(request: Request, *urls: str, **more: Any) -> Harvest:
    """Return a page that links to `urls`."""
    return Harvest(outcome=page(request), leads=tuple(Lead(url=url) for url in urls), **more)


def broken(request: Request, kind: Kind = Kind.CONNECT, message: str = "refused") -> Outcome:
    """Return a failure that the host is to blame for."""
    failure = refused(request, kind, message, phase="connect")
    return msgspec.structs.replace(failure, attempts=request.attempts)


class Web:
    """Runs `plan` to its end; at most `width` requests at once."""

    def __init__(
        self,
        plan: FetchScheduler,
        answer: Callable[[Request], Any],
        seconds: Callable[[Request], float] = lambda request: 0.1,
        width: int = 100_000,
    ) -> None:
        self.plan, self.answer, self.seconds, self.width = plan, answer, seconds, width
        self.now = 0.0
        self.ends: list[Outcome] = []
        self.books: list[tuple[float, float, str, Request]] = []
        self._under_way: list[tuple[float, int, Request]] = []

    def run(self, until: float = float("inf")) -> Web:
        """Go on until the plan is finished or the clock has passed `until`."""
        while self.now <= until:
            step = self.plan.next(self.now) if len(self._under_way) < self.width else None
            self.ends += self.plan.outcomes()
            if step is FINISHED:
                break
            if isinstance(step, Fetch):
                request: Request = step.argument
                end = self.now + self.seconds(request)
                self.books.append((self.now, end, origin(request.target), request))
                heapq.heappush(self._under_way, (end, step.ticket, request))
                continue
            waits = [self._under_way[0][0]] if self._under_way else []
            if step is not None and step.until is not None:
                waits.append(step.until)
            assert waits, f"it waits for ever: {self.plan!r}"
            self.now = max(self.now, min(waits))
            while self._under_way and self._under_way[0][0] <= self.now:
                _, ticket, request = heapq.heappop(self._under_way)
                self.plan.settle(Done(ticket=ticket, value=self.answer(request)), self.now)
        self.ends += self.plan.outcomes()
        return self

    def starts(self, by: Callable[[str], str] = lambda host: host, pages_alone: bool = False) -> dict[str, list[float]]:
        """Return the instants at which each host was asked."""
        found: dict[str, list[float]] = defaultdict(list)
        for start, _, host, request in self.books:
            if request.purpose is not Purpose.ADDRESS and (not pages_alone or request.purpose is Purpose.PAGE):
                found[by(host)].append(start)
        return found

    def least_gap(self, by: Callable[[str], str] = lambda host: host) -> float:
        """Return the least time between two starts to one host."""
        gaps = [later - earlier for times in self.starts(by).values() for earlier, later in pairwise(times)]
        return round(min(gaps, default=float("inf")), 9)  # floats

    def most_at_once(self, by: Callable[[str], str] = lambda host: host) -> int:
        """Return the most requests that one host had at once."""
        most = 0
        events: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for start, end, host, request in self.books:
            if request.purpose is not Purpose.ADDRESS:
                events[by(host)] += [(start, 1), (end, -1)]
        for host_events in events.values():
            active = 0
            for _, change in sorted(host_events):
                active += change
                most = max(most, active)
        return most

    def urls(self) -> list[str]:
        """Return what pages were asked for, in that order."""
        return [request.target for _, _, _, request in self.books if request.purpose is Purpose.PAGE]


def entries(texts: Iterable[str]) -> Any:
    """Return a list as a scheduler reads it."""
    return iter([(text, number) for number, text in enumerate(texts, 1)])
