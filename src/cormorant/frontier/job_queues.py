"""What waits for each host, as numbers: most hosts of a broad crawl have one, and for those a plain int is held.

From the second on a host has queues by rank (`ranked.py`); the rank of the one that was alone is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from cormorant.frontier import ranked
from cormorant.frontier.ranked import Queue, Rank


class HostQueues:
    """Numbers waiting by host, the lowest rank first. All calls O(log ranks of the host).

    `rank_of(number)` must give the rank that the number was put with.
    """

    def __init__(self, rank_of: Callable[[int], Rank]) -> None:
        self._rank_of = rank_of
        self._hosts: dict[str, int | list[Queue]] = {}

    def put(self, host: str, number: int, rank: Rank) -> None:
        """Let a number wait behind those of its rank for its host."""
        waiting = self._hosts.get(host)
        if waiting is None:
            self._hosts[host] = number
            return
        if isinstance(waiting, int):
            alone, waiting = waiting, []
            ranked.put(waiting, self._rank_of(alone), alone)
            self._hosts[host] = waiting
        ranked.put(waiting, rank, number)

    def load(self, queues: Iterable[tuple[str, Rank, Sequence[int]]]) -> None:
        """Let many wait, as (host, rank, numbers), as if each was put in turn. No rank is asked for again."""
        hosts, ranks = self._hosts, dict[int, Rank]()  # of those that are alone, until all are there
        for host, rank, numbers in queues:
            waiting = hosts.get(host)
            if waiting is None and len(numbers) == 1:
                hosts[host] = numbers[0]
                ranks[numbers[0]] = rank
                continue
            if not isinstance(waiting, list):
                alone, waiting = waiting, []
                if alone is not None:
                    ranked.put(waiting, ranks.pop(alone), alone)
                hosts[host] = waiting
            _put_all(waiting, rank, numbers)

    def pop(self, host: str) -> int:
        """Take the first number of a host that has one."""
        waiting = self._hosts[host]
        if isinstance(waiting, int):
            del self._hosts[host]
            return waiting
        number = ranked.pop(waiting)
        if not waiting:
            del self._hosts[host]
        return number

    def __contains__(self, host: str) -> bool:
        return host in self._hosts

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)


def _put_all(queues: list[Queue], rank: Rank, numbers: Sequence[int]) -> None:
    for queue in queues:
        if (queue[0], queue[1]) == rank:
            queue.extend(numbers)
            return
    ranked.put(queues, rank, numbers[0])
    if len(numbers) > 1:
        _put_all(queues, rank, numbers[1:])
