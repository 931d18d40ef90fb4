"""Retries: what is tried again, when, what Retry-After changes, and what a whole run may spend."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant.messages import Failure, Kind, Outcome, Page
from cormorant.policies.retries import FOREVER_SECONDS, PASSING_KINDS, PASSING_STATUSES, Budget, Retries

NOW = 1_800_000_000.0
ONE_SHORT_OF_ALL = 1 - 2**-53
DRAWS = st.floats(0, 1, exclude_max=True)


def page(status: int, attempts: int = 1, **headers: str) -> Page:
    return Page(
        url="http://a.example/",
        status=status,
        attempts=attempts,
        fetched_at=NOW,
        headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()),
    )


def failure(kind: Kind, attempts: int = 1) -> Failure:
    return Failure(url="http://a.example/", kind=kind, message="", attempts=attempts)


@pytest.mark.parametrize("status", [200, 301, 304, 400, 403, 404, 501, 505, 520, *sorted(PASSING_STATUSES)])
def test_which_statuses_are_tried_again(status: int) -> None:
    is_passing = status in {408, 429, 500, 502, 503, 504, 522, 524}
    assert (Retries(limit=1).wait_seconds(page(status), 0.5) is not None) is is_passing


@pytest.mark.parametrize("kind", Kind)
def test_which_kinds_are_tried_again(kind: Kind) -> None:
    is_passing = kind in {"dns", "connect", "timeout", "truncated", "worker_lost", "local"}
    assert (Retries(limit=1).wait_seconds(failure(kind), 0.5) is not None) is is_passing


def test_the_wait_doubles_up_to_the_most_and_is_drawn_from_the_whole() -> None:
    retries = Retries(limit=10, first_seconds=0.5, most_seconds=3.0)
    longest = [retries.wait_seconds(page(500, attempts), ONE_SHORT_OF_ALL) for attempts in range(1, 6)]
    assert longest == pytest.approx([0.5, 1.0, 2.0, 3.0, 3.0])
    assert retries.wait_seconds(page(500, 3), 0.0) == 0.0
    assert retries.wait_seconds(page(500, 3), 0.25) == 0.5
    assert Retries(limit=10**9).wait_seconds(page(500, 10**8), 0.5) == 30.0


def test_the_limit_counts_further_attempts() -> None:
    retries = Retries(limit=2)
    assert [retries.wait_seconds(page(500, attempts), 0.0) for attempts in (1, 2, 3)] == [0.0, 0.0, None]
    assert Retries().wait_seconds(page(500), 0.0) is None


@pytest.mark.parametrize(("limit", "attempts"), [(0, 5), (3, 5), (7, 7)])
def test_local_faults_are_tried_again_whatever_the_hosts_get(limit: int, attempts: int) -> None:
    retries = Retries(limit=limit)
    assert retries.wait_seconds(failure(Kind.LOCAL, attempts), 0.0) == 0.0
    assert retries.wait_seconds(failure(Kind.LOCAL, attempts + 1), 0.0) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9999999999", FOREVER_SECONDS),
        ("9" * 5000, FOREVER_SECONDS),
        ("-5", None),
        ("1.5", None),
        ("\u0661\u0662", None),
        ("", None),
        ("soon", None),
        ("Sat, 99 Xyz 2026 99:99:99 GMT", None),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("Friday, 15-Jan-27 08:01:30 GMT", 90.0),
        ("Fri Jan 15 08:01:30 2027", 90.0),
        ("Fri, 15 Jan 9999 08:00:00 GMT", FOREVER_SECONDS),
    ],
    ids=lambda value: str(value)[:30],
)
def test_retry_after_in_both_forms(text: str, seconds: float | None) -> None:
    assert Retries.retry_after(page(503, retry_after=text)) == seconds


def test_a_date_counts_from_the_answers_own_clock() -> None:
    wrong = NOW - 1e7
    own = page(503, retry_after=formatdate(wrong + 60, usegmt=True), date=formatdate(wrong, usegmt=True))
    assert Retries.retry_after(own) == 60.0
    broken = page(503, retry_after=formatdate(NOW + 60, usegmt=True), date="today")
    assert Retries.retry_after(broken) == 60.0
    timeless = Page(url="http://a.example/", status=503, headers=(("Retry-After", formatdate(NOW, usegmt=True)),))
    assert Retries.retry_after(timeless) is None


def test_a_redirect_may_ask_for_time_too() -> None:
    assert Retries.retry_after(page(301, retry_after="7")) == 7.0
    assert Retries(limit=1).wait_seconds(page(301, retry_after="7"), 0.0) is None


def test_what_the_host_asks_for_is_waited_out_first() -> None:
    retries = Retries(limit=3)
    assert retries.wait_seconds(page(429, retry_after="20"), 0.0) == 20.0
    assert retries.wait_seconds(page(429, retry_after="20"), 0.5) == 20.25
    cut = Failure(url="u", kind=Kind.TRUNCATED, message="", status=503, headers=(("retry-after", "20"),))
    assert retries.wait_seconds(cut, 0.0) == 20.0


def test_beyond_the_most_the_outcome_is_final() -> None:
    retries = Retries(limit=3)
    assert retries.wait_seconds(page(503, retry_after="3600"), 0.0) is None
    assert retries.wait_seconds(page(503, retry_after="300"), 0.0) == 300.0


OUTCOMES = st.one_of(
    st.builds(page, st.integers(0, 999), st.integers(0, 2000), retry_after=st.text(), date=st.text()),
    st.builds(page, st.sampled_from(sorted(PASSING_STATUSES)), retry_after=st.integers().map(str)),
    st.builds(failure, st.sampled_from(Kind), st.integers(0, 2000)),
)


@given(OUTCOMES, st.integers(0, 3000), DRAWS)
def test_a_wait_is_within_its_bounds(outcome: Outcome, limit: int, draw: float) -> None:
    retries = Retries(limit=limit)
    asked = retries.retry_after(outcome) or 0.0
    wait = retries.wait_seconds(outcome, draw)
    if wait is None:
        return
    assert asked <= wait <= min(asked, retries.most_retry_after) + retries.most_seconds
    assert outcome.status in PASSING_STATUSES or outcome.kind in PASSING_KINDS


@given(st.text(alphabet="MonTueJan 0123456789:,-+GMT()<>@\\\"'", max_size=60))
def test_no_date_crashes(text: str) -> None:
    seconds = Retries.retry_after(page(503, retry_after=text, date=text[::-1]))
    assert seconds is None or 0 <= seconds <= FOREVER_SECONDS


def test_a_budget_begins_full_and_earns_a_share() -> None:
    budget = Budget(share=0.1, at_once=2)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    for _ in range(10):
        budget.earn()
    assert repr(budget) == "<Budget left=1.0 of 2>"
    assert [budget.spend(), budget.spend()] == [True, False]


def test_a_budget_saves_up_no_more_than_it_began_with() -> None:
    budget = Budget(share=0.5, at_once=2)
    for _ in range(100):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]


@given(st.lists(st.booleans(), max_size=300), st.integers(0, 20))
def test_an_outage_is_no_storm(steps: list[bool], at_once: int) -> None:
    budget = Budget(share=0.1, at_once=at_once)
    firsts = spent = 0
    for is_first in steps:
        if is_first:
            firsts += 1
            budget.earn()
        else:
            spent += budget.spend()
            assert spent <= at_once + 0.1 * firsts + 1e-3
