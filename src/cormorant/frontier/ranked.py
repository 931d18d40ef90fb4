"""What waits for one host, as offsets: the lowest rank first, and within a rank in the order it came. For `crawl.py`.

Theory of operation. A queue for each rank that something waits in, sorted by rank. A queue is a single array of 64-bit
integers, because a million hosts may have one each: the rank's two numbers, the place of the first offset, and the
offsets. What was taken stays in front of that place until it is more than half of the queue; then it is cut away. So
`put` and `pop` are O(log ranks), spread over the calls.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TypeAlias

Rank: TypeAlias = tuple[int, int]
Queue: TypeAlias = "array[int]"

HEAD = 2  # where in a queue the place of its first offset stands, after the rank
FIRST = 3  # where the offsets begin
CUT_AT = 128  # taken offsets below which cutting is not worth it


def put(queues: list[Queue], rank: Rank, offset: int) -> None:
    """Let `offset` wait in the queue of its rank, behind all there. Both numbers of a rank must fit 64 bits."""
    place = bisect_left(queues, rank, key=_rank)
    if place < len(queues) and _rank(queues[place]) == rank:
        queues[place].append(offset)
    else:
        queues.insert(place, array("q", (*rank, FIRST, offset)))


def pop(queues: list[Queue]) -> int:
    """Take the first offset of the lowest rank. The list is empty when nothing waits any more."""
    queue = queues[0]
    head = queue[HEAD]
    offset = queue[head]
    head += 1
    if head == len(queue):
        del queues[0]
        return offset
    if head > CUT_AT and 2 * head > len(queue):
        del queue[FIRST:head]
        head = FIRST
    queue[HEAD] = head
    return offset


def _rank(queue: Queue) -> Rank:
    return queue[0], queue[1]
