"""The scheduler of URLs: a list, and with `discovery` a crawl. Pure: no I/O, no thread, no clock.

Theory of operation. Input lines become requests in the frontier, queued by host. `hosts.py` knows which hosts may be
asked, and from which instant on. `next` takes the earliest of them; when none is ready it reads further in the
input, at most `LOOK_AHEAD` requests, so that one busy host holds back nobody and memory does not grow with the list.
Before the first page of a host its robots.txt is asked for, if it is to be kept; the host is held meanwhile. A job
that ended comes home through `settle` and is a redirect (goes to the head of its new host's queue), a retry
(waits in a heap of its own), an answer for the scheduler itself, or an end (an outcome). In a crawl the links of a
page become requests in their turn. Every URL offered ends in exactly one outcome, except duplicates and what a crawl
left out, which are counted, and what `stop` left unreached. With `Books` (a job) each end is noted as it comes, and
what is open when the run ends, however it ends, is what the next one goes on with (`go_on`). With `Neighbours` (a share
of a fleet) what leads to a host of another share, or to one found at an address of another, ends here without an
outcome, and goes on there (`take_in`).
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from cormorant import urls
from cormorant.interfaces import Books, Entry, Frontier, Neighbours
from cormorant.messages import (
    FINISHED,
    Done,
    Failure,
    Fetch,
    Finished,
    HandedOver,
    Harvest,
    Headers,
    HopOver,
    HostOver,
    Kind,
    LeftOut,
    Outcome,
    Page,
    Purpose,
    Request,
    Wait,
    unsealed,
)
from cormorant.policies.redirects import Redirects
from cormorant.policies.retries import Budget
from cormorant.policies.robots import MOST_REDIRECTS
from cormorant.scheduler.discovery import Discovery
from cormorant.scheduler.hosts import Host, Hosts
from cormorant.scheduler.intake import Intake
from cormorant.scheduler.requests import address_request, failure_of, refused, with_validators
from cormorant.scheduler.robots import Gate
from cormorant.scheduler.settings import FetchPolicies
from cormorant.scheduler.territory import Territory

LOOK_AHEAD = 1_000_000  # requests waiting in the frontier at which no more is read: what one busy host may cost
READ_AT_ONCE = 200  # most lines read in one `next`, so that reading ahead never stalls the pages under way
REFUSED_AT_ONCE = 200  # most requests refused in one `next`, for the same reason
JOB_SLACK_SECONDS = 1.0  # the transport ends a late hop, and knows what had come; the engine ends what comes after
NOT_MODIFIED = 304
INPUT_PAUSE_SECONDS = 0.05  # how long to leave an input alone that has nothing yet

_ROBOTS_REDIRECTS = Redirects(limit=MOST_REDIRECTS)


class FetchScheduler:
    """Implements `interfaces.Scheduler` for URLs. `entries` may yield None: nothing there yet."""

    def __init__(
        self,
        entries: Iterator[Entry | None],
        frontier: Frontier,
        policies: FetchPolicies,
        discovery: Discovery | None = None,
        draw: Callable[[], float] = random.random,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._neighbours = neighbours
        self._frontier = frontier
        self._policies, self._discovery, self._draw = policies, discovery, draw
        self._intake = Intake(
            entries,
            frontier,
            discovery,
            headers=policies.headers,
            seconds=policies.seconds,
            keep_duplicates=policies.keep_duplicates,
            conditions=policies.conditions,
        )
        self._books: Books | None = None
        self._gate = Gate(policies.robots, policies.robots_token) if policies.robots is not None else None
        known_delay = self._gate.crawl_delay if self._gate is not None else None
        self._hosts = Hosts(
            policies.politeness, policies.retries, policies.breaker, policies.throttle, draw, known_delay
        )
        self._territory = Territory(self._hosts, neighbours)
        self._budget = Budget()
        self._later: list[tuple[float, int, Request | str]] = []
        self._under_way: dict[int, tuple[Host, Request]] = {}
        self._ended: list[Outcome] = []
        self._tickets = itertools.count()
        self._order = itertools.count()
        self._stopped = False
        self.retried = self.redirected = self.services = 0

    @property
    def offered(self) -> int:
        """Lines read and URLs found so far."""
        return self._intake.offered + (self._discovery.found if self._discovery is not None else 0)

    @property
    def duplicates(self) -> int:
        """Lines left out because they were listed before."""
        return self._intake.duplicates

    @property
    def left_out(self) -> Counter[str]:
        """URLs that a crawl left out, by reason."""
        return self._discovery.left_out if self._discovery is not None else Counter()

    @property
    def reports_left_out(self) -> bool:
        """Whether what is left out is told one by one, and not counted alone."""
        return self._discovery is not None and self._discovery.reports_left_out

    @reports_left_out.setter
    def reports_left_out(self, wanted: bool) -> None:
        if self._discovery is not None:
            self._discovery.reports_left_out = wanted

    @property
    def input_ended(self) -> bool:
        """Whether the whole input was read."""
        return self._intake.has_ended

    @property
    def in_flight(self) -> int:
        """How many jobs were started and have not come home."""
        return len(self._under_way)

    @property
    def waiting(self) -> int:
        """How many requests have not been started."""
        return len(self._frontier)

    # --- a run that goes on ---

    def counters(self) -> dict[str, Any]:
        """Return what was counted so far, as JSON values: for `go_on`."""
        counters: dict[str, Any] = {name: getattr(self, name) for name in ("retried", "redirected", "services")}
        counters |= self._intake.counters()
        if self._discovery is not None:
            counters |= {"found": self._discovery.found, "left_out": dict(self._discovery.left_out)}
        return counters

    def go_on(self, books: Books, counters: Mapping[str, Any], now: float, wall: float, is_first: bool = False) -> None:
        """Go on where a run stopped, or begin one; before the first `next`. `books` are the frontier's.

        Nobody is asked before the least gap has passed, for when they were asked last is not known; unless it
        `is_first`: no run came before. `wall` is now in seconds since the epoch.
        """
        self._books = books
        if not is_first:
            self._hosts.go_on(now)
        self._intake.go_on(books, counters)
        for name in ("retried", "redirected", "services"):
            setattr(self, name, counters.get(name, 0))
        if self._discovery is not None:
            self._discovery.go_on(books, counters.get("found", 0), counters.get("left_out", {}))
        if self._gate is not None:
            self._gate.go_on(books, now, wall)
        for origin in books.hosts():
            self._hosts.line_up(self._hosts.host(origin))
        for request in books.guests_again():
            assert request.ending is not None
            self._settle_guest(request, unsealed(request.ending))

    # --- out ---

    def next(self, now: float) -> Fetch | Wait | Finished:
        """Say what to start, until when to wait, or that all is settled."""
        if self._stopped:
            return Wait() if self._under_way else FINISHED
        if self._discovery is not None and not self._intake.has_ended:
            return self._read_seeds(now)
        while self._later and self._later[0][0] <= now:
            self._resume(heapq.heappop(self._later)[2], now)
        self._hosts.forget(now)
        fetch = self._start_next(now)
        if fetch is not None:
            return fetch
        input_paused = self._read_ahead(now)
        return self._start_next(now) or self._wait(now, input_paused)

    def _start_next(self, now: float) -> Fetch | None:
        """Start what comes first, past all that is refused on the way; None: nothing may start now."""
        for _ in range(REFUSED_AT_ONCE):
            host = self._hosts.next(now)
            if host is None:
                return None
            request = self._request_of(host, now)
            if request is not None:
                return self._start(host, request, now)
            self._line_up(host, now)
        return None

    def _request_of(self, host: Host, now: float) -> Request | None:
        """Return what to ask a host for; None when what came first there is refused."""
        gate = self._gate
        if self._hosts.must_look_up(host):
            host.is_held = host.is_looked_up = True
            return address_request(host.name, self._policies.seconds)
        if host.express:
            express, *rest = host.express
            host.express = tuple(rest)
            return express
        address = self._territory.address_elsewhere(host)
        if address is not None:
            self._pass_on(self._frontier.take(host.name), address)
            return None
        lost = self._hosts.given_up(host)
        if lost is None and gate is not None and gate.must_ask(host.name, now):
            host.is_held = True
            return gate.request(host.name, self._headers_for(host.name), self._policies.seconds)
        request = self._frontier.take(host.name)
        if lost is not None:
            self._refuse(request, *lost, None)
            return None
        refusal = gate.refusal(host.name, request.target) if gate is not None else None
        if refusal is not None:
            self._refuse(request, *refusal)
            return None
        if self._discovery is not None and not self._discovery.may_start(request):
            self._settle(request, None)
            return None
        return request

    def _pass_on(self, request: Request, address: str) -> None:
        """Have a request made by the share that owns the address of its host."""
        assert self._neighbours is not None
        self._settle(request, None)
        self._neighbours.hand_over(HostOver(request, address))

    def _headers_for(self, origin: str) -> Headers:
        return self._policies.headers if self._discovery is None else self._discovery.headers_for(origin)

    def _refuse(self, request: Request, kind: Kind, words: str, phase: str | None) -> None:
        outcome = refused(request, kind, words, phase) if request.purpose is Purpose.PAGE else None
        self._settle(request, outcome)
        if outcome is not None:
            self._look_for_sitemaps(request.target)

    def _start(self, host: Host, request: Request, now: float) -> Fetch:
        self._hosts.start(host, now)
        self._line_up(host, now)
        msgspec.structs.force_setattr(request, "released_at", now)  # still ours alone; a copy costs a microsecond
        ticket = next(self._tickets)
        self._under_way[ticket] = (host, request)
        return Fetch(ticket=ticket, argument=request, seconds=request.seconds + JOB_SLACK_SECONDS)

    def _line_up(self, host: Host, now: float) -> None:
        if host.is_looked_up:
            return
        if host.express or (not host.is_held and self._frontier.has(host.name)):
            self._hosts.line_up(host)
        elif self._hosts.rest(host, now) and self._gate is not None:
            self._gate.put_aside(host.name)

    def _wait(self, now: float, input_paused: bool) -> Wait | Finished:
        ready_at = self._hosts.next_at()
        instants = [] if ready_at is None else [ready_at]
        if self._later:
            instants.append(self._later[0][0])
        if input_paused:
            instants.append(now + INPUT_PAUSE_SECONDS)
        elif not self._intake.has_ended and len(self._frontier) < LOOK_AHEAD:
            instants.append(now)  # the reading was cut short by READ_AT_ONCE
        if instants:
            return Wait(until=min(instants))
        return Wait() if self._under_way else FINISHED

    def _resume(self, what: Request | str, now: float) -> None:
        """Go on with a retry whose time has come, or with a host whose robots.txt is to be asked for again."""
        if isinstance(what, Request):
            self._queue(what, first=True)
        else:
            self._release(what, now)

    # --- input ---

    def _read_ahead(self, now: float) -> bool:
        """Read lines until a host is ready; returns whether the input has nothing yet."""
        if self._intake.has_ended or len(self._frontier) >= LOOK_AHEAD:
            return False
        for _ in range(READ_AT_ONCE):
            ready_at = self._hosts.next_at()
            if (ready_at is not None and ready_at <= now) or self._intake.has_ended:
                return False
            self._read()
            if self._intake.is_paused:
                return True
        return False

    def _read_seeds(self, now: float) -> Fetch | Wait | Finished:
        """Read on in a crawl's input, of which everything is read before anything starts: it says how far to go."""
        for _ in range(READ_AT_ONCE):
            self._read()
            if self._intake.is_paused:
                return Wait(until=now + INPUT_PAUSE_SECONDS)
            if self._intake.has_ended:
                return self.next(now)
        return Wait(until=now)

    def _read(self) -> None:
        """Read one line."""
        taken = self._intake.next()
        if isinstance(taken, Request):
            self._queue(taken)
        elif taken is not None:
            self._ended.append(taken)

    def _queue(self, request: Request, first: bool = False) -> None:
        host = self._hosts.host(urls.origin(request.target))
        if request.purpose is Purpose.ROBOTS:
            host.express = (*host.express, request)
        else:
            self._frontier.add(host.name, request, first)
            if host.is_held:
                return
        if not host.is_looked_up:
            self._hosts.line_up(host)

    # --- home ---

    def settle(self, done: Done, now: float) -> None:
        """Take one ended job home: redirect, retry, an answer for ourselves, or an end."""
        host, request = self._under_way.pop(done.ticket)
        value = done.value if done.fault is None else failure_of(request, done.fault)
        harvest = value if isinstance(value, Harvest) else None
        outcome: Outcome = value if harvest is None else harvest.outcome
        self._hosts.settle(host, request, outcome, now)
        self._line_up(host, now)
        if request.attempts == 1 and not request.redirects:
            self._budget.earn()
        step = self._redirect(request, outcome) if isinstance(outcome, Page) else None
        if isinstance(step, Request):
            self._follow(request, step, outcome)
            return
        outcome = step or outcome
        if request.purpose is Purpose.ADDRESS:
            host.is_looked_up = False
            self._hosts.found_at(host, outcome.ip or host.name)
            self._release(host.name, now)
        elif request.purpose is Purpose.ROBOTS:
            self._heard_robots(request, outcome, now)
        elif not self._is_tried_again(request, outcome, now):
            self._end(request, outcome, harvest)

    def _redirect(self, request: Request, page: Page) -> Request | Failure | None:
        """Return the next hop, the failure it ends in, or None when `page` is an end in itself."""
        redirects = _ROBOTS_REDIRECTS if request.purpose is Purpose.ROBOTS else self._policies.redirects
        step = redirects.next(request, page)
        if not isinstance(step, Request) or self._discovery is None or request.purpose is not Purpose.PAGE:
            return step
        return self._discovery.redirected(request, step, page)

    def _follow(self, request: Request, hop: Request, page: Outcome) -> None:
        """Make a hop, or have the share make it that owns its host. What is not made before a stop is left open."""
        if self._stopped:
            return
        if request.purpose is Purpose.ROBOTS or self._territory.holds(hop.target):
            self.redirected += 1
            self._queue(hop, first=True)
        elif self._neighbours is not None and isinstance(page, Page):
            self._settle(request, None)
            self._neighbours.hand_over(HopOver(hop, page))

    @property
    def may_take_in(self) -> bool:
        """Whether what others hand over may be taken in: of a crawl, whose seeds bound it, when all are read."""
        return self._discovery is None or self.input_ended

    def take_in(self, item: HandedOver) -> None:
        """Go on with what another share hands over, where that may be."""
        if isinstance(item, HopOver):
            self._take_in_hop(item.request, item.page)
        elif isinstance(item, HostOver):
            self._hosts.told(urls.origin(item.request.target), item.address)
            self._queue(item.request)
        elif self._discovery is not None:
            self._queue_all(self._discovery.sighted(item))

    def _take_in_hop(self, hop: Request, page: Page) -> None:
        step: Request | Failure | None = hop
        if self._discovery is not None and hop.purpose is Purpose.PAGE:
            before = msgspec.structs.replace(hop, target=hop.redirects[-1].url, redirects=hop.redirects[:-1])
            step = self._discovery.redirected(before, hop, page)
        if isinstance(step, Request):
            self.redirected += 1
            self._queue(step)
        else:
            self._settle_guest(hop, step or page)

    def _settle_guest(self, request: Request, outcome: Outcome) -> None:
        assert self._books is not None
        self._books.settle_guest(request, outcome)
        self._ended.append(outcome)

    def _is_tried_again(self, request: Request, outcome: Outcome, now: float) -> bool:
        """Put a request aside for its next attempt, if it gets one."""
        wait_seconds = self._policies.retries.wait_seconds(outcome, self._draw())
        if wait_seconds is None:
            return False
        if self._stopped:
            self.retried += self._books is not None  # by the run that goes on with this one
            return self._books is not None
        if outcome.kind is not Kind.LOCAL and not self._budget.spend():
            return False
        self.retried += 1
        # The hop that failed is made again, with a whole deadline; hops behind it are not repeated.
        again = msgspec.structs.replace(request, seconds=self._policies.seconds, attempts=request.attempts + 1)
        heapq.heappush(self._later, (now + wait_seconds, next(self._order), again))
        return True

    def _heard_robots(self, request: Request, outcome: Outcome, now: float) -> None:
        """Take in what came of asking for a robots.txt, and let its host go on; or ask again later."""
        assert self._gate is not None
        origin = urls.origin(request.url)
        again_at = self._gate.heard(origin, outcome, now, self._budget.spend)
        if again_at is not None:
            heapq.heappush(self._later, (again_at, next(self._order), origin))
            return
        self.services += 1
        answer = self._gate.answer(origin, outcome)
        if self._books is not None and answer is not None:
            self._books.keep_robots(answer)
        self._hosts.ask_slower(self._hosts.host(origin), self._gate.crawl_delay(origin), now)
        self._release(origin, now)

    def _release(self, origin: str, now: float) -> None:
        host = self._hosts.host(origin)
        host.is_held = False
        self._line_up(host, now)

    def _end(self, request: Request, outcome: Outcome, harvest: Harvest | None) -> None:
        if request.purpose is Purpose.PAGE:
            self._settle(request, with_validators(outcome, request) if outcome.status == NOT_MODIFIED else outcome)
            self._look_for_sitemaps(request.target)
        else:
            self._settle(request, None)
            self.services += 1
        if harvest is not None and self._discovery is not None and self._goes_on:
            self._queue_all(self._discovery.requests(harvest, request))

    def _settle(self, request: Request, outcome: Outcome | None) -> None:
        """Let a request end: in an outcome that is handed over, or in nothing."""
        if self._books is not None:
            self._books.settle(request, outcome)
        if outcome is not None:
            self._ended.append(outcome)

    @property
    def _goes_on(self) -> bool:
        """Whether what is found is fetched, by this run or by the one that goes on with it."""
        return not self._stopped or self._books is not None

    def _look_for_sitemaps(self, url: str) -> None:
        """Ask for the sitemaps of a page's host, once; after the page, for a seed that has moved moves the scope."""
        if self._discovery is None or not self._discovery.reads_sitemaps or not self._goes_on:
            return
        origin = urls.origin(url)
        self._queue_all(
            self._discovery.sitemaps_of(origin, self._gate.sitemaps(origin) if self._gate is not None else ())
        )

    def _queue_all(self, requests: Iterable[Request]) -> None:
        for request in requests:
            self._queue(request)

    def outcomes(self) -> list[Outcome]:
        """Hand over, once, everything that has reached its end since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def take_left_out(self) -> list[LeftOut]:
        """Hand over, once, what a crawl left out since the last call."""
        return self._discovery.take_left_out() if self._discovery is not None else []

    def stop(self) -> None:
        """Start nothing more. Redirects and retries that were due stay unreached."""
        self._stopped = True

    def close(self) -> None:
        """Ask for no page more: what waits is left out. For a crawl whose budget others count."""
        if self._discovery is not None:
            self._discovery.is_closed = True

    def __repr__(self) -> str:
        return (
            f"<FetchScheduler offered={self.offered} duplicates={self.duplicates} hosts={len(self._hosts)} "
            f"waiting={len(self._frontier)} "
            f"under_way={len(self._under_way)} later={len(self._later)} ended={len(self._ended)}>"
        )
