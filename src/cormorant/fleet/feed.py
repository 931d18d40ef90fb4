"""The list of a fleet, dealt line by line to the shards that own the hosts. Reads on only behind what was committed."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping

from cormorant.fleet.mail import LIST, Batch, Item, batch
from cormorant.fleet.shards import Split
from cormorant.frontier.job_lists import Position
from cormorant.messages import LineOver
from cormorant.opening import Positioned

LINES_AT_ONCE = 2_000


class Feed:
    """Reads `entries`. `dealt` are the lines that each shard was given before the position where reading goes on."""

    def __init__(self, entries: Positioned, split: Split, dealt: Mapping[int, int]) -> None:
        self._entries, self._iterator = entries, iter(entries)
        self._split = split
        self.dealt = Counter(dealt)
        self._heard = Counter(dealt)
        self._waiting: defaultdict[int, deque[Batch]] = defaultdict(deque)
        self._stages: deque[tuple[Position, dict[int, int]]] = deque()  # behind a line, what each shard had
        self.behind: tuple[Position, dict[int, int]] | None = None
        self.has_ended = False

    def read(self) -> Iterator[Batch]:
        """Read some lines, as many as are there, and yield them in batches. To be exhausted."""
        lines: defaultdict[int, list[Item]] = defaultdict(list)
        for _ in range(LINES_AT_ONCE):
            try:
                entry = next(self._iterator)
            except StopIteration:
                self.has_ended = True
                break
            if entry is None:
                break
            text, number = entry
            lines[self._split.of_line(text)].append(LineOver(text.encode("utf-8", "surrogatepass"), number))
        for shard, some in lines.items():
            one = batch(LIST, shard, self.dealt[shard], some)
            self.dealt[shard] += len(some)
            self._waiting[shard].append(one)
            yield one
        if lines or self.has_ended:
            self._stages.append((self._entries.position, dict(self.dealt)))
            self._look()

    def heard(self, shard: int, until: int) -> None:
        """Hear that a shard has committed its lines before number `until`."""
        self._heard[shard] = max(self._heard[shard], until)
        waiting = self._waiting[shard]
        while waiting and waiting[0].first + waiting[0].count <= until:
            waiting.popleft()
        self._look()

    def _look(self) -> None:
        while self._stages and all(self._heard[shard] >= count for shard, count in self._stages[0][1].items()):
            self.behind = self._stages.popleft()

    def unacknowledged(self, shard: int) -> list[Batch]:
        """Return what a shard was given and has not committed."""
        return list(self._waiting[shard])

    def on_the_way(self, shard: int) -> int:
        """Count the lines that a shard was given and has not committed."""
        return self.dealt[shard] - self._heard[shard]

    @property
    def unheard(self) -> int:
        """How many lines were read in this run that no shard has committed."""
        return sum(one.count for waiting in self._waiting.values() for one in waiting)

    @property
    def lines(self) -> int:
        """How many lines were read, in all runs."""
        return self.dealt.total()

    @property
    def is_done(self) -> bool:
        """Whether all lines were read, and committed by their shards."""
        return self.has_ended and not self._stages
