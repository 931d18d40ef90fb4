"""Options: what is refused says how to put it right."""

from __future__ import annotations

from typing import Any

import pytest

import cormorant
from cormorant import Kind
from cormorant.errors import UsageError
from cormorant.options import Options
from cormorant.testing import Reply, Scripted
from cormorant.transport import Curl


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"concurency": 3}, "did you mean 'concurrency'"),
        ({"colour": "red"}, "known are allow_private"),
        ({"concurrency": 0}, "give 1 or more"),
        ({"concurrency": "3"}, "give int or nothing"),
        ({"retries": True}, "give int"),
        ({"timeout": None}, "give int or float"),
        ({"delay": float("nan")}, "give 0 or more"),
        ({"max_body": "1K"}, "give int"),
        ({"proxy": "ftp://127.0.0.1:9"}, "write http://host:port"),
        ({"proxy": "foo bar"}, "write http://host:port"),
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


def test_what_is_no_text_is_no_url_but_costs_only_itself() -> None:
    script = Scripted({"http://a.example/": Reply(body=b"here")})
    entries = ["http://a.example/", float("nan"), None]
    outcomes = {outcome.url: outcome.kind for outcome in fetch_scripted(entries, script)}
    assert outcomes == {"http://a.example/": None, "nan": Kind.BAD_URL, "None": Kind.BAD_URL}


def fetch_scripted(entries: list[Any], script: Scripted) -> list[cormorant.Outcome]:
    from cormorant import api, opening

    return list(opening.open_fetch(api._entries(entries), Options(engine="greenlet"), transports=script).run())


def test_an_async_iterable_and_a_parse_that_is_no_function_are_refused() -> None:
    async def urls() -> Any:
        yield "http://a.example/"

    with pytest.raises(UsageError, match="collect an async one"):
        cormorant.fetch(urls())
    with pytest.raises(UsageError, match="needs a function"):
        cormorant.fetch(["http://a.example/"], parse="mine:title")  # type: ignore[arg-type]
