"""The table of seen URLs: exact, whatever the hash, and small."""

from __future__ import annotations

import hashlib
import os
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from cormorant.frontier import seen as seen_module
from cormorant.frontier import spool as spool_module
from cormorant.frontier.seen import SeenURLs

ANY_TEXT = st.text(st.characters(), max_size=8)  # lone surrogates too


@given(st.lists(ANY_TEXT))
def test_says_what_a_set_says(texts: list[str]) -> None:
    seen, truth = SeenURLs(), set[str]()
    for text in texts:
        assert (text in seen) == (text in truth)
        assert seen.add(text) == (text not in truth)
        truth.add(text)
        assert text in seen
    assert len(seen) == len(truth)


@pytest.mark.parametrize("bits", [0, 1, 4], ids=lambda bits: f"{bits}_bits_of_hash")
def test_says_what_a_set_says_when_hashes_collide(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tag and the part of every text are among 2**bits; runs are short, so that they are halved often."""
    monkeypatch.setattr(seen_module, "_hash", lambda text: (zlib.crc32(text.encode()) % (1 << bits)) << 60)
    monkeypatch.setattr(seen_module, "RUN_SLOTS", 4)
    monkeypatch.setattr(spool_module, "BLOCK_BYTES", 64)
    numbers = random.Random(bits)
    seen, truth = SeenURLs(recent=8), set[str]()
    for _ in range(1_500):
        text = f"{numbers.randrange(400)}"
        assert seen.add(text) == (text not in truth)
        truth.add(text)
    assert len(seen) == len(truth) > 350


class SeenBesideASet(RuleBasedStateMachine):
    """Any calls in any order, on a table whose every limit is small."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.truth = SeenURLs(recent=4), set[str]()

    @rule(text=st.text("ab", max_size=5))
    def add(self, text: str) -> None:
        assert self.seen.add(text) == (text not in self.truth)
        self.truth.add(text)

    @rule(text=st.text("ab", max_size=5))
    def contains(self, text: str) -> None:
        assert (text in self.seen) == (text in self.truth)

    @rule()
    def count(self) -> None:
        assert len(self.seen) == len(self.truth)


def test_any_calls_in_any_order_say_what_a_set_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_module, "_hash", lambda text: (zlib.crc32(text.encode()) % 16) << 60)
    monkeypatch.setattr(seen_module, "RUN_SLOTS", 2)
    monkeypatch.setattr(spool_module, "BLOCK_BYTES", 16)
    run_state_machine_as_test(SeenBesideASet, settings=settings(max_examples=50, deadline=None))


def test_texts_with_one_hash_are_still_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_module, "_hash", lambda text: 7)
    seen = SeenURLs()
    texts = ["http://a.example/1", "http://a.example/2", "http://a.example/", "", "?", "\ud800", "\ud801", "\ufffd"]
    for text in texts:
        assert text not in seen
        assert seen.add(text)
    assert not any(seen.add(text) for text in texts)


def test_a_hundred_thousand_urls_cost_at_most_16_bytes_each() -> None:
    seen = SeenURLs()
    urls = [f"http://h{number % 997}.example/page/{number}" for number in range(100_000)]
    assert all(seen.add(url) for url in urls)
    assert not any(seen.add(url) for url in urls)
    assert seen.bytes_held / len(seen) <= 16
    assert seen.bytes_on_disk > 3_000_000  # the texts are elsewhere
    assert "SeenURLs 100000 recent=" in repr(seen)


def _the_same_in_every_process(text: str) -> int:
    """A hash that no part can be unlucky with: with Python's own, one run in 200 gives a part a third halving."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def test_growing_keeps_a_url_below_13_bytes_and_every_part_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_module, "RUN_SLOTS", 64)
    monkeypatch.setattr(seen_module, "_hash", _the_same_in_every_process)
    seen = SeenURLs()
    for number in range(200_000):  # 195 a part: two halvings
        seen.add(f"{number}")
        if number in (75_000, 120_000, 140_000):
            assert seen.bytes_held / len(seen) < 13
    assert {len(runs) for runs in seen._parts} == {4}
    for runs in seen._parts:
        slots = [slot for run in runs for slot in run]
        assert slots == sorted(slots)
        assert max(map(len, runs)) < 2 * seen_module.RUN_SLOTS


def test_links_on_every_page_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "BLOCK_BYTES", 1)  # everything is on disk at once
    seen, reads = SeenURLs(recent=200), list[int]()
    read = seen._spool.read
    monkeypatch.setattr(seen._spool, "read", lambda offset: reads.append(offset) or read(offset))
    menu = [f"http://a.example/{number}" for number in range(80)]
    for page in range(50):
        assert all(seen.add(url) == (page == 0) for url in menu)
        assert seen.add(f"http://a.example/page/{page}")
    assert len(reads) <= len(menu) + 2


def test_what_is_held_as_text_is_bounded() -> None:
    seen = SeenURLs(recent=100)
    long = "http://a.example/" + "x" * seen_module.RECENT_CHARACTERS
    for number in range(1_000):
        url = f"http://a.example/{number}"
        assert [seen.add(url), seen.add(url), seen.add(long)] == [True, False, number == 0]
        assert len(seen._younger) + len(seen._older) <= 100
    assert long not in seen._younger | seen._older


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_may_ask_what_was_seen_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "BLOCK_BYTES", 4096)
    seen = SeenURLs(recent=0)
    before = [f"http://a.example/before/{number}" for number in range(300)]
    after = [f"http://a.example/after/{number}" for number in range(300)]
    for url in before:
        seen.add(url)
    child = os.fork()
    if not child:
        try:
            os._exit(0 if all(url in seen for url in before) and after[0] not in seen else 1)
        finally:
            os._exit(2)
    assert all(seen.add(url) for url in after)  # meanwhile
    assert os.waitpid(child, 0)[1] == 0
    assert not any(seen.add(url) for url in [*before, *after])
