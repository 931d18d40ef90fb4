"""A frontier for crawls: what waits lies in a temporary file, and memory holds eight bytes of it and its host.

Theory of operation. A request is encoded into a `Spool`, and its offset waits for its host. Most hosts of a broad
crawl have one request waiting: for those the offset alone is held, a plain int. From the second on a host has queues
by rank (`ranked.py`); the rank of the one that was alone is asked again, from the request in the spool. Redirects
and retries (`first`) are few, stay in memory and come before everything else, the latest first.
The file only grows: what was taken leaves it with the process.
"""

from __future__ import annotations

from collections.abc import Callable

from cormorant.frontier import ranked
from cormorant.frontier.ranked import Queue, Rank
from cormorant.frontier.seen import SeenURLs
from cormorant.frontier.spool import Spool, decode, encode
from cormorant.messages import Request


def by_priority_and_depth(request: Request) -> Rank:
    """Rank the highest priority first, and breadth first within it."""
    return -request.priority, request.found.depth if request.found else 0


class CrawlFrontier:
    """Implements `interfaces.Frontier`. All calls O(log ranks of the host).

    `rank_of` must give the same two numbers (of 64 bits) for equal requests; the lowest is taken first.
    Raises OutputError when the temporary file cannot be written or read.
    """

    def __init__(self, rank_of: Callable[[Request], Rank] = by_priority_and_depth) -> None:
        self._rank_of = rank_of
        self._seen = SeenURLs()
        self._spool = Spool()
        self._first: dict[str, list[Request]] = {}  # the next one last
        self._hosts: dict[str, int | list[Queue]] = {}
        self._waiting = 0

    def is_new(self, url: str, by: Request | None = None) -> bool:
        """Remember `url` as seen; returns whether it was not before."""
        return self._seen.add(url)

    def knows(self, url: str) -> bool:
        """Return whether `url` was seen before, and remember nothing."""
        return url in self._seen

    def add(self, host: str, request: Request, first: bool = False) -> None:
        """Put a request behind those of its rank for its host, or before everything of its host."""
        if first:
            self._first.setdefault(host, []).append(request)
        else:
            self._put(host, request)
        self._waiting += 1

    def _put(self, host: str, request: Request) -> None:
        offset = self._spool.append(encode(request))
        waiting = self._hosts.get(host)
        if waiting is None:
            self._hosts[host] = offset
            return
        if isinstance(waiting, int):
            alone, waiting = waiting, []
            ranked.put(waiting, self._rank_of(self._read(alone)), alone)
            self._hosts[host] = waiting
        ranked.put(waiting, self._rank_of(request), offset)

    def take(self, host: str) -> Request:
        """Take the first request of a host that has one."""
        request = self._take_first(host) if host in self._first else self._read(self._pop(host))
        self._waiting -= 1
        return request

    def _take_first(self, host: str) -> Request:
        requests = self._first[host]
        request = requests.pop()
        if not requests:
            del self._first[host]
        return request

    def _pop(self, host: str) -> int:
        waiting = self._hosts[host]
        if isinstance(waiting, int):
            del self._hosts[host]
            return waiting
        offset = ranked.pop(waiting)
        if not waiting:
            del self._hosts[host]
        return offset

    def _read(self, offset: int) -> Request:
        return decode(self._spool.read(offset))

    def has(self, host: str) -> bool:
        """Return whether anything waits for `host`."""
        return host in self._first or host in self._hosts

    def __len__(self) -> int:
        return self._waiting

    def __repr__(self) -> str:
        hosts = len(self._first.keys() | self._hosts.keys())
        return f"<CrawlFrontier waiting={self._waiting} hosts={hosts} seen={len(self._seen)} {self._spool}>"
