"""The table of seen URLs: exact on what it is given, and small."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cormorant.frontier.seen import SeenURLs


@given(st.lists(st.text(max_size=8)))
def test_says_what_a_set_says(texts: list[str]) -> None:
    seen, truth = SeenURLs(), set[str]()
    for text in texts:
        assert seen.add(text) == (text not in truth)
        truth.add(text)
    assert len(seen) == len(truth)


def test_a_hundred_thousand_urls_cost_at_most_16_bytes_each() -> None:
    seen = SeenURLs()
    urls = [f"http://h{number % 997}.example/page/{number}" for number in range(100_000)]
    assert all(seen.add(url) for url in urls)
    assert not any(seen.add(url) for url in urls)
    assert seen.bytes_held / len(seen) <= 16
