"""The measures as pure functions of what a trial's process found."""

from __future__ import annotations

import pytest

from cormorant.lab.comparison import Phases, Trial
from cormorant.lab.measures import MOST_ROWS, last_good_at, phases_of, quantile, times_of, trial_of
from cormorant.lab.meters import Sample, Usage, busiest
from cormorant.lab.observing import JobTimes, Span, Times
from cormorant.lab.trial import Raw, Row
from cormorant.lab.waiting import longest_wait


def row(
    name: str, began: float | None, ended: float | None, handed_over: float, end: str = "ok", own: float = 0.1
) -> Row:
    return Row(name, end, began, began, ended, handed_over, (0.0, 0.01, 0.0, 0.02, 0.01), own)


# Two good pages, a hung one from 0.3 to 1.3, a good one after it, a 404, and a line that was no URL.
ROWS = [
    row("a", 0.0, 0.1, 0.11),
    row("b", 0.1, 0.2, 0.22),
    row("bad", None, None, 0.25, "bad_url"),
    row("hung", 0.3, 1.3, 1.3, "timeout"),
    row("c", 1.3, 1.4, 1.42),
    row("gone", 1.4, 1.5, 1.5, "http_error"),
]
BEFORE = Sample(0.0, 1000, 800, 1, 1, 5)


def raw(**changes: object) -> Raw:
    facts: dict[str, object] = {
        "width": 2,
        "loop": "epoll",
        "startup_seconds": 0.3,
        "began": 100.0,
        "ended": 102.0,
        "usage": Usage(0.4, 0.2, 30, 4),
        "before": BEFORE,
        "after": BEFORE,
        "rows": ROWS,
        "most_in_flight": 2,
        "loop_rounds": 10,
        "ready": 15,
    }
    return Raw(**{**facts, **changes})  # type: ignore[arg-type]


def made(found: Raw, peak: Sample, keep_phases: bool = False) -> Trial:
    return trial_of(
        found,
        peak,
        engine="greenlet",
        repeat=1,
        keep_phases=keep_phases,
        cores=0.5,
    )


def test_counts_account_for_every_job() -> None:
    trial = made(raw(), BEFORE)
    assert (trial.jobs, trial.ok, trial.http_errors, trial.failed) == (6, 3, 1, {"bad_url": 1, "timeout": 1})
    assert trial.jobs == trial.ok + trial.http_errors + sum(trial.failed.values())


def test_cost_is_of_the_whole_tree_and_for_each_job() -> None:
    trial = made(raw(), Sample(1.0, 5000, 3800, 9, 3, 40))
    assert trial.cpu_seconds == pytest.approx(0.6)
    assert trial.cpu_seconds_per_page == pytest.approx(0.1)
    assert (trial.cpu_user_seconds, trial.cpu_system_seconds) == (0.4, 0.2)
    assert (trial.context_switches_voluntary, trial.context_switches_involuntary) == (30, 4)
    assert trial.most_in_flight == 2
    assert (trial.threads, trial.processes, trial.descriptors) == (9, 3, 40)
    assert trial.bytes_per_page_in_flight == (3800 - 800) / 2
    assert trial.ready_per_round == 1.5
    assert trial.wall_seconds == 2.0


def test_memory_a_page_is_of_pages_really_in_flight() -> None:
    """Sixteen may be under way, one ever was."""
    trial = made(raw(width=16, most_in_flight=1), Sample(1.0, 5000, 3800, 9, 3, 40))
    assert (trial.concurrency, trial.most_in_flight, trial.bytes_per_page_in_flight) == (16, 1, 3000)
    assert made(raw(most_in_flight=0, rows=[]), BEFORE).bytes_per_page_in_flight is None


def test_without_pss_the_resident_size_serves() -> None:
    trial = made(raw(before=BEFORE._replace(pss_bytes=None)), Sample(1.0, 5000, None, 9, 3, 40))
    assert trial.peak_pss_bytes is None
    assert trial.bytes_per_page_in_flight == (5000 - 1000) / 2


def test_what_no_loop_told_is_none_and_not_zero() -> None:
    trial = made(raw(loop_rounds=None, ready=None), BEFORE)
    assert trial.loop_rounds is None
    assert trial.ready_per_round is None


def test_throughput_is_of_good_pages_until_the_last_of_them() -> None:
    times = times_of(ROWS)
    assert times["pages_per_second"] == pytest.approx(3 / 1.42)
    assert (times["first_seconds"], times["half_seconds"], times["last_seconds"]) == (0.11, 0.22, 1.42)


def test_latency_and_lag_are_of_the_job() -> None:
    times = times_of(ROWS)
    assert times["latency_p50_seconds"] == pytest.approx(0.1)
    assert times["hand_over_p50_seconds"] == pytest.approx(0.01)
    assert times["hand_over_p99_seconds"] == pytest.approx(0.02)


