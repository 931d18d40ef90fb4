"""Which shard a URL belongs to, and which worker gets which shards."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant.errors import UsageError
from cormorant.fleet.shards import MOST_SHARDS, Split, dealt


def test_a_shard_never_changes_for_it_is_in_the_books_of_jobs() -> None:
    of_host = Split("host", 256).of
    found = [of_host(url) for url in ("http://a.example/", "https://www.example.co.uk/x", "http://192.0.2.1:8080/")]
    assert found == [204, 125, 200]


@pytest.mark.parametrize(
    ("by", "one", "other", "is_same"),
    [
        ("host", "http://a.example/1", "https://a.example/2", True),
        ("host", "http://a.example:8080/", "http://a.example/", True),
        ("host", "http://a.example/", "http://www.a.example/", False),
        ("domain", "http://a.example.co.uk/", "https://b.c.example.co.uk:8443/x", True),
        ("domain", "http://example.co.uk/", "http://other.co.uk/", False),
        ("domain", "http://192.0.2.1/", "http://192.0.2.2/", False),
        ("url", "http://a.example/1", "http://a.example/2", False),
        ("url", "http://a.example/%7ea", "http://a.example/~a", True),
    ],
)
def test_what_lies_together(by: str, one: str, other: str, is_same: bool) -> None:
    split = Split(by, 9_973)
    assert (split.of(one) == split.of(other)) is is_same


@pytest.mark.parametrize("text", ["no url at all", "http://", "ftp://a.example/", "\udcff", "", "http://[::1"])
def test_a_line_that_is_no_url_has_a_shard_too(text: str) -> None:
    split = Split("host", 16)
    assert split.of_line(text) == split.of_line(text) in range(16)


@pytest.mark.parametrize("text", ["HTTP://A.Example/1", "http://me:secret@a.example/1", "http://a.example"])
def test_a_line_lies_where_its_url_does(text: str) -> None:
    split = Split("host", 9_973)
    assert split.of_line(text) == split.of("http://a.example/1")


def test_hosts_are_spread_evenly() -> None:
    split = Split("host", 16)
    found = Counter(split.of(f"http://h{number}.example/") for number in range(16_000))
    assert len(found) == 16
    assert max(found.values()) < 1.2 * 1_000


@pytest.mark.parametrize(("by", "shards"), [("port", 4), ("host", 0), ("host", MOST_SHARDS + 1)])
def test_a_wrong_split_is_refused_with_what_to_give(by: str, shards: int) -> None:
    with pytest.raises(UsageError, match="give"):
        Split(by, shards)


# --- dealing ---


@given(
    shards=st.integers(1, 60),
    members=st.sets(st.integers(0, 20), min_size=1, max_size=9),
    before=st.lists(st.integers(0, 20), max_size=60),
)
def test_shards_are_dealt_evenly_and_stay_where_they_can(shards: int, members: set[int], before: list[int]) -> None:
    hands = dealt(range(shards), members, dict(enumerate(before)))
    sizes = Counter(hands.values())
    assert sorted(hands) == list(range(shards))
    assert set(hands.values()) <= members
    assert max(sizes.values()) - min(sizes[member] for member in members) <= 1
    for member in members:
        own = [shard for shard, owner in enumerate(before[:shards]) if owner == member]
        assert sum(hands[shard] == member for shard in own) >= min(len(own), shards // len(members))


def test_who_comes_to_a_full_table_gets_a_share() -> None:
    before = {shard: shard % 3 for shard in range(9)}
    assert Counter(dealt(range(9), range(4), before).values()) == {0: 3, 1: 2, 2: 2, 3: 2}


def test_nothing_moves_when_nobody_has_come_or_gone() -> None:
    hands = dealt(range(100), range(7))
    assert dealt(range(100), range(7), hands) == hands


def test_only_the_shards_of_the_dead_move() -> None:
    hands = dealt(range(12), range(4))
    after = dealt(range(12), [0, 1, 2, 9], hands)
    assert {shard for shard in hands if hands[shard] != after[shard]} == {s for s, one in hands.items() if one == 3}
