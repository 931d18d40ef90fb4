"""The mail between shards: nothing lost, nothing twice, in order, whatever the way does to it and whoever dies."""

from __future__ import annotations

import random
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from cormorant.fleet import mail
from cormorant.fleet.mail import LIST, Batch, Inbox, Outbox, batch
from cormorant.messages import Found, HandedOver, HopOver, Lead, LineOver, LinkOver, Page, Request, SitemapOver

STEPS = 100_000  # by far more than is needed


def item(number: int) -> SitemapOver:
    return SitemapOver("https://a.example/sitemap.xml", number, "")


def numbers(items: list[mail.Item]) -> list[int]:
    return [one.depth for one in items if isinstance(one, SitemapOver)]


def sent(outbox: Outbox, *items: HandedOver, dest: int = 1) -> list[Batch]:
    """Put items and commit them; returns what may be sent."""
    for one in items:
        outbox.put(dest, one)
    outbox.sealed()
    return outbox.committed()


# --- the property: loss, doubling, any order, deaths ---


class Life:
    """A shard that has `size` items for each other shard, and dies; what it has committed is all that stays."""

    def __init__(self, number: int, shards: int, size: int) -> None:
        self.number, self._others, self._size = number, [one for one in range(shards) if one != number], size
        self._numbers: dict[int, int] = {}
        self._stored: dict[tuple[int, int], Batch] = {}
        self._heard: dict[int, int] = {}
        self._position = 0
        self.received: dict[int, list[int]] = defaultdict(list)
        self.begin()

    def begin(self) -> None:
        """Begin with what is committed."""
        self.outbox = Outbox(self.number, self._numbers, [self._stored[key] for key in sorted(self._stored)])
        self.inbox = Inbox(self._heard)
        self._put = self._position
        self._got: dict[int, list[int]] = defaultdict(list)

    def put(self) -> None:
        """Put the next item for each other shard."""
        if self._put < self._size:
            for dest in self._others:
                self.outbox.put(dest, item(self._put))
            self._put += 1

    def take(self, one: Batch) -> list[tuple[int, int]]:
        """Take a batch; returns what is acknowledged at once."""
        self._got[one.source] += numbers(self.inbox.take(one))
        return self.inbox.repeated()

    def commit(self, is_killed: bool) -> tuple[list[Batch], list[tuple[int, int]]]:
        """Commit, and perhaps die before anybody hears of it; returns what is sent and acknowledged."""
        new, done = self.outbox.sealed()
        self._stored |= {(one.dest, one.first): one for one in new}
        for one in done:
            del self._stored[one.dest, one.first]
        self._numbers, self._heard, self._position = self.outbox.numbers, self.inbox.heard, self._put
        for source, some in self._got.items():
            self.received[source] += some
        self._got.clear()
        if is_killed:
            self.begin()
            return [], []
        return self.outbox.committed(), self.inbox.committed()

    @property
    def is_through(self) -> bool:
        """Whether all was put, committed and acknowledged, and is known to be."""
        return self._position == self._size and self.outbox.is_empty


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    shards=st.integers(2, 4),
    size=st.integers(0, 12),
    badness=st.sampled_from((0, 20, 60)),
)
def test_a_bad_way_and_deaths_lose_nothing_and_double_nothing(seed: int, shards: int, size: int, badness: int) -> None:
    draw = random.Random(seed)
    lives = [Life(number, shards, size) for number in range(shards)]
    way: list[Batch | tuple[int, int, int]] = []  # batches, and (source, dest, until)
    for _ in range(STEPS):
        if all(life.is_through for life in lives):
            break
        life, what = draw.choice(lives), draw.randrange(100)
        acknowledged: list[tuple[int, int]] = []
        if what < 20:
            life.put()
        elif what < 40:
            new, acknowledged = life.commit(is_killed=draw.randrange(200) < badness)
            way += new
        elif what < 44:
            way += life.outbox.unacknowledged(draw.choice([None, *range(shards)]))
        elif what < 46 and draw.randrange(100) < badness:
            life.begin()
        elif way:
            one = way.pop(draw.randrange(len(way)))
            if draw.randrange(100) < badness and draw.random() < 0.5:
                continue  # lost
            if draw.randrange(100) < badness:
                way.append(one)
            if isinstance(one, Batch):
                life = lives[one.dest]
                acknowledged = life.take(one)
            else:
                source, dest, until = one
                lives[source].outbox.heard(dest, until)
        way += [(source, life.number, until) for source, until in acknowledged]
    assert all(life.is_through for life in lives), "it was never through"
    for life in lives:
        others = [number for number in range(shards) if number != life.number]
        assert {source: life.received[source] for source in others} == {source: list(range(size)) for source in others}
        assert life.inbox.received == size * len(others)
        assert life.outbox.sent == size * len(others)


# --- the outbox ---


