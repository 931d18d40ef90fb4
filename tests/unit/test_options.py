"""Options: what is refused says how to put it right."""

from __future__ import annotations

from typing import Any

import pytest

import cormorant
from cormorant.errors import UsageError
from cormorant.options import Options
from cormorant.transport import Curl


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"concurency": 3}, "did you mean 'concurrency'"),
        ({"colour": "red"}, "known are allow_private"),
        ({"concurrency": 0}, "give 1 or more"),
        ({"timeout": 0}, "more than 0 seconds"),
        ({"timeout": float("nan")}, "more than 0 seconds"),
        ({"per_host": -1}, "give 0 or more"),
        ({"header": "X-A: b"}, "list of 'Name: value' lines"),
        ({"header": ["X-A b"]}, "has no colon"),
        ({"header": {"X A": "b"}}, "not a token"),
        ({"header": {"X-A": "b\r\nX-Evil: 1"}}, "line break"),
        ({"header": {"X-A": "bäh"}}, "not ASCII"),
        ({"user_agent": "a\nb"}, "line break"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_option_is_refused_with_the_fix(words: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Options.of(words)


@pytest.mark.parametrize("header", [{"X-A": "b"}, [("X-A", "b")], ["X-A: b"]], ids=["mapping", "pairs", "lines"])
def test_headers_come_in_three_forms(header: Any) -> None:
    assert Options(header=header).header == (("X-A", "b"),)


def test_a_proxy_cannot_be_guarded() -> None:
    with pytest.raises(UsageError, match="the proxy dials"):
        Curl(Options(proxy="http://127.0.0.1:1", allow_private=False))


@pytest.mark.parametrize("words", [{"retries": 1}, {"delay": 1.0}, {"header": {"X-A": "b"}}], ids=str)
def test_map_refuses_what_it_would_not_look_at(words: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="leave it out"):
        cormorant.map(str, ["item"], **words)
