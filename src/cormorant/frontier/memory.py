"""The frontier of lists: a queue of requests for each host, in memory as long as few wait.

A list sorted by host has to be read on past a slow one. Beyond `MOST_IN_MEMORY` requests wait on disk, and memory holds
eight bytes of each, and as many as the scheduler looks ahead. Lost with the process.
"""

from __future__ import annotations

from collections import deque

from cormorant.frontier.seen import SeenURLs
from cormorant.frontier.spool import Spool, decode, encode
from cormorant.messages import Request

MOST_IN_MEMORY = 10_000


class MemoryFrontier:
    """Implements `interfaces.Frontier`. All calls O(1)."""

    def __init__(self) -> None:
        self._seen = SeenURLs()
        self._spool = Spool()
        self._queues: dict[str, deque[Request | int]] = {}  # an int: where it lies in the spool
        self._waiting = 0

    def is_new(self, url: str, by: Request | None = None) -> bool:
        """Remember `url` as seen; returns whether it was not before."""
        return self._seen.add(url)

    def knows(self, url: str) -> bool:
        """Return whether `url` was seen before, and remember nothing."""
        return url in self._seen

    def add(self, host: str, request: Request, first: bool = False) -> None:
        """Put a request at the end of its host's queue, or at its head."""
        queue = self._queues.get(host)
        if queue is None:
            queue = self._queues[host] = deque()
        if first:
            queue.appendleft(request)
        else:
            queue.append(request if self._waiting < MOST_IN_MEMORY else self._spool.append(encode(request)))
        self._waiting += 1

    def take(self, host: str) -> Request:
        """Take the first request of a host that has one."""
        queue = self._queues[host]
        first = queue.popleft()
        self._waiting -= 1
        if not queue:
            del self._queues[host]
        return decode(self._spool.read(first)) if isinstance(first, int) else first

    def has(self, host: str) -> bool:
        """Return whether anything waits for `host`."""
        return host in self._queues

    def __len__(self) -> int:
        return self._waiting

    def __repr__(self) -> str:
        return f"<MemoryFrontier waiting={self._waiting} hosts={len(self._queues)} seen={len(self._seen)}>"