def test_every_kind_of_item_travels() -> None:
    request = Request(url="http://a.example/", target="http://b.example/", input="a.example", seconds=3.0)
    items: list[mail.Item] = [
        LineOver(b"a.example", 7),
        LinkOver(Lead(url="http://b.example/", text="B"), Found(depth=1, source="http://a.example/")),
        SitemapOver("http://b.example/map.xml", 1, "http://a.example/index.xml"),
        HopOver(request, Page(url="http://a.example/", status=301, headers=(("location", "http://b.example/"),))),
    ]
    assert list(batch(0, 1, 0, items)) == items


def test_nothing_is_sent_before_the_commit_stands() -> None:
    outbox = Outbox(0, {})
    outbox.put(1, item(0))
    new, _ = outbox.sealed()
    assert outbox.unacknowledged() == []
    assert outbox.sent == 0
    assert outbox.committed() == new == outbox.unacknowledged(1)
    assert outbox.sent == 1


def test_a_commit_that_failed_is_sealed_again_as_it_was() -> None:
    outbox = Outbox(0, {})
    outbox.put(1, item(0))
    first, _ = outbox.sealed()
    outbox.put(1, item(1))
    again, _ = outbox.sealed()
    assert [(one.first, one.count) for one in again] == [(0, 1), (1, 1)]
    assert again[: len(first)] == first


def test_large_mail_is_cut_into_batches_that_follow_each_other() -> None:
    batches = sent(Outbox(0, {1: 5}), *map(item, range(2 * mail.MOST_ITEMS + 1)))
    assert [(one.first, one.count) for one in batches] == [(5, 1000), (1005, 1000), (2005, 1)]


def test_what_is_acknowledged_may_be_forgotten_by_the_next_commit_and_is_named_once() -> None:
    outbox = Outbox(0, {})
    first, second = sent(outbox, item(0)) + sent(outbox, item(1), item(2))
    outbox.heard(1, 2)  # the middle of the second: it is needed still
    assert outbox.unacknowledged() == [second]
    assert outbox.sealed() == ([], [first])
    outbox.committed()
    assert outbox.sealed() == ([], [])


def test_what_one_shard_has_heard_says_nothing_of_another() -> None:
    outbox = Outbox(0, {})
    sent(outbox, item(0), dest=1)
    (other,) = sent(outbox, item(0), dest=2)
    outbox.heard(1, 1)
    assert outbox.unacknowledged() == [other]
    assert not outbox.is_empty
    outbox.heard(2, 1)
    assert outbox.is_empty


def test_an_outbox_goes_on_with_what_was_stored() -> None:
    before = Outbox(0, {})
    stored = sent(before, item(0), item(1))
    outbox = Outbox(0, before.numbers, stored)
    assert outbox.unacknowledged() == stored
    assert [(one.first, one.count) for one in sent(outbox, item(2))] == [(2, 1)]


# --- the inbox ---


def test_what_was_taken_is_acknowledged_by_its_commit_alone() -> None:
    inbox = Inbox({})
    inbox.take(batch(3, 1, 0, [item(0), item(1)]))
    assert inbox.repeated() == []
    assert inbox.received == 0
    assert inbox.has_new
    assert inbox.committed() == [(3, 2)]
    assert inbox.committed() == []
    assert inbox.received == 2
    assert not inbox.has_new


def test_a_repetition_brings_nothing_and_is_acknowledged_at_once() -> None:
    inbox = Inbox({3: 2})
    assert inbox.take(batch(3, 1, 0, [item(0), item(1)])) == []
    assert not inbox.has_new
    assert inbox.repeated() == [(3, 2)]
    assert inbox.repeated() == []


def test_a_repetition_of_what_no_commit_has_kept_is_not_acknowledged() -> None:
    inbox = Inbox({})
    one = batch(3, 1, 0, [item(0)])
    inbox.take(one)
    inbox.take(one)
    assert inbox.repeated() == []


def test_behind_a_gap_nothing_is_taken() -> None:
    inbox = Inbox({})
    assert inbox.take(batch(3, 1, 1, [item(1)])) == []
    assert numbers(inbox.take(batch(3, 1, 0, [item(0)]))) == [0]
    assert numbers(inbox.take(batch(3, 1, 1, [item(1)]))) == [1]


def test_of_a_batch_that_is_known_in_part_the_rest_is_taken() -> None:
    inbox = Inbox({3: 1})
    assert numbers(inbox.take(batch(3, 1, 0, [item(0), item(1), item(2)]))) == [1, 2]


def test_what_came_after_the_commit_was_sealed_waits_for_the_next() -> None:
    inbox = Inbox({})
    inbox.take(batch(3, 1, 0, [item(0)]))
    kept = inbox.heard
    inbox.take(batch(3, 1, 1, [item(1)]))
    assert inbox.committed(kept) == [(3, 1)]
    assert inbox.has_new
    assert inbox.committed() == [(3, 2)]


def test_lines_of_input_do_not_count_as_mail() -> None:
    inbox = Inbox({LIST: 7, 2: 3})
    assert inbox.received == 3
