"""A fleet without processes: shards on members that die, pipes that keep order and take their time, a hub, a crawl.

The members and the hub say to each other what `fleet/member.py` and `fleet/driver.py` say, over the real `Outbox`,
`Inbox` and `Waves`. A crawl is a tree of items, each of which lies in a shard and leads to its children. What a shard
has on its `Disk` is all that a death leaves.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from cormorant.fleet.ending import Answer, Waves
from cormorant.fleet.mail import Batch, Inbox, Outbox
from cormorant.messages import SitemapOver


@dataclass
class Tree:
    """What is to be crawled: the shard of each item, and what it leads to. Item 0 is the seed."""

    shards: list[int]
    children: list[list[int]]

    @classmethod
    def grown(cls, draw: random.Random, size: int, shards: int) -> Tree:
        """Return a random tree; chains and stars are as likely as bushes."""
        reach = draw.choice((1, 3, size))
        children: list[list[int]] = [[] for _ in range(size)]
        for item in range(1, size):
            children[draw.randrange(max(0, item - reach), item)].append(item)
        return cls([draw.randrange(shards) for _ in range(size)], children)


@dataclass
class Disk:
    """What one shard has committed."""

    numbers: dict[int, int] = field(default_factory=dict)
    stored: dict[tuple[int, int], Batch] = field(default_factory=dict)
    heard: dict[int, int] = field(default_factory=dict)
    to_do: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)

    def keep(self, outbox: Outbox, inbox: Inbox, to_do: list[int], done: list[int]) -> None:
        """Commit: all of it or nothing."""
        new, gone = outbox.sealed()
        self.stored |= {(one.dest, one.first): one for one in new}
        for one in gone:
            del self.stored[one.dest, one.first]
        self.numbers, self.heard = outbox.numbers, inbox.heard
        self.to_do = list(to_do)
        self.done += done


class Shard:
    """A shard in the memory of its owner, as its disk has it."""

    def __init__(self, number: int, disk: Disk, tree: Tree) -> None:
        self.number, self._disk, self._tree = number, disk, tree
        self.outbox = Outbox(number, disk.numbers, [disk.stored[key] for key in sorted(disk.stored)])
        self.inbox = Inbox(disk.heard)
        self.to_do = deque(disk.to_do)
        self._done: list[int] = []
        self.to_say: list[Batch] = []
        self.to_acknowledge: list[tuple[int, int]] = []

    def take(self, batch: Batch) -> None:
        """Take mail."""
        self.to_do.extend(item.depth for item in self.inbox.take(batch) if isinstance(item, SitemapOver))
        self.to_acknowledge += self.inbox.repeated()

    def work(self) -> None:
        """Bring one item to its end."""
        item = self.to_do.popleft()
        for child in self._tree.children[item]:
            if self._tree.shards[child] == self.number:
                self.to_do.append(child)
            else:
                self.outbox.put(self._tree.shards[child], SitemapOver("", child, ""))
        self._done.append(item)

    def commit(self) -> None:
        """Keep all, then let the mail go."""
        self._disk.keep(self.outbox, self.inbox, list(self.to_do), self._done)
        self._done = []
        self.to_say += self.outbox.committed()
        self.to_acknowledge += self.inbox.committed()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do or to commit. That all was acknowledged is left for the waves to find out."""
        is_kept = not self._done and not self.outbox.has_new and not self.inbox.has_new
        return not self.to_do and is_kept and not self.to_say


