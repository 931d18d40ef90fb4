"""What the driver remembers of workers that died: what they had handed on and not committed, and what they died of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from cormorant.engines.children import STILLBORN
from cormorant.errors import EngineLost
from cormorant.fleet.marks import blamed, print_of
from cormorant.interfaces import Member
from cormorant.messages import Outcome

STILLBORN_LIMIT = 3  # workers in a row, each the successor of the last, that die before they have said a word
KILLED_LIMIT = 10  # the same where somebody else has ended them
KILLED = (
    "the worker processes are ended as they start; is there memory for so many? Give fewer workers (-w), or see dmesg"
)


class Deaths:
    """By worker and shard. `strikes` are requests by their print, and how many workers died of each."""

    def __init__(self) -> None:
        self.strikes: Counter[int] = Counter()
        self._in_vain: Counter[int] = Counter()  # by worker: those before it that died without a word
        self._handed: defaultdict[int, Counter[int]] = defaultdict(Counter)  # by shard: since its last commit
        self._again: Counter[int] = Counter()  # may come a second time, also from another shard (`--split address`)

    def is_second(self, shard: int, outcome: Outcome) -> bool:
        """Note that a shard hands an outcome on; returns whether a dead owner had done so before."""
        mark = print_of(outcome)
        self._handed[shard][mark] += 1
        is_second = self._again[mark] > 0
        if is_second:
            self._again[mark] -= 1
        return is_second

    def committed(self, shard: int) -> None:
        """Hear that nothing of what a shard has handed on will come again."""
        self._handed[shard].clear()

    def spoke(self, number: int) -> None:
        """Hear that a worker has said how it stands."""
        self._in_vain.pop(number, None)

    def note(self, member: Member, has_spoken: bool, shards: Iterable[int], successor: int) -> None:
        """Note a death, and who takes over its shards. Raises EngineLost when workers die as they start."""
        if not has_spoken:
            self._in_vain[successor] = self._in_vain[member.number] + 1
            if self._in_vain[successor] >= (STILLBORN_LIMIT if member.is_crash else KILLED_LIMIT):
                raise EngineLost(f"{STILLBORN if member.is_crash else KILLED} (the last one: {member.death})")
        self.strikes.update(blamed(member.marks, member.is_crash))
        for shard in shards:
            self._again += self._handed.pop(shard, Counter())
