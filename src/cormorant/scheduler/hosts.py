"""Who may be asked next: hosts in groups that share one budget, groups in a heap by instant. Pure.

Theory of operation. A host is an origin; a group is what politeness calls one party (the origin itself, or a
registered domain, or an address). A host stands in the line of its group while it has something to send and nothing
holds it; a group is in the heap, once, while its line is not empty and it has room. An entry may be too early
(`Retry-After` came after it was made): then it is put back. So a look ahead costs O(log groups), whatever waits.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable

from cormorant import urls
from cormorant.messages import Kind, Outcome, Page, Purpose, Request, Timings
from cormorant.policies.breaker import Breaker, Trust
from cormorant.policies.politeness import Politeness
from cormorant.policies.retries import Retries
from cormorant.policies.throttle import Pace, Throttle

KNOWN_ADDRESSES = 100_000  # of hosts without work, where they decide whose budget is whose
REMEMBER_SECONDS = 600.0  # how long a group with a past (failures, a throttle, Crawl-delay) is kept without work


class Host:
    """One origin with work. `express` goes before all that waits in the frontier, and past what holds the host.

    Nothing goes past a look-up of its address (`is_looked_up`): it decides whose budget is whose.
    """

    __slots__ = ("active", "address", "express", "group", "is_held", "is_in_line", "is_looked_up", "name")

    def __init__(self, name: str, group: Group, address: str | None) -> None:
        self.name = name
        self.group = group
        self.address = address  # as far as it is known, and matters; its own name where looking up was in vain
        self.express: tuple[Request, ...] = ()  # seldom more than one: robots.txt that is redirected here
        self.active = 0
        self.is_held = self.is_in_line = self.is_looked_up = False


class Group:
    """Hosts that share a budget, and what is known of how they take it."""

    __slots__ = (
        "active",
        "crawl_delay",
        "gap",
        "hosts",
        "is_leaving",
        "is_listed",
        "key",
        "leaves_at",
        "line",
        "next_at",
        "pace",
        "trust",
    )

    def __init__(self, key: str, trust: Trust | None, pace: Pace | None) -> None:
        self.key = key
        self.line: list[Host] = []  # an empty deque has 600 bytes, and there may be millions
        self.hosts = 0
        self.active = 0
        self.next_at = self.gap = self.leaves_at = 0.0
        self.is_listed = self.is_leaving = False
        self.crawl_delay: float | None = None
        self.trust = trust
        self.pace = pace


class Hosts:
    """All hosts with something waiting, under way or still to be spared. O(log groups) a call.

    `known_delay` gives the `Crawl-delay` of an origin whose robots.txt is known: that outlasts what is known here.
    """

    def __init__(
        self,
        politeness: Politeness,
        retries: Retries,
        breaker: Breaker,
        throttle: Throttle | None,
        draw: Callable[[], float],
        known_delay: Callable[[str], float | None] | None = None,
    ) -> None:
        self._known_delay = known_delay
        self._politeness, self._retries, self._draw = politeness, retries, draw
        self._breaker = breaker if breaker.limit else None
        self._throttle = throttle
        # Most runs have neither a gap nor a throttle nor a breaker: then a start is an addition.
        self._is_plain = not (politeness.delay or throttle or self._breaker)
        self._hosts: dict[str, Host] = {}
        self._groups: dict[str, Group] = {}
        self._addresses: OrderedDict[str, str] = OrderedDict()
        self._ready: list[tuple[float, int, Group]] = []
        self._leaving: list[tuple[float, int, Group]] = []
        self._order = itertools.count()
        self._went_on_at: float | None = None

    def __len__(self) -> int:
        return len(self._hosts)

    def go_on(self, now: float) -> None:
        """Leave every host alone for one gap from `now` on: nobody knows when it was asked last. Before the first."""
        self._went_on_at = now

    def host(self, origin: str) -> Host:
        """Return the host, made when it is new."""
        host = self._hosts.get(origin)
        if host is None:
            address = self.address_of(origin)
            host = self._hosts[origin] = Host(origin, self._group(self._politeness.key(origin, address)), address)
            host.group.hosts += 1
            if self._known_delay is not None:
                self.ask_slower(host, self._known_delay(origin), self._went_on_at or 0.0)
        return host

    def address_of(self, origin: str) -> str | None:
        """Return the address of a host, where it matters, as far as it is known: its very name, or looked up before.

        It is the origin itself where looking up was in vain.
        """
        if self._politeness.by != "address":
            return None
        host = self._hosts.get(origin)
        return host.address if host is not None else urls.address_in(origin) or self._addresses.get(origin)

    def must_look_up(self, host: Host) -> bool:
        """Tell whether the host's address, which decides whose budget it shares, has to be looked up."""
        return self._politeness.by == "address" and host.address is None

    def _group(self, key: str) -> Group:
        group = self._groups.get(key)
        if group is None:
            trust = self._breaker.fresh() if self._breaker else None
            pace = self._throttle.fresh() if self._throttle else None
            group = self._groups[key] = Group(key, trust, pace)
            if self._went_on_at is not None:
                group.next_at = self._went_on_at + self._politeness.gap(None, 0.0, self._draw())
        return group

    def found_at(self, host: Host, address: str) -> None:
        """Have a host share the budget of all at `address`, from now on. It must not be in line or under way."""
        host.address = address
        self._remember(host.name, address)
        group = self._group(self._politeness.key(host.name, address))
        group.hosts += 1
        alone, host.group = host.group, group
        alone.hosts -= 1
        if not alone.hosts and not alone.active:
            self._groups.pop(alone.key, None)

    def told(self, origin: str, address: str) -> None:
        """Hear where others have found a host; one that has work here knows better, or is about to."""
        if origin not in self._hosts:
            self._remember(origin, address)

    def _remember(self, origin: str, address: str) -> None:
        self._addresses[origin] = address
        if len(self._addresses) > KNOWN_ADDRESSES:
            self._addresses.popitem(last=False)

    def line_up(self, host: Host) -> None:
        """Put a host that has something to send in the line of its group."""
        if not host.is_in_line:
            host.is_in_line = True
            host.group.line.append(host)
        self._list(host.group)

    def next(self, now: float) -> Host | None:
        """Take out of line a host that may be asked now; None: there is none. Call `start` or `line_up` with it."""
        ready = self._ready
        while ready and ready[0][0] <= now:
            group = heapq.heappop(ready)[2]
            group.is_listed = False
            if self._ready_at(group) > now:
                self._list(group)
            elif group.line and self._has_room(group) and self._is_trusted(group, now):
                host = group.line.pop(0)
                host.is_in_line = False
                return host
        return None

    def next_at(self) -> float | None:
        """Return the instant from which a host may be asked; None: that hangs on what is under way."""
        return self._ready[0][0] if self._ready else None

    def start(self, host: Host, now: float) -> None:
        """Note that a request to the host starts now."""
        group = host.group
        host.active += 1
        group.active += 1
        if self._is_plain and group.crawl_delay is None:
            return
        pace_gap = group.pace.gap if group.pace is not None else 0.0
        group.gap = self._politeness.gap(group.crawl_delay, pace_gap, self._draw())
        group.next_at = max(group.next_at, now + group.gap)

    def settle(self, host: Host, request: Request, outcome: Outcome, now: float) -> None:
        """Note how a request to the host ended. What it says of the host is heard here."""
        group = host.group
        host.active -= 1
        group.active -= 1
        if request.purpose is Purpose.ADDRESS:
            return  # the host has not been asked yet
        if group.trust is not None and self._breaker is not None:
            self._breaker.heard(group.trust, outcome, now)
        if group.pace is not None and self._throttle is not None:
            self._throttle.heard(group.pace, outcome)
            group.gap = max(group.gap, group.pace.gap)
        if group.gap:
            asked_at = request.released_at + _seconds_to_the_host(outcome.timings)
            group.next_at = max(group.next_at, asked_at + group.gap)
        if isinstance(outcome, Page) and outcome.status in (429, 503):
            self._pause(group, outcome, now)

    def _pause(self, group: Group, outcome: Page, now: float) -> None:
        """Spare the whole group for as long as `Retry-After` asks, at most as long as we would wait for a page."""
        seconds = self._retries.retry_after(outcome)
        if seconds:
            group.next_at = max(group.next_at, now + min(seconds, self._retries.most_retry_after))

    def ask_slower(self, host: Host, crawl_delay: float | None, now: float = 0.0) -> None:
        """Keep to the `Crawl-delay` of a host from `now` on; the slowest host of a group sets its pace."""
        group = host.group
        if crawl_delay is not None:
            group.crawl_delay = max(group.crawl_delay or 0.0, crawl_delay)
            group.next_at = max(group.next_at, now + self._politeness.gap(group.crawl_delay, 0.0, 0.0))

    def given_up(self, host: Host) -> tuple[Kind, str] | None:
        """Return why nothing more is asked of the host: the kind of its last failure, and words."""
        trust = host.group.trust
        words = self._breaker.given_up(trust) if self._breaker and trust is not None else None
        if words is None or trust is None:
            return None
        return trust.last_kind or Kind.CONNECT, words

    def _ready_at(self, group: Group) -> float:
        if group.trust is None or self._breaker is None or self._breaker.given_up(group.trust):
            return group.next_at
        return max(group.next_at, self._breaker.not_before(group.trust))

    def _has_room(self, group: Group) -> bool:
        return self._politeness.has_room(group.active, group.pace.width if group.pace is not None else None)

    def _is_trusted(self, group: Group, now: float) -> bool:
        """Return whether the breaker lets a request through; if not, the group is listed again when one comes home."""
        if group.trust is None or self._breaker is None or self._breaker.given_up(group.trust):
            return True
        return self._breaker.may_start(group.trust, group.active, now)

    def _list(self, group: Group) -> None:
        """Put a group in the heap if one of its hosts may be asked, sooner or later."""
        if group.is_listed or not group.line:
            return
        if self._has_room(group):
            group.is_listed = True
            heapq.heappush(self._ready, (self._ready_at(group), next(self._order), group))

    def rest(self, host: Host, now: float) -> bool:
        """Note that a host has nothing to send; forget it when nothing ties us to it. Returns whether it was."""
        group = host.group
        if host.active or host.is_in_line or host.is_held or host.express:
            self._list(group)  # its neighbours need not wait for what holds it
            return False
        if self._hosts.pop(host.name, None) is not None:
            group.hosts -= 1
        if group.hosts or group.active:
            self._list(group)
            return True
        group.leaves_at = self._remembered_until(group, now)
        if group.leaves_at <= now and not group.is_leaving:
            self._groups.pop(group.key, None)
        elif not group.is_leaving:
            self._leave(group)
        return True

    def _leave(self, group: Group) -> None:
        group.is_leaving = True
        heapq.heappush(self._leaving, (group.leaves_at, next(self._order), group))

    def _remembered_until(self, group: Group, now: float) -> float:
        has_past = (
            group.crawl_delay is not None
            or (group.trust is not None and group.trust.failures > 0)
            or (group.pace is not None and self._throttle is not None and self._throttle.is_cut(group.pace))
        )
        return max(group.next_at, now + REMEMBER_SECONDS if has_past else now)

    def forget(self, now: float) -> None:
        """Forget the groups that nothing waits for once their time is over: memory does not grow with the list."""
        while self._leaving and self._leaving[0][0] <= now:
            group = heapq.heappop(self._leaving)[2]
            group.is_leaving = False
            if group.hosts or group.active:
                continue  # it has work again, and leaves when that is done
            if group.leaves_at > now:
                self._leave(group)
            else:
                self._groups.pop(group.key, None)


def _seconds_to_the_host(took: Timings) -> float:
    """Return how much later than we let it go a request reached its host, which counts from there.

    A process had to be started, a name looked up, a connection made; and an event loop sends when its turn comes, which
    no phase holds.
    """
    if took.first_byte:
        return took.queue + took.total - took.first_byte - took.body
    return took.queue + took.dns + took.connect + took.tls