class Member:
    """A worker: its shards, and a pipe in each direction."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.shards: dict[int, Shard] = {}
        self.down: deque[tuple[Any, ...]] = deque()
        self.up: deque[tuple[Any, ...]] = deque()
        self.is_dead = False

    def send_mail(self) -> None:
        """Say what was committed."""
        for shard in self.shards.values():
            self.up.extend(("say", batch) for batch in shard.to_say)
            self.up.extend(("heard", source, shard.number, until) for source, until in shard.to_acknowledge)
            shard.to_say, shard.to_acknowledge = [], []

    def hear(self, fleet: Fleet) -> None:
        """Take the next word of the hub."""
        word, *rest = self.down.popleft()
        if word == "take":
            shard = self.shards[rest[0]] = Shard(rest[0], fleet.disks[rest[0]], fleet.tree)
            self.up.append(("taken", rest[0]))
            self.up.extend(("say", batch) for batch in shard.outbox.unacknowledged())
        elif word == "say" and rest[0].dest in self.shards:
            self.shards[rest[0].dest].take(rest[0])
        elif word == "heard" and rest[0] in self.shards:
            self.shards[rest[0]].outbox.heard(rest[1], rest[2])
        elif word == "again":
            for shard in self.shards.values():
                self.up.extend(("say", batch) for batch in shard.outbox.unacknowledged(rest[0]))
        elif word == "probe":
            sent = sum(shard.outbox.sent for shard in self.shards.values())
            received = sum(shard.inbox.received for shard in self.shards.values())
            is_idle = all(shard.is_idle for shard in self.shards.values())
            self.up.append(("report", rest[0], Answer(is_idle, sent, received)))


class Fleet:
    """The hub and its members; `step` lets one random thing happen. `kills` may die; `is_over`: it was found out."""

    def __init__(self, draw: random.Random, tree: Tree, shards: int, members: int, kills: int) -> None:
        self.draw, self.tree, self.kills = draw, tree, kills
        self.disks = [Disk() for _ in range(shards)]
        self.disks[tree.shards[0]].to_do.append(0)
        self.members = [Member(number) for number in range(members)]
        self.owners: dict[int, Member] = {}
        self.taken: set[int] = set()
        self.waves = Waves()
        self.is_over = False
        for shard in range(shards):
            self._give(shard, self.members[shard % members])

    def _give(self, shard: int, member: Member) -> None:
        self.taken.discard(shard)
        self.owners[shard] = member
        member.down.append(("take", shard))

    def step(self) -> None:
        """Let one random thing happen."""
        what, member = self.draw.randrange(100), self.draw.choice(self.members)
        if what < 40:
            self._hear(member)
        elif what < 60:
            if member.down and not member.is_dead:
                member.hear(self)
        elif what < 98:
            self._go_on(member)
        elif self.kills and not member.is_dead:
            self.kills -= 1
            member.is_dead = True  # what it has said is heard, what it was told is lost
            member.shards.clear()

    def _go_on(self, member: Member) -> None:
        what = self.draw.randrange(5)
        if what == 0:
            member.send_mail()
        for shard in self.draw.sample(list(member.shards.values()), min(1, len(member.shards))):
            if what <= 2 and shard.to_do:
                shard.work()
            elif what > 2:
                shard.commit()

    # --- the hub ---

    def _ask(self) -> None:
        if len(self.taken) == len(self.disks):
            wave = self.waves.begin()
            for member in self.members:
                member.down.append(("probe", wave))

    def _hear(self, member: Member) -> None:
        if member.up:
            self._take(member, *member.up.popleft())
        elif member.is_dead:
            self._bury(member)

    def _take(self, member: Member, word: str, *rest: Any) -> None:
        if word == "say" and rest[0].dest in self.taken:
            self.owners[rest[0].dest].down.append(("say", rest[0]))
        elif word == "heard":
            source, dest, until = rest
            self.owners[source].down.append(("heard", source, dest, until))
        elif word == "taken":
            self.taken.add(rest[0])
            for other in self.members:
                other.down.append(("again", rest[0]))
            self._ask()
        elif word == "report":
            self.waves.answer(rest[0], member.number, rest[1])
            verdict = self.waves.is_over([one.number for one in self.members])
            self.is_over = bool(verdict)
            if verdict is False:
                self._ask()

    def _bury(self, member: Member) -> None:
        self.waves.disturb()
        successor = Member(max(one.number for one in self.members) + 1)
        self.members[self.members.index(member)] = successor
        for shard in [shard for shard, owner in self.owners.items() if owner is member]:
            self._give(shard, successor)
        self._ask()

    # --- what is true, whoever knows it ---

    def done(self) -> Counter[int]:
        """Return how often each item is among what was committed."""
        return Counter(item for disk in self.disks for item in disk.done)

    def left(self) -> list[str]:
        """Return, in words, all work and all mail that is not at its end."""
        found = [f"shard {number} has {disk.to_do} on disk" for number, disk in enumerate(self.disks) if disk.to_do]
        for member in self.members:
            found += [f"{shard.number} is busy" for shard in member.shards.values() if not shard.is_idle]
            for word, *rest in [*member.up, *member.down]:
                if word == "say" and rest[0].first + rest[0].count > self.disks[rest[0].dest].heard.get(
                    rest[0].source, 0
                ):
                    found.append(f"{rest[0]} is on its way")
        for disk in self.disks:
            for (dest, first), batch in disk.stored.items():
                if first + batch.count > self.disks[dest].heard.get(batch.source, 0):
                    found.append(f"{batch} was never heard")
        return found