def test_a_wait_behind_a_hung_page_is_less_the_next_pages_own_time() -> None:
    assert times_of(ROWS)["waited_behind_hung_seconds"] == pytest.approx(1.0)
    assert times_of([each for each in ROWS if each.end == "ok"])["waited_behind_hung_seconds"] is None


def test_a_timeout_that_was_short_is_waited_for_only_that_long() -> None:
    """What is left of the time after a redirect, or the second attempt of a host that was slow to connect."""
    rows = [row("a", 0.0, 0.1, 0.1), row("hung", 0.9, 1.3, 1.3, "timeout"), row("b", 1.3, 1.4, 1.4)]
    assert times_of(rows)["waited_behind_hung_seconds"] == pytest.approx(0.4)


def killed(at: float, ended: float) -> Row:
    return Row("killed", "timeout", at, None, None, ended, (0.0,) * 5, 0.0)


def test_a_job_ended_from_outside_hung_since_it_was_let_go() -> None:
    rows = [row("a", 0.0, 0.1, 0.1), killed(0.2, 1.3), row("b", 1.3, 1.4, 1.4)]
    assert times_of(rows)["waited_behind_hung_seconds"] == pytest.approx(1.1)


def test_nothing_good_gives_no_times() -> None:
    assert times_of([row("x", 0.0, 1.0, 1.0, "timeout")]) == {}
    assert made(raw(rows=[]), BEFORE).pages_per_second is None


def test_overlapping_hung_pages_count_once() -> None:
    assert longest_wait([(0.5, 0.0), (3.0, 0.5)], [(0.0, 1.0), (0.5, 1.5), (2.0, 2.2)]) == pytest.approx(1.2)
    assert longest_wait([], [(0.0, 1.0)]) == 0.0


@pytest.mark.parametrize(
    ("share", "value"), [(0.01, 1.0), (0.5, 5.0), (0.9, 9.0), (0.91, 10.0), (0.99, 10.0), (1.0, 10.0)]
)
def test_quantiles_are_nearest_ranks(share: float, value: float) -> None:
    assert quantile([float(number) for number in range(1, 11)], share) == value


def test_phases_are_columns_in_the_order_of_the_beginnings() -> None:
    phases = made(raw(), BEFORE, keep_phases=True).phases
    assert isinstance(phases, Phases)
    assert phases.url == ["a", "b", "hung", "c", "gone"]
    assert phases.began_at == [0.0, 0.1, 0.3, 1.3, 1.4]
    assert {len(getattr(phases, name)) for name in Phases.__struct_fields__} == {5}
    assert phases_of([]) == Phases()


def test_the_first_to_begin_are_kept_and_not_the_first_to_end() -> None:
    """A page that hangs at the head of a long list is what the waterfall is about."""
    quick = [row(f"p{number}", number / 1000, number / 1000, number / 1000) for number in range(1, 700)]
    phases = phases_of([*quick, row("hung", 0.0, 9.0, 9.0, "timeout"), killed(0.0005, 9.1)])
    assert phases.url[:2] == ["hung", "killed"]
    assert len(phases.url) == MOST_ROWS
    assert (phases.began_at[1], phases.ended_at[1], phases.handed_over_at[1]) == (0.0005, 9.1, 9.1)


def times(ticket: int, released: float, span: tuple[float, float] | None, settled: float) -> Times:
    return Times(ticket, None, released, Span(*span, 1, 1) if span else None, settled)


def test_jobs_under_way_at_once_are_counted_where_they_ran() -> None:
    observer = JobTimes()
    observer.jobs = {
        0: times(0, 0.0, (0.0, 1.0), 3.0),  # back, and not yet at home when the next began
        1: times(1, 0.0, (1.0, 2.0), 3.0),
        2: times(2, 0.0, (1.5, 2.5), 3.0),
        3: times(3, 1.6, None, 2.6),  # killed
    }
    assert observer.most_at_once() == 3
    assert JobTimes().most_at_once() == 0


def test_the_busiest_stretch_is_neither_a_moment_nor_the_whole() -> None:
    idle_end = [(0.02 * step, min(0.02 * step, 0.3)) for step in range(100)]  # busy for 0.3 s, then nothing
    assert busiest(idle_end, 0.25) == pytest.approx(1.0)
    moment = [(0.02 * step, 0.02 if step > 50 else 0.0) for step in range(100)]
    assert busiest(moment, 0.1) == pytest.approx(0.2)
    assert busiest([(0.0, 0.0), (0.05, 0.04)], 0.1) == pytest.approx(0.8)
    assert busiest([(0.0, 0.0)], 0.1) is None


def test_the_last_good_page_ends_what_the_origin_is_measured_over() -> None:
    assert last_good_at(raw()) == pytest.approx(101.42)
    assert last_good_at(raw(rows=[])) == 102.0
