"""The demo: its measure, its verdict, its exit code; then the real thing under two engines."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rich.console import Console

import cormorant
from cormorant import engines as rooms
from cormorant.errors import EngineLost, UsageError
from cormorant.lab import demo, site
from cormorant.messages import Failure, Kind, Outcome, Page

PAGES = 20
WORKLOAD = site.Workload.mixed(PAGES)
Fetch = Callable[..., Iterator[Outcome]]


def outcome(url: str) -> Outcome:
    """Answer as a right engine would, without any network."""
    if url == demo.NO_URL:
        return Failure(url=url, kind=Kind.BAD_URL, message="not an absolute URL")
    if url.endswith("/"):
        return Failure(url=url, kind=Kind.CONNECT, message="refused")
    end = site.expected(WORKLOAD, url)
    if end.kind is None:
        assert end.status is not None
        return Page(url=url, status=end.status, body=end.body)
    return Failure(url=url, kind=end.kind, message="as the site does", status=end.status, body=end.body)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fetch], None]:
    """Put a `fetch` of the test's own in the place of the public one."""
    pytest.importorskip("granian")

    def put(fetch: Fetch) -> None:
        stub: Any = types.ModuleType("cormorant.api")
        stub.fetch = fetch
        monkeypatch.setitem(sys.modules, "cormorant.api", stub)
        monkeypatch.setattr(cormorant, "api", stub, raising=False)

    return put


def show(engines: list[str] | None = None) -> tuple[int, str]:
    text = io.StringIO()
    code = demo.run(PAGES, engines, console=Console(file=text, width=200))
    return code, text.getvalue()


def test_equal_outcomes_in_any_order_give_exit_0(install: Callable[[Fetch], None]) -> None:
    seen: dict[str, list[str]] = {}

    def fetch(urls: list[str], *, engine: str, **words: Any) -> Iterator[Outcome]:
        seen[engine] = urls
        return map(outcome, urls if engine == "serial" else reversed(urls))

    install(fetch)
    code, text = show(["serial", "thread", "greenlet"])
    assert code == 0, text
    assert "Equal multisets" in text
    assert text.count("not installed") == 0
    assert [line.split()[1:6:2] for line in text.splitlines() if "│ serial" in line] == [["serial", "15", "7"]]
    assert seen["serial"] == seen["thread"] == seen["greenlet"]
    assert len(seen["serial"]) == PAGES + 2


def mixed_up(outcomes: list[Outcome]) -> list[Outcome]:
    """Give two pages each other's bodies."""
    pages = [out for out in outcomes if out.ok]
    bodies = {pages[0].url: pages[1].body, pages[1].url: pages[0].body}
    return [Page(url=out.url, status=200, body=bodies[out.url]) if out.url in bodies else out for out in outcomes]


def wrong_kind(outcomes: list[Outcome]) -> list[Outcome]:
    return [Failure(url=out.url, kind=Kind.DNS, message="") if out.kind is Kind.CONNECT else out for out in outcomes]


@pytest.mark.parametrize(
    "spoil",
    [mixed_up, wrong_kind, lambda outcomes: outcomes[1:], lambda outcomes: [*outcomes, outcomes[0]]],
    ids=["bodies swapped", "other kind", "one lost", "one twice"],
)
def test_one_engine_that_differs_is_named_and_gives_exit_1(
    install: Callable[[Fetch], None], spoil: Callable[[list[Outcome]], list[Outcome]]
) -> None:
    def fetch(urls: list[str], *, engine: str, **words: Any) -> Iterator[Outcome]:
        right = [outcome(url) for url in urls]
        return iter(spoil(right) if engine == "thread" else right)

    install(fetch)
    code, text = show(["serial", "thread"])
    assert code == 1
    assert "1 of 2 engines" in text
    assert "  thread missing: " in text or "  thread instead: " in text
    assert "  serial " not in text


def test_all_engines_wrong_alike_give_exit_1(install: Callable[[Fetch], None]) -> None:
    install(lambda urls, **words: iter(mixed_up([outcome(url) for url in urls])))
    assert show(["serial", "thread"])[0] == 1


def test_an_engine_that_breaks_off_gives_exit_1_and_the_others_go_on(install: Callable[[Fetch], None]) -> None:
    def fetch(urls: list[str], *, engine: str, **words: Any) -> Iterator[Outcome]:
        for url in urls:
            yield outcome(url)
            if engine == "serial":
                raise EngineLost("[gone]")

    install(fetch)
    code, text = show(["serial", "thread"])
    assert code == 1
    assert "serial broke off: EngineLost: [gone]" in text
    assert "1 of 2 engines" in text


def test_an_engine_that_is_not_installed_gets_its_pip_line(
    install: Callable[[Fetch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "missing", lambda name: "pip install 'cormorant[gevent]'" if name == "gevent" else None)
    used = []

    def fetch(urls: list[str], *, engine: str, **words: Any) -> Iterator[Outcome]:
        used.append(engine)
        return map(outcome, urls)

    install(fetch)
    code, text = show()
    assert code == 0, text
    assert "gevent is not installed: pip install 'cormorant[gevent]'" in text
    assert used == [name for name in rooms.names() if name != "gevent"]


def test_an_unknown_engine_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="thred"):
        demo.run(PAGES, ["thred"])


GOOD, HUNG, T = "good", "hung", demo.TIMEOUT


@pytest.mark.parametrize(
    ("hand_overs", "latency", "wait"),
    [
        pytest.param([(GOOD, 0.1), (GOOD, 0.2)], 0.0, 0.0, id="nothing hung"),
        pytest.param([(GOOD, 1.0), (HUNG, 1.0 + T), (GOOD, 1.1 + T)], 0.1, T, id="for loop"),
        pytest.param([(GOOD, 1.0), (HUNG, 1 + T), (HUNG, 1 + 2 * T), (GOOD, 1 + 2 * T)], 0.0, 2 * T, id="two in a row"),
        pytest.param([(HUNG, T), (GOOD, T + 0.1)], 0.1, T, id="hung first"),
        pytest.param([(GOOD, 0.1), (GOOD, 0.2), (HUNG, T)], 0.1, 0.0, id="nobody behind it"),
        pytest.param([(GOOD, 0.1), (GOOD, 0.6), (HUNG, T), (HUNG, T)], 0.1, 0.4, id="two at once count once"),
        pytest.param([(GOOD, 0.1), (GOOD, 5.0), (HUNG, 5.0 + T)], 0.0, 0.0, id="a silence before it hung"),
        pytest.param([(GOOD, 0.1), (GOOD, 0.6), (HUNG, T)], 0.5, 0.0, id="a page's own latency"),
    ],
)
def test_the_wait_behind_a_hung_page(hand_overs: list[tuple[str, float]], latency: float, wait: float) -> None:
    outcomes: dict[str, Outcome] = {
        GOOD: Page(url=GOOD, status=200),
        HUNG: Failure(url=HUNG, kind=Kind.TIMEOUT, message=""),
    }
    run = demo.Run("serial", [demo.HandOver(seconds, outcomes[what]) for what, seconds in hand_overs], 9.0)
    assert run.longest_wait({GOOD: latency}) == pytest.approx(wait)


def test_the_real_thing_under_two_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("granian")
    pytest.importorskip("cormorant.api")
    code, text = show(["thread", "greenlet"])
    assert code == 0, text
