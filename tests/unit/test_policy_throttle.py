"""The throttle: less for a host that refuses or labours, all of it back for one that recovers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant.messages import Failure, Kind, Outcome, Page, Timings
from cormorant.policies.throttle import LONG_SHARE, UNLIMITED_WIDTH, Pace, Throttle


def page(seconds: float, status: int = 200, **headers: str) -> Page:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Page(url="u", status=status, headers=fields, timings=Timings(first_byte=seconds))


def failure(kind: Kind, phase: str | None = None) -> Failure:
    return Failure(url="u", kind=kind, message="", phase=phase)


def heard(throttle: Throttle, *outcomes: Outcome, pace: Pace | None = None) -> Pace:
    pace = pace or throttle.fresh()
    for outcome in outcomes:
        throttle.heard(pace, outcome)
    return pace


REFUSED = page(0.01, 429)


@pytest.mark.parametrize(
    "outcome",
    [REFUSED, page(0.01, 503), page(0.01, 403, retry_after="60"), page(0.01, 302, retry_after="1")],
    ids=["429", "503", "403 with Retry-After", "302 with Retry-After"],
)
def test_a_refusal_makes_it_fewer_and_later(outcome: Outcome) -> None:
    pace = heard(Throttle(8), outcome)
    assert (pace.width, pace.gap) == (4.0, 0.5)


def test_a_round_of_refusals_is_one_cut() -> None:
    throttle = Throttle(8)
    pace = heard(throttle, *[REFUSED] * 8)
    assert (pace.width, pace.gap) == (4.0, 0.5)
    heard(throttle, REFUSED, pace=pace)
    assert (pace.width, pace.gap) == (2.0, 1.0)
    heard(throttle, *[REFUSED] * 20, pace=pace)
    assert (pace.width, pace.gap) == (1.0, 60.0)


def test_a_host_slower_than_its_own_usual_gets_fewer() -> None:
    throttle = Throttle(8)
    pace = heard(throttle, *[page(0.2)] * 50)
    assert (pace.width, pace.gap) == (8.0, 0.0)
    heard(throttle, *[page(2.0)] * 40, pace=pace)
    assert pace.width == 1.0
    assert 0 < pace.gap <= 2.0


def test_a_host_that_always_was_slow_is_left_as_it_is() -> None:
    pace = heard(Throttle(8), *[page(5.0)] * 50)
    assert (pace.width, pace.gap) == (8.0, 0.0)


def test_slow_and_fast_pages_side_by_side_are_no_distress() -> None:
    pace = heard(Throttle(8), *[page(0.001), page(0.3)] * 200)
    assert (pace.width, pace.gap) == (8.0, 0.0)


def test_noise_on_a_fast_host_is_no_distress() -> None:
    throttle = Throttle(8)
    pace = heard(throttle, *[page(0.002)] * 50, *[page(0.09)] * 50)
    assert (pace.width, pace.gap) == (8.0, 0.0)


def test_a_target_stands_before_the_hosts_own_latency() -> None:
    throttle = Throttle(8, target_seconds=1.0)
    pace = heard(throttle, *[page(5.0)] * 50)
    assert pace.width == 1.0
    heard(throttle, *[page(0.9)] * 400, pace=pace)
    assert (pace.width, pace.gap) == (8.0, 0.0)


def test_a_fast_answer_is_good_whatever_came_before() -> None:
    pace = Pace(width=4.0, usual=0.2, recent=5.0, answers=100)
    heard(Throttle(8), page(0.2), pace=pace)
    assert pace.width > 4.0


def test_a_host_that_stays_slow_becomes_the_usual() -> None:
    throttle = Throttle(8)
    pace = heard(throttle, *[page(0.2)] * 20, *[page(2.0)] * 20)
    assert pace.width < 8
    heard(throttle, *[page(2.0)] * int(4 / LONG_SHARE), pace=pace)
    assert (pace.width, pace.gap) == (8.0, 0.0)


@pytest.mark.parametrize("phase", ["first_byte", "body"])
def test_a_timeout_while_it_labours_makes_it_fewer(phase: str) -> None:
    pace = heard(Throttle(8), failure(Kind.TIMEOUT, phase))
    assert (pace.width, pace.gap) == (4.0, 0.0)


NOT_HEARD = [failure(kind, "job") for kind in Kind] + [failure(Kind.TIMEOUT, "dns"), failure(Kind.TIMEOUT, "connect")]


@pytest.mark.parametrize("outcome", NOT_HEARD, ids=lambda outcome: f"{outcome.kind} {outcome.phase}")
def test_what_says_nothing_of_its_load_is_not_heard(outcome: Outcome) -> None:
    throttle = Throttle(8)
    pace, reference = heard(throttle, REFUSED), heard(throttle, REFUSED)
    assert heard(throttle, outcome, pace=pace) == reference


def test_a_broken_page_is_no_good_answer() -> None:
    throttle = Throttle(8)
    pace = heard(throttle, REFUSED, *[page(0.01, 500)] * 50)
    assert (pace.width, pace.gap) == (4.0, 0.5)


def test_the_width_comes_back_by_one_a_round() -> None:
    throttle = Throttle(8)
    pace = Pace(width=4.0)
    heard(throttle, *[page(0.1)] * 4, pace=pace)
    assert 4.8 < pace.width <= 5.0


def test_no_limit_is_narrowed_from_a_number() -> None:
    throttle = Throttle(0)
    assert throttle.fresh().width == UNLIMITED_WIDTH
    assert heard(throttle, REFUSED).width == UNLIMITED_WIDTH / 2


ANSWERS = st.one_of(
    st.builds(page, st.floats(0, 100), st.sampled_from([200, 302, 404, 429, 500, 503])),
    st.builds(failure, st.sampled_from(Kind), st.sampled_from([None, "dns", "first_byte", "body", "job"])),
)
THROTTLES = st.builds(
    Throttle,
    st.integers(0, 32),
    st.none() | st.floats(0.1, 10),
    st.floats(0, 100),
)


@given(THROTTLES, st.lists(ANSWERS, max_size=200))
def test_width_and_gap_stay_in_their_bounds_and_come_back(throttle: Throttle, outcomes: list[Outcome]) -> None:
    pace, most = throttle.fresh(), throttle.per_host or UNLIMITED_WIDTH
    for outcome in outcomes:
        throttle.heard(pace, outcome)
        assert 1 <= pace.width <= most
        assert 0 <= pace.gap <= throttle.most_gap
        assert 0 <= pace.echoes < most
    heard(throttle, *[page(0.01)] * (500 + most * most), pace=pace)
    assert (pace.width, pace.gap) == (most, 0.0)
