"""The list of a fleet, dealt line by line to the shards that own the hosts. Reads on only behind what was committed."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence

from cormorant.fleet.mail import LIST, Batch, Item, batch
from cormorant.fleet.shards import Split
from cormorant.frontier.job_lists import Position
from cormorant.messages import LineOver
from cormorant.opening import Positioned

LINES_AT_ONCE = 2_000
ENOUGH = 20_000  # lines and requests waiting at a worker, beyond which it needs no more lines
ENOUGH_STORED = 100_000  # the same where workers say what they have committed only when they publish
ON_THE_WAY = 200_000  # lines that shards were given and have not committed, beyond which none is read: they lie here
SPARING_SECONDS = 0.5  # between readings where one worker has nothing and the others have more than enough
FEW_HOSTS_LINES, FEW_HOSTS_SHARE = 100, 0.5  # of all lines in one shard


class Feed:
    """Reads `entries`. `dealt` are the lines that each shard was given before the position where reading goes on.

    `is_stored`: what was committed is known only when it is published.
    """

    def __init__(
        self, entries: Positioned, split: Split, dealt: Mapping[int, int], workers: int, is_stored: bool = False
    ) -> None:
        self._entries, self._iterator = entries, iter(entries)
        self._split = split
        self._enough = ENOUGH_STORED if is_stored else ENOUGH
        self._most = max(ON_THE_WAY, self._enough * workers // 2 if is_stored else 0)
        self._spare_until = 0.0
        self.dealt = Counter(dealt)
        self._heard = Counter(dealt)
        self._waiting: defaultdict[int, deque[Batch]] = defaultdict(deque)
        self._stages: deque[tuple[Position, dict[int, int]]] = deque()  # behind a line, what each shard had
        self.behind: tuple[Position, dict[int, int]] | None = None
        self.has_ended = False

    def is_wanted(self, now: float, loads: Sequence[int]) -> bool:
        """Whether to read on. `loads`: the lines and requests that wait at each worker; none: they do not matter."""
        if self.has_ended or now < self._spare_until or self.unheard > self._most:
            return False
        if not loads:
            return True
        if sum(loads) > 2 * self._enough * len(loads):
            self._spare_until = now + SPARING_SECONDS
        return min(loads) < self._enough

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

    def committed(self, shard: int) -> int:
        """Count the lines that a shard has said to have committed."""
        return self._heard[shard]

    def on_the_way(self, shard: int) -> int:
        """Count the lines that a shard was given and has not committed."""
        return self.dealt[shard] - self._heard[shard]

    @property
    def largest(self) -> tuple[int, float] | None:
        """The shard that has most of the list, and its share of it, if the others will have to wait for it."""
        shard, most = max(self.dealt.items(), key=lambda one: one[1], default=(0, 0))
        if self.lines < FEW_HOSTS_LINES or most <= FEW_HOSTS_SHARE * self.lines:
            return None
        return shard, most / self.lines

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
