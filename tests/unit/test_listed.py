"""What a Python caller gives, as numbered entries that a later run reads on from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant.errors import UsageError
from cormorant.frontier.job_lists import Position
from cormorant.listed import Listed, as_line

texts = st.lists(st.text(max_size=5) | st.none() | st.integers() | st.just("\udcff"), max_size=6)


def stored(position: Position) -> Position:
    """What the journal makes of it."""
    return msgspec.json.decode(msgspec.json.encode(position), type=Position)


@given(texts, st.lists(st.integers(0, 4), max_size=4))
def test_a_list_that_is_left_anywhere_is_read_once(given_: list[object], lives: list[int]) -> None:
    position, found = Position(), []
    for taken in (*lives, len(given_)):
        listed = Listed(iter(given_), position)
        found += islice(listed, taken)
        position = stored(listed.position)
    whole = list(Listed(given_, Position()))
    assert found == whole
    assert [number for _, number in whole] == list(range(1, len(given_) + 1))


def test_entries_are_lines() -> None:
    assert [as_line(text) for text in ("a\r\n", "a \n\n", None, 1.5)] == ["a", "a ", "None", "1.5"]


@pytest.mark.parametrize(
    "now", [["a", "x", "c"], ["a"], [], ["x", "a", "b"], ["ab", ""], ["a\nb"]], ids=lambda now: "-".join(now) or "none"
)
def test_a_list_that_begins_otherwise_is_refused(now: list[str]) -> None:
    listed = Listed(["a", "b", "c"], Position())
    assert [next(listed), next(listed)] == [("a", 1), ("b", 2)]
    with pytest.raises(UsageError, match="does not begin with the 2 URLs that the job was given before; give it the"):
        Listed(now, listed.position)


def test_what_comes_behind_may_differ() -> None:
    listed = Listed(["a", "b"], Position())
    list(listed)
    assert list(Listed(["a", "b", "new"], listed.position)) == [("new", 3)]
    assert list(Listed(["a", "b"], listed.position)) == []


def test_no_more_is_read_than_was_asked_for() -> None:
    read = []

    def endless() -> Iterator[str]:
        while True:
            read.append(len(read))
            yield str(len(read))

    listed = Listed(endless(), Position())
    assert not read
    assert (next(listed), len(read)) == (("1", 1), 1)
    again = Listed(iter(["1", "2"]), listed.position)
    assert list(again) == [("2", 2)]
