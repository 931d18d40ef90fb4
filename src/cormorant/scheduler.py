"""Decides what happens to each URL, and when. Pure: no I/O, no thread, no clock; tests drive it by hand.

Theory of operation. Input lines become requests in the frontier, queued by host. A heap holds exactly the hosts
that may be asked for a request: something waits for them, and politeness has room for it, from an
instant on. `next` takes the earliest of them; when none is ready it reads further in the input, at most
`LOOK_AHEAD` requests, so that one busy host holds back nobody and memory does not grow with the list. A
job that ended comes home through `settle` and is a redirect (goes to the head of its new host's queue), a
retry (waits in a second heap), or an end (an outcome). Every URL offered ends in exactly one outcome, except
duplicates, which are counted, and what `stop` left unreached.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import msgspec

from cormorant import urls
from cormorant.errors import BadURL
from cormorant.interfaces import Entry, Frontier
from cormorant.messages import (
    FINISHED,
    Done,
    Failure,
    Fault,
    Fetch,
    Finished,
    Headers,
    Kind,
    Outcome,
    Page,
    Request,
    Wait,
)
from cormorant.policies.politeness import Politeness
from cormorant.policies.redirects import Redirects
from cormorant.policies.retries import Retries

LOOK_AHEAD = 10_000  # requests waiting in the frontier at which no more is read: what one busy host may cost
READ_AT_ONCE = 200  # most lines read in one `next`, so that reading ahead never stalls the pages under way
JOB_SLACK_SECONDS = 1.0  # the transport ends a late hop, and knows what had come; the engine ends what comes after
INPUT_PAUSE_SECONDS = 0.05  # how long to leave an input alone that has nothing yet


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FetchPolicies:
    """The opinions a `FetchScheduler` asks, and what it puts on every request."""

    politeness: Politeness
    retries: Retries
    redirects: Redirects
    seconds: float
    headers: Headers
    keep_duplicates: bool


@dataclasses.dataclass(slots=True)
class _Host:
    active: int = 0
    next_at: float = 0.0
    listed: bool = False  # whether it is in the heap


class FetchScheduler:
    """Implements `interfaces.Scheduler` for a list of URLs. `entries` may yield None: nothing there yet."""

    def __init__(self, entries: Iterator[Entry | None], frontier: Frontier, policies: FetchPolicies) -> None:
        self._entries = entries
        self._frontier = frontier
        self._policies = policies
        self._has_room, self._delay = policies.politeness.has_room, policies.politeness.delay
        self._hosts: dict[str, _Host] = {}
        self._ready: list[tuple[float, int, str]] = []
        self._leaving: list[tuple[float, str]] = []
        self._later: list[tuple[float, int, Request]] = []
        self._under_way: dict[int, tuple[str, Request]] = {}
        self._ended: list[Outcome] = []
        self._tickets = itertools.count()
        self._order = itertools.count()
        self._input_ended = self._stopped = False
        self.offered = self.duplicates = self.retried = self.redirected = 0

    @property
    def input_ended(self) -> bool:
        """Whether the whole input was read."""
        return self._input_ended

    @property
    def in_flight(self) -> int:
        """How many jobs were started and have not come home."""
        return len(self._under_way)

    def next(self, now: float) -> Fetch | Wait | Finished:
        """Say what to start, until when to wait, or that all is settled."""
        if self._stopped:
            return Wait() if self._under_way else FINISHED
        while self._later and self._later[0][0] <= now:
            self._queue(heapq.heappop(self._later)[2])
        if self._leaving:
            self._forget_hosts(now)
        ready = self._ready
        if ready and ready[0][0] <= now:
            return self._start(now)
        input_paused = self._read_ahead(now)
        return self._start(now) if ready and ready[0][0] <= now else self._wait(now, input_paused)

    def _start(self, now: float) -> Fetch:
        name = heapq.heappop(self._ready)[2]
        host = self._hosts[name]
        host.listed = False
        host.active += 1
        host.next_at = now + self._delay
        request = self._frontier.take(name)
        msgspec.structs.force_setattr(request, "released_at", now)  # still ours alone; a copy costs a microsecond
        self._list(name, host)
        ticket = next(self._tickets)
        self._under_way[ticket] = (name, request)
        return Fetch(ticket=ticket, argument=request, seconds=request.seconds + JOB_SLACK_SECONDS)

    def _wait(self, now: float, input_paused: bool) -> Wait | Finished:
        instants = [heap[0][0] for heap in (self._ready, self._later) if heap]
        if input_paused:
            instants.append(now + INPUT_PAUSE_SECONDS)
        elif not self._input_ended and len(self._frontier) < LOOK_AHEAD:
            instants.append(now)  # the reading was cut short by READ_AT_ONCE
        if instants:
            return Wait(until=min(instants))
        return Wait() if self._under_way else FINISHED

    # --- input ---

    def _read_ahead(self, now: float) -> bool:
        """Read lines until a host is ready; returns whether the input has nothing yet."""
        if self._input_ended or len(self._frontier) >= LOOK_AHEAD:
            return False
        ready = self._ready
        for _ in range(READ_AT_ONCE):
            if ready and ready[0][0] <= now:
                return False
            try:
                entry = next(self._entries)
            except StopIteration:
                self._input_ended = True
                return False
            if entry is None:
                return True
            self._offer(*entry)
        return False

    def _offer(self, text: str, line: int | None) -> None:
        self.offered += 1
        try:
            request = first_request(text, line, self._policies.headers, self._policies.seconds)
        except BadURL as error:
            text = urls.without_surrogates(text)
            self._ended.append(
                Failure(url=text, kind=Kind.BAD_URL, message=str(error), input=text, line=line, attempts=0)
            )
            return
        # Other credentials make another request, though the record does not show them.
        key = request.url if request.headers is self._policies.headers else f"{request.url} {request.headers[-1][1]}"
        if not self._frontier.is_new(key) and not self._policies.keep_duplicates:
            self.duplicates += 1
            return
        self._queue(request)

    def _queue(self, request: Request, first: bool = False) -> None:
        name = urls.origin(request.target)
        self._frontier.add(name, request, first)
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host()
        self._list(name, host)

    def _list(self, name: str, host: _Host) -> None:
        """Put a host in the heap if something may start there; forget it when nothing ties us to it."""
        if host.listed:
            return
        if self._frontier.has(name):
            if self._has_room(host.active):
                host.listed = True
                heapq.heappush(self._ready, (host.next_at, next(self._order), name))
        elif not host.active:
            if self._delay:
                heapq.heappush(self._leaving, (host.next_at, name))
            else:
                del self._hosts[name]

    def _forget_hosts(self, now: float) -> None:
        """Forget the hosts that nothing waits for once their delay is over: memory does not grow with the list."""
        while self._leaving and self._leaving[0][0] <= now:
            name = heapq.heappop(self._leaving)[1]
            host = self._hosts.get(name)
            if host is not None and not host.active and not host.listed and host.next_at <= now:
                del self._hosts[name]

    # --- coming home ---

    def settle(self, done: Done, now: float) -> None:
        """Take one ended job home: redirect, retry or end."""
        name, request = self._under_way.pop(done.ticket)
        host = self._hosts[name]
        host.active -= 1
        self._list(name, host)
        outcome: Outcome = done.value if done.fault is None else failure_of(request, done.fault)
        if isinstance(outcome, Page):
            step = self._policies.redirects.next(request, outcome)
            if isinstance(step, Request):
                if not self._stopped:
                    self.redirected += 1
                    self._queue(step, first=True)
                return
            outcome = step or outcome
        wait_seconds = self._policies.retries.wait_seconds(outcome)
        if wait_seconds is None or self._stopped:
            self._ended.append(outcome)
        else:
            self.retried += 1
            # The hop that failed is made again, with a whole deadline; hops behind it are not repeated.
            again = msgspec.structs.replace(request, seconds=self._policies.seconds, attempts=request.attempts + 1)
            heapq.heappush(self._later, (now + wait_seconds, next(self._order), again))

    def outcomes(self) -> list[Outcome]:
        """Hand over, once, everything that has reached its end since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        """Start nothing more. Redirects and retries that were due stay unreached."""
        self._stopped = True

    def __repr__(self) -> str:
        return (
            f"<FetchScheduler offered={self.offered} duplicates={self.duplicates} hosts={len(self._hosts)} "
            f"waiting={len(self._frontier)} "
            f"under_way={len(self._under_way)} later={len(self._later)} ended={len(self._ended)}>"
        )


def first_request(text: str, line: int | None, headers: Headers, seconds: float) -> Request:
    """Return the first hop for a line of input. Raises BadURL.

    `user:password@` becomes an Authorization header (RFC 7617) and stays out of every record.
    """
    if not text.isprintable():
        urls.refuse_control_characters(text)
    url, credentials = urls.split_credentials(urls.clean(text))
    if credentials is not None:
        text = url
        secret = b64encode(b":".join(unquote_to_bytes(part) for part in credentials)).decode()
        headers = (*headers, ("Authorization", f"Basic {secret}"))
    return Request(url=url, target=url, input=text, line=line, headers=headers, seconds=seconds)


def failure_of(request: Request, fault: Fault) -> Failure:
    """Return the outcome of a request whose job gave no value."""
    return Failure(
        url=request.url,
        kind=fault.kind,
        message=fault.message,
        phase="job",
        input=request.input,
        line=request.line,
        final_url=request.target,
        attempts=request.attempts,
        redirects=request.redirects,
    )
