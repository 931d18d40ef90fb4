"""Deadlines of hops under a loop, by our own clock: a caller who takes his time costs nobody a page.

libcurl looks at its clock before it reads the sockets. After a pause in which nobody ran the loop it would call pages
late whose bytes came long ago. So under a loop libcurl counts no time. We look at our clock after the ready sockets of
a round were read, and then have libcurl end what is late, so that the failure is in its words. Our clock is monotonic
seconds without the pauses we were told of, so a pause moves every deadline at once. Where a loop comes late without a
word (it was held up by somebody's code), a hop that is due gets, once, as long again as the loop was late.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time

import msgspec
import pycurl

from cormorant.messages import Outcome
from cormorant.options import Options
from cormorant.transport.exchange import Connections, Exchange

HELD_UP_SECONDS = 0.05  # a loop that comes later than this was held up
LOOK_AGAIN_SECONDS = 0.001  # libcurl's least timeout
NEVER_MS = 2**31 - 1  # 0 would be libcurl's own 300 s
# Before 8.16 libcurl tries one address of a name after the other and gives each half of the connect timeout's rest:
# there it must know the real one, and a pause longer than that still counts.
TRIES_ADDRESSES_TOGETHER = pycurl.version_info()[2] >= 0x081000


class TimedExchange(Exchange):
    """An exchange whose time `Deadlines` counts, in its seconds; `listed_at` is when it will look next."""

    __slots__ = ("connects_by", "ends_at", "is_ending", "is_spared", "listed_at", "pauses_before")

    def __init__(self, options: Options, connections: Connections) -> None:
        super().__init__(options, connections, counts_time=False)
        if TRIES_ADDRESSES_TOGETHER:
            self.curl.setopt(pycurl.CONNECTTIMEOUT_MS, NEVER_MS)
        # What we tell libcurl of names it never prunes by age: pruning walks all of them at every transfer.
        self.curl.setopt(pycurl.DNS_CACHE_TIMEOUT, -1)
        self.ends_at = self.connects_by = self.pauses_before = 0.0
        self.listed_at = math.inf
        self.is_spared = self.is_ending = False

    def due_at(self) -> float:
        """Return when the hop is late: once it has a connection, at its total deadline."""
        return self.connects_by if self._connection is None else self.ends_at

    def end_now(self) -> None:
        """Have libcurl find, when it looks at the hop next, that it is late: so the failure is in its words."""
        self.is_ending = True
        self.curl.setopt(pycurl.TIMEOUT_MS, 1)

    def end_later(self) -> None:
        """Take `end_now` back: libcurl counts no time."""
        if self.is_ending:
            self.is_ending = False
            self.curl.setopt(pycurl.TIMEOUT_MS, 0)


class Deadlines:
    """Knows which hops are late. O(1) a hop: an exchange stays listed while it is used again and again.

    `pauses` are the seconds that do not count, `next_at` is the monotonic instant at which to look again (infinity:
    never).
    """

    def __init__(self, connect_seconds: float) -> None:
        self.pauses = 0.0
        self.next_at = math.inf
        self._connect_seconds = connect_seconds
        self._listed: list[tuple[float, int, TimedExchange]] = []
        self._order = itertools.count()

    def begin(self, exchange: TimedExchange) -> None:
        """Count the time of the loaded hop; what its name took is part of connecting."""
        exchange.pauses_before = pauses = self.pauses
        began = exchange.began - pauses
        exchange.is_spared = False
        exchange.end_later()
        exchange.ends_at = due = began + exchange.request.seconds
        connects_by = began + self._connect_seconds - exchange.name_seconds
        if connects_by < due:
            due = connects_by
        exchange.connects_by = due
        if due < exchange.listed_at:
            self._list(exchange, due)

    def go_on(self, exchange: TimedExchange, began: float, name_seconds: float) -> None:
        """Count on for a hop that was loaded anew: its time runs from its first load, `began`."""
        exchange.began, exchange.name_seconds = began, name_seconds
        exchange.end_later()
        due = max(exchange.due_at(), time.monotonic() - self.pauses)
        if due < exchange.listed_at:
            self._list(exchange, due)

    def look_again(self, exchange: TimedExchange) -> None:
        """List a late hop once more: libcurl, whose clock began after ours, did not end it yet."""
        self._list(exchange, time.monotonic() - self.pauses + LOOK_AGAIN_SECONDS)

    def _list(self, exchange: TimedExchange, at: float) -> None:
        exchange.listed_at = at
        heapq.heappush(self._listed, (at, next(self._order), exchange))
        self.next_at = self._listed[0][0] + self.pauses

    def pause(self, seconds: float) -> None:
        """Move every deadline."""
        self.pauses += seconds
        self.next_at += seconds

    def seconds_of(self, exchange: TimedExchange) -> float:
        """Return how much of its time the hop has used."""
        paused = self.pauses - exchange.pauses_before
        return exchange.name_seconds + time.monotonic() - exchange.began - paused

    def take_late(self) -> list[TimedExchange]:
        """Return every exchange whose hop has used up its time."""
        late = []
        now = time.monotonic() - self.pauses
        held_up = now - self._listed[0][0] if self._listed else 0.0
        while self._listed and self._listed[0][0] <= now:
            at, _, exchange = heapq.heappop(self._listed)
            if at != exchange.listed_at:
                continue  # it was listed again, earlier
            exchange.listed_at = math.inf
            if exchange.deliver is None:
                continue  # idle
            due = exchange.due_at()
            if due > now:
                self._list(exchange, due)
            elif held_up > HELD_UP_SECONDS and not exchange.is_spared:
                exchange.is_spared = True
                self._list(exchange, now + held_up)
            else:
                late.append(exchange)
        self.next_at = self._listed[0][0] + self.pauses if self._listed else math.inf
        return late


def without_pauses(outcome: Outcome, seconds: float) -> Outcome:
    """Return the outcome with the `seconds` it really had; what libcurl saw beyond them goes from the last phases."""
    times = outcome.timings
    excess = max(0.0, times.total - max(0.0, seconds))
    shorter = {"total": times.total - excess}
    for phase in ("body", "first_byte", "tls", "connect"):
        took = getattr(times, phase)
        taken = min(excess, took)
        shorter[phase] = took - taken
        excess -= taken
    return msgspec.structs.replace(outcome, timings=msgspec.structs.replace(times, **shorter))
