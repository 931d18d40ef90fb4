"""What shards say to each other: numbered, kept until it was kept elsewhere, taken once. Pure.

The items from one shard to another are numbered from 0 on. What is put is sealed into batches by a commit of the
sender (`Outbox.sealed`), and sent only when that stands: so a sender that is killed says the same again, under the same
numbers. The receiver takes each number once (`Inbox.take`), commits what it led to together with how far it has heard,
and only then acknowledges (`Inbox.committed`). Batches may be lost, doubled, or come in any order: what is not
acknowledged is sent again (`Outbox.unacknowledged`), and a gap is not taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from cormorant.messages import HandedOver, HopOver, HostOver, LineOver, LinkOver, SitemapOver

LIST = -1  # the sender of the lines of input
MOST_ITEMS = 1_000

Item = LineOver | LinkOver | SitemapOver | HopOver | HostOver


class Batch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Items number `first` and following from one shard (or the list) to another, encoded by `encode`."""

    source: int
    dest: int
    first: int
    count: int
    items: bytes

    def __iter__(self) -> Iterator[Item]:
        return iter(_decode(self.items))


_encoder = msgspec.msgpack.Encoder()
_decode = msgspec.msgpack.Decoder(list[Item]).decode


def batch(source: int, dest: int, first: int, items: list[Item]) -> Batch:
    """Return items as one batch."""
    return Batch(source, dest, first, len(items), _encoder.encode(items))


class Outbox:
    """What shard `source` has for others.

    `numbers` are those of the next items, by shard; `stored` is what was sent and is not known to have arrived.
    """

    def __init__(self, source: int, numbers: Mapping[int, int], stored: Iterable[Batch] = ()) -> None:
        self._source = source
        self._next = defaultdict(int, numbers)
        self._put: defaultdict[int, list[Item]] = defaultdict(list)
        self._sealed: list[Batch] = []
        self._sent: defaultdict[int, list[Batch]] = defaultdict(list)
        self._done: list[Batch] = []
        for one in stored:
            self._sent[one.dest].append(one)

    def put(self, dest: int, item: HandedOver) -> None:
        """Take an item for another shard."""
        self._put[dest].append(item)

    @property
    def has_new(self) -> bool:
        """Whether anything waits for a commit."""
        return bool(self._put)

    @property
    def is_empty(self) -> bool:
        """Whether all that was put has been acknowledged."""
        return not self._put and not self._sealed and not any(self._sent.values())

    @property
    def numbers(self) -> dict[int, int]:
        """The numbers of the next items, by shard, once what is sealed is committed."""
        return dict(self._next)

    @property
    def sent(self) -> int:
        """How many items were committed to be sent."""
        return sum(self._next.values()) - sum(one.count for one in self._sealed)

    def sealed(self) -> tuple[list[Batch], list[Batch]]:
        """Return the batches that a commit has to keep, and those it may forget."""
        for dest, items in self._put.items():
            for start in range(0, len(items), MOST_ITEMS):
                some = items[start : start + MOST_ITEMS]
                self._sealed.append(batch(self._source, dest, self._next[dest], some))
                self._next[dest] += len(some)
        self._put.clear()
        return list(self._sealed), list(self._done)

    def committed(self) -> list[Batch]:
        """Hear that the commit stands; returns what may be sent now."""
        new, self._sealed = self._sealed, []
        self._done.clear()
        for one in new:
            self._sent[one.dest].append(one)
        return new

    def heard(self, dest: int, until: int) -> None:
        """Hear that `dest` has committed all items before number `until`."""
        waiting = self._sent[dest]
        while waiting and waiting[0].first + waiting[0].count <= until:
            self._done.append(waiting.pop(0))

    def unacknowledged(self, dest: int | None = None) -> list[Batch]:
        """Return what was sent (to `dest`) and not acknowledged: to be sent again where it may be lost."""
        if dest is not None:
            return list(self._sent[dest])
        return [one for waiting in self._sent.values() for one in waiting]


class Inbox:
    """What others have for one shard. `heard` are the numbers of the next items, by sender, as committed."""

    def __init__(self, heard: Mapping[int, int]) -> None:
        self._next = defaultdict(int, heard)
        self._kept = dict(heard)
        self._due: set[int] = set()

    @property
    def heard(self) -> dict[int, int]:
        """The numbers of the next items, by sender."""
        return dict(self._next)

    @property
    def received(self) -> int:
        """How many items of other shards were committed."""
        return sum(number for source, number in self._kept.items() if source != LIST)

    @property
    def has_new(self) -> bool:
        """Whether anything was taken that no commit has kept."""
        return bool(self._due) and self._next != self._kept

    def take(self, one: Batch) -> list[Item]:
        """Return the items that are new; nothing where some before them are missing."""
        self._due.add(one.source)
        known = self._next[one.source]
        if one.first > known:
            return []
        items = list(one)[known - one.first :]
        self._next[one.source] = max(known, one.first + one.count)
        return items

    def committed(self, heard: Mapping[int, int] | None = None) -> list[tuple[int, int]]:
        """Hear that a commit stands that kept all up to `heard` (all that was taken); returns what to acknowledge.

        Those are senders, with the number of the item that is not known yet.
        """
        self._kept = dict(self._next if heard is None else heard)
        due = self._due
        self._due = {source for source in due if self._next[source] > self._kept.get(source, 0)}
        return [(source, self._kept.get(source, 0)) for source in due]

    def repeated(self) -> list[tuple[int, int]]:
        """Return what is to be acknowledged again: senders of what was known and committed already."""
        known = [source for source in self._due if self._next[source] == self._kept.get(source, 0)]
        self._due.difference_update(known)
        return [(source, self._kept.get(source, 0)) for source in known]
