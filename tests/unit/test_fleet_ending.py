"""The end of a fleet's crawl: found out in the end, and never while anybody has work or mail is on its way."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_fleet import Fleet, Tree

from cormorant.fleet.ending import Answer, Waves

STEPS = 40_000  # by far more than any of these crawls needs
IDLE = Answer(True, 0, 0)


def asked(waves: Waves, *answers: Answer) -> bool | None:
    """Ask a wave."""
    wave = waves.begin()
    for member, answer in enumerate(answers):
        waves.answer(wave, member, answer)
    return waves.is_over(range(len(answers)))


# --- the property ---


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    size=st.integers(1, 60),
    shards=st.integers(1, 8),
    members=st.integers(1, 4),
    kills=st.integers(0, 6),
)
def test_all_is_done_once_and_the_end_is_found_out_when_it_has_come(
    seed: int, size: int, shards: int, members: int, kills: int
) -> None:
    draw = random.Random(seed)
    fleet = Fleet(draw, Tree.grown(draw, size, shards), shards, members, kills)
    for _ in range(STEPS):
        fleet.step()
        if fleet.is_over:
            break
    assert fleet.is_over, "the end was never found out"
    assert fleet.left() == []
    assert fleet.done() == dict.fromkeys(range(size), 1)


# --- waves, one by one ---


def test_it_takes_two_waves_that_agree() -> None:
    waves = Waves()
    assert asked(waves, IDLE, IDLE) is False
    assert asked(waves, IDLE, IDLE) is True


def test_one_wave_may_meet_everyone_between_two_letters() -> None:
    """A (nothing sent yet) is asked, then sends work to B, gets some back; B is asked once idle: the sums agree."""
    waves = Waves()
    assert asked(waves, IDLE, Answer(True, 1, 1)) is False  # A is busy with B's letter by now
    assert asked(waves, Answer(False, 1, 1), Answer(True, 1, 1)) is False
    assert asked(waves, Answer(True, 1, 1), Answer(True, 1, 1)) is False  # idle again: begins anew
    assert asked(waves, Answer(True, 1, 1), Answer(True, 1, 1)) is True


def test_waves_agree_only_if_they_follow_each_other() -> None:
    waves = Waves()
    assert [asked(waves, one) for one in (IDLE, Answer(False, 0, 0), IDLE, IDLE)] == [False, False, False, True]


def test_waves_that_agree_in_sum_and_not_in_time_are_no_end() -> None:
    waves = Waves()
    assert asked(waves, Answer(True, 1, 1), IDLE) is False
    assert asked(waves, Answer(True, 2, 1), Answer(True, 0, 1)) is False


def test_mail_on_its_way_is_no_end_however_often_one_asks() -> None:
    waves = Waves()
    for _ in range(3):
        assert asked(waves, Answer(True, 5, 0), Answer(True, 0, 4)) is False


def test_a_wave_speaks_once_and_only_when_all_have_answered() -> None:
    waves = Waves()
    wave = waves.begin()
    waves.answer(wave, 0, IDLE)
    assert waves.is_over([0, 1]) is None
    waves.answer(wave, 1, IDLE)
    assert waves.is_over([0, 1]) is False
    assert waves.is_over([0, 1]) is None  # asked again it is no second wave


def test_an_answer_to_an_earlier_wave_is_ignored() -> None:
    waves = Waves()
    late = waves.begin()
    wave = waves.begin()
    waves.answer(late, 0, IDLE)
    assert waves.is_over([0]) is None
    waves.answer(wave, 0, IDLE)
    assert waves.is_over([0]) is False


def test_after_a_disturbance_all_are_asked_anew() -> None:
    waves = Waves()
    assert asked(waves, IDLE) is False
    waves.disturb()
    assert asked(waves, IDLE) is False
    assert asked(waves, IDLE) is True


def test_a_wave_under_way_is_lost_by_a_disturbance() -> None:
    waves = Waves()
    asked(waves, IDLE)
    wave = waves.begin()
    waves.disturb()
    waves.answer(wave, 0, IDLE)
    assert waves.is_over([0]) is None
