"""The breaker: opens after faults in a row, asks again one at a time, gives up; books only what is the host's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant.messages import Failure, Kind, Outcome, Page
from cormorant.policies.breaker import Breaker, Trust, is_host_fault

GOOD = Page(url="http://a.example/", status=200)
FAULT = Failure(url="http://a.example/", kind=Kind.CONNECT, message="refused")
OURS = Failure(url="http://a.example/", kind=Kind.LOCAL, message="no descriptors left")
NEVER_BOOKED = {"local", "cancelled", "callback", "worker_lost", "blocked", "bad_url"}


def opened(breaker: Breaker, now: float = 0.0) -> Trust:
    trust = breaker.fresh()
    for _ in range(breaker.limit):
        assert breaker.may_start(trust, 7, now)
        breaker.heard(trust, FAULT, now)
    return trust


def probe(breaker: Breaker, trust: Trust, outcome: Outcome) -> None:
    now = breaker.not_before(trust)
    assert breaker.may_start(trust, 0, now)
    breaker.heard(trust, outcome, now)


@pytest.mark.parametrize("kind", Kind)
def test_which_failures_are_booked(kind: Kind) -> None:
    expected = None if kind in NEVER_BOOKED else kind not in {"too_large", "redirect"}
    assert is_host_fault(Failure(url="u", kind=kind, message="")) is expected


@pytest.mark.parametrize(
    ("status", "fault"),
    [(200, False), (304, False), (404, False), (429, False), (500, True), (501, False), (503, True), (505, False)],
)
def test_which_statuses_are_faults(status: int, fault: bool) -> None:
    assert is_host_fault(Page(url="u", status=status)) is fault


def test_a_timeout_of_the_whole_job_is_not_the_hosts() -> None:
    late = Failure(url="u", kind=Kind.TIMEOUT, message="", phase="job")
    assert is_host_fault(late) is None
    assert is_host_fault(Failure(url="u", kind=Kind.TIMEOUT, message="", phase="body")) is True


def test_opens_after_the_limit_in_a_row() -> None:
    breaker = Breaker(limit=3, cool_seconds=30.0)
    trust = breaker.fresh()
    for outcome in (FAULT, FAULT, GOOD, FAULT, FAULT, OURS):
        breaker.heard(trust, outcome, 10.0)
        assert breaker.may_start(trust, 5, 10.0)
    breaker.heard(trust, FAULT, 10.0)
    assert not breaker.may_start(trust, 0, 39.9)
    assert breaker.not_before(trust) == 40.0
    assert trust.last_kind is Kind.CONNECT


def test_off_by_default() -> None:
    breaker = Breaker()
    trust = breaker.fresh()
    for _ in range(1000):
        breaker.heard(trust, FAULT, 0.0)
    assert breaker.may_start(trust, 1000, 0.0)
    assert breaker.given_up(trust) is None
    assert breaker.not_before(trust) == 0.0


def test_half_open_lets_one_probe_through_at_a_time() -> None:
    breaker = Breaker(limit=1)
    trust = opened(breaker)
    assert not breaker.may_start(trust, 1, 30.0)
    assert breaker.may_start(trust, 0, 30.0)
    assert not breaker.may_start(trust, 1, 30.0)


def test_a_good_probe_closes_it_and_all_is_forgotten() -> None:
    breaker = Breaker(limit=2)
    trust = opened(breaker)
    probe(breaker, trust, FAULT)
    probe(breaker, trust, GOOD)
    assert trust == Trust()
    assert breaker.may_start(trust, 7, 0.0)


def test_failed_probes_double_the_pause_and_end_it() -> None:
    breaker = Breaker(limit=20, cool_seconds=30.0, most_cool_seconds=100.0, probes=4)
    trust = opened(breaker)
    pauses = []
    for _ in range(3):
        before = breaker.not_before(trust)
        probe(breaker, trust, FAULT)
        pauses.append(breaker.not_before(trust) - before)
    assert pauses == [60.0, 100.0, 100.0]
    assert breaker.given_up(trust) is None
    probe(breaker, trust, FAULT)
    assert breaker.given_up(trust) == "host given up after 24 failures in a row, the last: connect: refused"
    assert breaker.not_before(trust) == math.inf
    assert not breaker.may_start(trust, 0, math.inf)
    breaker.heard(trust, GOOD, 1e9)
    assert breaker.given_up(trust)


def test_what_was_under_way_when_it_opened_is_no_probe() -> None:
    breaker = Breaker(limit=2, probes=1)
    trust = opened(breaker)
    for now in (1.0, 29.0, 31.0):
        breaker.heard(trust, FAULT, now)
    assert breaker.not_before(trust) == 30.0
    assert breaker.given_up(trust) is None
    probe(Breaker(limit=2, probes=2), trust, FAULT)
    breaker.heard(trust, FAULT, 31.0)  # nobody asked whether it might start
    assert trust.failed_probes == 1
    breaker.heard(trust, GOOD, 32.0)  # late as it is, it answers
    assert breaker.may_start(trust, 3, 32.0)


def test_a_probe_that_says_nothing_is_made_again() -> None:
    breaker = Breaker(limit=1, probes=1)
    trust = opened(breaker)
    probe(breaker, trust, OURS)
    assert breaker.given_up(trust) is None
    assert breaker.may_start(trust, 0, 30.0)
    probe(breaker, trust, FAULT)
    assert breaker.given_up(trust)


def test_without_probes_it_gives_up_at_once() -> None:
    breaker = Breaker(limit=1, probes=0)
    trust = breaker.fresh()
    breaker.heard(trust, Page(url="u", status=503), 0.0)
    assert breaker.given_up(trust) == "host given up after 1 failure, the last: status 503"


OUTCOMES = st.one_of(
    st.sampled_from([200, 404, 429, 500, 501, 503]).map(lambda status: Page(url="u", status=status)),
    st.sampled_from(Kind).map(lambda kind: Failure(url="u", kind=kind, message="m")),
)


@given(st.lists(st.tuples(OUTCOMES, st.floats(0, 100)), max_size=60), st.integers(1, 4), st.integers(0, 3))
def test_whatever_comes_home_its_promises_hold(steps: list[tuple[Outcome, float]], limit: int, probes: int) -> None:
    breaker = Breaker(limit=limit, cool_seconds=10.0, most_cool_seconds=35.0, probes=probes)
    trust, now, in_a_row = breaker.fresh(), 0.0, 0
    for outcome, passed in steps:
        now += passed
        if not breaker.may_start(trust, 0, now):
            assert now < breaker.not_before(trust)
            continue
        fault = is_host_fault(outcome)
        before = breaker.not_before(trust)
        breaker.heard(trust, outcome, now)
        in_a_row = in_a_row if fault is None else (in_a_row + 1) * fault
        assert trust.failures == in_a_row
        assert breaker.may_start(trust, 0, now) is (in_a_row < limit or fault is None)
        assert (
            breaker.not_before(trust) in (0.0, before, math.inf) or 9.999 <= breaker.not_before(trust) - now <= 35.001
        )
        assert (breaker.given_up(trust) is not None) is (in_a_row >= limit + probes)


@given(st.lists(st.sampled_from(sorted(NEVER_BOOKED)).map(Kind), max_size=40), st.integers(0, 5))
def test_what_is_ours_changes_nothing(kinds: list[Kind], faults: int) -> None:
    breaker = Breaker(limit=3)
    trust, reference = breaker.fresh(), breaker.fresh()
    for _ in range(faults):
        breaker.heard(trust, FAULT, 0.0)
        breaker.heard(reference, FAULT, 0.0)
    for kind in kinds:
        breaker.heard(trust, Failure(url="u", kind=kind, message=""), 50.0)
    assert trust == reference
