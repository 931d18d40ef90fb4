"""The scheduler of `map`: the user's items in order, no hosts, no politeness. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from cormorant.messages import FINISHED, Done, Fetch, Finished, LeftOut, Result, Wait
from cormorant.scheduler.fetch import INPUT_PAUSE_SECONDS


class ItemScheduler:
    """Implements `interfaces.Scheduler` over `items` (which may yield `nothing_yet`); outcomes are Results."""

    def __init__(self, items: Iterator[Any], seconds: float, nothing_yet: object) -> None:
        self._items = items
        self._seconds = seconds
        self._nothing_yet = nothing_yet
        self._index = itertools.count()
        self._under_way: dict[int, tuple[Any, float]] = {}
        self._ended: list[Result] = []
        self._stopped = False
        self.input_ended = False
        self.offered = self.duplicates = self.retried = self.redirected = self.services = 0
        self.left_out: dict[str, int] = {}
        self.reports_left_out = False

    @property
    def in_flight(self) -> int:
        """How many jobs were started and have not come home."""
        return len(self._under_way)

    def next(self, now: float) -> Fetch | Wait | Finished:
        """Say which item to start, or that all is settled."""
        if not self._stopped and not self.input_ended:
            try:
                item = next(self._items)
            except StopIteration:
                self.input_ended = True
            else:
                return Wait(until=now + INPUT_PAUSE_SECONDS) if item is self._nothing_yet else self._start(item, now)
        return Wait() if self._under_way else FINISHED

    def _start(self, item: Any, now: float) -> Fetch:
        self.offered += 1
        ticket = next(self._index)
        self._under_way[ticket] = (item, now)
        return Fetch(ticket=ticket, argument=item, seconds=self._seconds)

    def settle(self, done: Done, now: float) -> None:
        """Take one ended job home."""
        item, started_at = self._under_way.pop(done.ticket)
        fault = done.fault
        self._ended.append(
            Result(
                item=item,
                index=done.ticket,
                ok=fault is None,
                value=done.value,
                kind=fault.kind if fault else None,
                message=fault.message if fault else None,
                traceback=fault.traceback if fault else None,
                seconds=now - started_at,
            )
        )

    def outcomes(self) -> list[Result]:
        """Hand over, once, everything that has ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def take_left_out(self) -> list[LeftOut]:
        """Return nothing: every item is run."""
        return []

    def stop(self) -> None:
        """Start no further item."""
        self._stopped = True
