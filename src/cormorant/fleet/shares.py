"""All shards of one worker behind one scheduler: whose turn it is, and which outcome is whose.

Each shard has a scheduler of its own, so that it can move to another worker. Here they stand in a heap by the instant
from which they want to be asked again; one that has nothing to do is asked when a job of it comes home, or mail comes.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import msgspec

from cormorant.fleet.budget import Allowance
from cormorant.fleet.marks import Marks, print_of
from cormorant.fleet.share import Share
from cormorant.messages import (
    FINISHED,
    Done,
    Failure,
    Fault,
    Fetch,
    Finished,
    Kind,
    LeftOut,
    Outcome,
    Page,
    Purpose,
    Request,
    Wait,
)
from cormorant.tally import Tally

STRIKES = 2  # workers that may die of a request before it is given up


class Shares:
    """Implements `interfaces.Scheduler` over the shards of one worker, and is their common sink and books.

    Outcomes are written in the order in which `outcomes` hands them over. `marks` hear of every job.
    """

    def __init__(self, marks: Marks | None, streams: bool, allowance: Allowance | None = None) -> None:
        self._marks, self._streams, self._allowance = marks, streams, allowance
        self._shares: dict[int, Share] = {}
        self._due: list[tuple[float, int, Share]] = []
        self._order = itertools.count()
        self._tickets = itertools.count()
        self._under_way: dict[int, tuple[Share, int, int]] = {}  # share, its ticket, print
        self._touched: dict[int, Share] = {}
        self._owners: deque[Share] = deque()
        self._suspects: Counter[int] = Counter()
        self._alone: Fetch | None = None  # waits until nothing else is under way
        self._is_alone = False
        self._stopped = self.is_over = self.is_held = False
        self._last: Share
        self.reports_left_out = False
        self.tally = Tally()
        self.seconds_before = 0.0

    def __iter__(self) -> Iterator[Share]:
        return iter(self._shares.values())

    def __getitem__(self, number: int) -> Share:
        return self._shares[number]

    def __contains__(self, number: int) -> bool:
        return number in self._shares

    def add(self, share: Share, now: float) -> None:
        """Own a shard from now on."""
        self._shares[share.number] = share
        _add_up(self.tally, share.commits.tally)
        if self._stopped:
            share.scheduler.stop()
        self._touched[share.number] = share
        self.wake(share, now)

    def suspect(self, suspects: dict[int, int]) -> None:
        """Run these requests alone, and give up those that had `STRIKES` already."""
        for mark, strikes in suspects.items():
            self._suspects[mark] = max(self._suspects[mark], strikes)

    def wake(self, share: Share, now: float) -> None:
        """Ask a shard again: something may have changed for it."""
        share.is_finished = False
        share.due = now
        heapq.heappush(self._due, (now, next(self._order), share))

    # --- the scheduler ---

    def next(self, now: float) -> Fetch | Wait | Finished:
        """Say what to start: of the shard that has waited longest."""
        if self._alone is not None or self._is_alone:
            return self._next_alone()
        while not self._must_hold(now) and self._due and self._due[0][0] <= now:
            due, _, share = heapq.heappop(self._due)
            if due != share.due:
                continue
            step = share.scheduler.next(now)
            self._touched[share.number] = share
            if isinstance(step, Fetch):
                self.wake(share, now)
                fetch = self._started(share, step, now)
                if fetch is not None:
                    return fetch
                if self._alone is not None:
                    return Wait()  # for those under way: nothing else begins beside it, not even another suspect
            elif isinstance(step, Wait):
                share.due = -1.0 if step.until is None else step.until
                if step.until is not None:
                    heapq.heappush(self._due, (step.until, next(self._order), share))
            else:
                share.is_finished = True
        if not self._under_way and (self.is_over or (self._stopped and all(one.is_finished for one in self))):
            return FINISHED
        return Wait(until=self._due[0][0] if self._due and not self._must_hold(now) else None)

    def _must_hold(self, now: float) -> bool:
        """Tell whether nothing may start, whoever is due: the driver is not heard, or has granted no page."""
        allowance = self._allowance
        if allowance is None or allowance.is_over or allowance.left > 0 or self._stopped:
            return self.is_held
        allowance.wants = bool(self._due) and self._due[0][0] <= now
        return True

    def _next_alone(self) -> Fetch | Wait:
        others = self._under_way.keys() - ({self._alone.ticket} if self._alone is not None else set())
        if others or self._is_alone or self.is_held:
            return Wait()
        fetch, self._alone, self._is_alone = self._alone, None, True
        assert fetch is not None
        self._mark(fetch.ticket)
        return fetch

    def _started(self, share: Share, step: Fetch, now: float) -> Fetch | None:
        """Return the job under a ticket of ours; None where it is given up, or has to wait until it is alone."""
        ticket = next(self._tickets)
        mark = print_of(step.argument) if step.argument.purpose is Purpose.PAGE else 0
        self._under_way[ticket] = share, step.ticket, mark
        if self._allowance is not None and _costs_a_page(step.argument):
            self._allowance.left -= 1
        strikes = self._suspects.get(mark, 0) if self._suspects else 0
        if strikes >= STRIKES:
            words = f"{strikes} workers died of it; it is given up"
            self.settle(Done(ticket=ticket, fault=Fault(kind=Kind.WORKER_LOST, message=words)), now)
            return None
        fetch = Fetch(ticket=ticket, argument=step.argument, seconds=step.seconds)
        if strikes:
            self._alone = fetch
            after = self._next_alone()
            return after if isinstance(after, Fetch) else None
        self._mark(ticket)
        return fetch

    def _mark(self, ticket: int) -> None:
        if self._marks is not None:
            self._marks.begin(self._under_way[ticket][2])

    def settle(self, done: Done, now: float) -> None:
        """Take one ended job home, to its shard."""
        share, ticket, mark = self._under_way.pop(done.ticket)
        if self._marks is not None:
            self._marks.end(mark)
        self._is_alone = False
        share.scheduler.settle(msgspec.structs.replace(done, ticket=ticket), now)
        self._touched[share.number] = share
        self.wake(share, now)

    def outcomes(self) -> list[Outcome]:
        """Hand over, once, everything that has reached its end."""
        ended: list[Outcome] = []
        for share in self._touched.values():
            own = share.scheduler.outcomes()
            ended += own
            self._owners.extend([share] * len(own))
        self._touched.clear()
        return ended

    def take_left_out(self) -> list[LeftOut]:
        """Hand over, once, what a crawl left out."""
        return [one for share in self for one in share.scheduler.take_left_out()]

    def stop(self) -> None:
        """Start nothing more."""
        self._stopped = True
        for share in self:
            share.scheduler.stop()
            share.due = 0.0
            heapq.heappush(self._due, (0.0, next(self._order), share))

    @property
    def offered(self) -> int:
        """Lines read and URLs found so far."""
        return sum(share.scheduler.offered for share in self)

    @property
    def duplicates(self) -> int:
        """Lines left out because they were listed before."""
        return sum(share.scheduler.duplicates for share in self)

    @property
    def retried(self) -> int:
        """Attempts made again."""
        return sum(share.scheduler.retried for share in self)

    @property
    def redirected(self) -> int:
        """Redirects followed."""
        return sum(share.scheduler.redirected for share in self)

    @property
    def services(self) -> int:
        """Answers that were for the schedulers themselves."""
        return sum(share.scheduler.services for share in self)

    @property
    def left_out(self) -> Counter[str]:
        """What a crawl left out, by reason."""
        return sum((share.scheduler.left_out for share in self), Counter[str]())

    @property
    def in_flight(self) -> int:
        """Jobs started and not come home."""
        return len(self._under_way)

    @property
    def input_ended(self) -> bool:
        """Whether all shards have all their lines."""
        return all(share.scheduler.input_ended for share in self)

    @property
    def waiting(self) -> int:
        """How many lines and requests have not been started."""
        return sum(len(share.lines) + share.scheduler.waiting for share in self)

    # --- the sink and the books ---

    def write(self, outcome: Outcome) -> None:
        """Write the next outcome to the part of its shard, and keep it for the driver if that wants it."""
        share = self._last = self._owners.popleft()
        if share.output is not None:
            share.output.write(outcome)
        if self._streams:
            share.to_driver.append(outcome)

    def count(self, outcome: Any) -> None:
        """Count the outcome that was written last."""
        self.tally.count(outcome)
        self._last.commits.count(outcome)

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        for share in self:
            if share.output is not None:
                share.output.flush()

    def close(self) -> None:
        """Close the outputs and let go of the journals."""
        for share in self:
            share.close()


def _costs_a_page(request: Request) -> bool:
    return request.purpose is Purpose.PAGE and request.attempts == 1 and not request.redirects


def size_of(outcomes: list[Outcome]) -> int:
    """Return about how many bytes outcomes take on their way."""
    return sum(500 + len(one.body) if isinstance(one, Page | Failure) else 500 for one in outcomes)


def _add_up(tally: Tally, more: Tally) -> None:
    for name in ("ok", "http_errors", "bytes", "by_robots"):
        setattr(tally, name, getattr(tally, name) + getattr(more, name))
    tally.failed = dict(Counter(tally.failed) + Counter(more.failed))
    tally.statuses = dict(Counter(tally.statuses) + Counter(more.statuses))
