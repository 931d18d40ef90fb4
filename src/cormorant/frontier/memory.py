"""A frontier in memory: a queue of requests for each host.

Bounded by the scheduler's look-ahead, lost with the process.
"""

from __future__ import annotations

from collections import deque

from cormorant.frontier.seen import SeenURLs
from cormorant.messages import Request


class MemoryFrontier:
    """Implements `interfaces.Frontier`. All calls O(1)."""

    def __init__(self) -> None:
        self._seen = SeenURLs()
        self._queues: dict[str, deque[Request]] = {}
        self._waiting = 0

    def is_new(self, url: str) -> bool:
        """Remember `url` as seen; returns whether it was not before."""
        return self._seen.add(url)

    def add(self, host: str, request: Request, first: bool = False) -> None:
        """Put a request at the end of its host's queue, or at its head."""
        queue = self._queues.get(host)
        if queue is None:
            queue = self._queues[host] = deque()
        if first:
            queue.appendleft(request)
        else:
            queue.append(request)
        self._waiting += 1

    def take(self, host: str) -> Request:
        """Take the first request of a host that has one."""
        queue = self._queues[host]
        request = queue.popleft()
        self._waiting -= 1
        if not queue:
            del self._queues[host]
        return request

    def has(self, host: str) -> bool:
        """Return whether anything waits for `host`."""
        return host in self._queues

    def __len__(self) -> int:
        return self._waiting

    def __repr__(self) -> str:
        return f"<MemoryFrontier waiting={self._waiting} hosts={len(self._queues)} seen={len(self._seen)}>"
