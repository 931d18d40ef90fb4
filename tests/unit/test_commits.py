"""When a run commits and what, on a clock moved by hand, over a job and a sink that note what they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from cormorant.commits import LONGEST_SECONDS, MOST_WAITING, OUTCOMES, ROWS, SECONDS, Commits
from cormorant.errors import OutputError
from cormorant.frontier.job_lists import Position
from cormorant.frontier.job_state import OUTCOMES as TALLY
from cormorant.frontier.job_state import SECONDS as TIME
from cormorant.interfaces import Committed, Part
from cormorant.jobs import SCHEDULER
from cormorant.messages import Failure, Kind, Page

PAGE = Page(url="http://a.example/", status=200)
LATE = Failure(url="http://a.example/", kind=Kind.TIMEOUT, message="late")


class Scene:
    """A job and a sink. `log` holds what was asked of them, in order; `syncs` False: the sink answers None."""

    def __init__(self) -> None:
        self.now = 100.0
        self.log: list[Any] = []
        self.counted: dict[str, Any] = {}
        self.uncommitted_rows = 0
        self.seconds = 7.0
        self.syncs = True
        self.lines_read = 0
        self.trouble: str | None = None

    # the job

    def counters(self, name: str) -> dict[str, Any]:
        return self.counted if name == TALLY else {}

    def commit(
        self,
        written: int,
        committed: Committed | None,
        position: Position,
        book: Mapping[str, Any],
        mail: object = None,
    ) -> None:
        self.log.append(("commit", written, committed is not None, position.line, dict(book)))
        if self.trouble == "commit":
            raise OutputError("the journal is full")
        self.uncommitted_rows = 0

    def close(self) -> None:
        self.log.append("close")

    # the sink

    def sync(self, complete: bool = False) -> Committed | None:
        self.log.append(("sync", complete))
        if self.trouble == "sync":
            raise OutputError("the disk is full")
        return Committed((Part("out", 1, False),)) if self.syncs or complete else None

    def begin(self) -> Commits:
        made = Commits(
            self,  # type: ignore[arg-type]
            lambda: {"offered": self.lines_read},
            lambda: Position(line=self.lines_read),
            lambda: self.now,
        )
        made.save_to(self)  # type: ignore[arg-type]
        return made

    def commits(self) -> list[tuple[int, bool]]:
        """Return (outcomes that count, whether the sink had synced) of each commit."""
        return [(entry[1], entry[2]) for entry in self.log if entry[0] == "commit"]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def count(one: Commits, number: int) -> None:
    for _ in range(number):
        one.count(PAGE)


# --- when ---


def test_where_nothing_has_come_nothing_is_committed(scene: Scene) -> None:
    one = scene.begin()
    scene.now += 1_000.0
    assert one.after_round() is None
    assert scene.log == []


def test_the_first_outcomes_are_committed_within_a_second(scene: Scene) -> None:
    one = scene.begin()
    count(one, 1)
    scene.now += 0.25
    assert one.after_round() == SECONDS - 0.25
    assert scene.log == []
    scene.now += SECONDS - 0.25
    assert one.after_round() == SECONDS  # until the next
    assert scene.commits() == [(1, True)]
    assert one.after_round() is None  # there is nothing more
    count(one, 2)
    scene.now += SECONDS / 2
    assert one.after_round() == SECONDS / 2
    scene.now += SECONDS / 2
    one.after_round()
    assert scene.commits() == [(1, True), (2, True)]


def test_many_outcomes_are_committed_at_once(scene: Scene) -> None:
    one = scene.begin()
    count(one, OUTCOMES - 1)
    one.after_round()
    assert scene.commits() == []
    count(one, 1)
    one.after_round()
    count(one, OUTCOMES - 1)
    one.after_round()
    assert scene.commits() == [(OUTCOMES, True)]


def test_many_urls_found_are_committed_at_once_and_few_within_a_second(scene: Scene) -> None:
    one = scene.begin()
    scene.uncommitted_rows = ROWS - 1
    assert one.after_round() == SECONDS
    assert scene.commits() == []
    scene.uncommitted_rows = ROWS
    one.after_round()
    assert scene.commits() == [(0, True)]
    scene.uncommitted_rows = 1
    scene.now += SECONDS
    one.after_round()
    assert scene.commits() == [(0, True), (0, True)]


# --- what ---


def test_the_sink_comes_first_then_what_lies_beside_it_then_the_journal(scene: Scene) -> None:
    one = scene.begin()

    class Beside:
        def sync(self) -> Committed:
            scene.log.append("beside")
            return Committed((Part("skipped", 3, False),))

    one.keep_beside("report", Beside())
    scene.lines_read = 5
    one.count(PAGE)
    one.count(LATE)
    scene.now += 2.0
    one.after_round()
    sync, beside, (_, written, _, line, book) = scene.log
    assert (sync, beside, written, line) == (("sync", False), "beside", 2, 5)
    assert book["report"] == Committed((Part("skipped", 3, False),))
    assert book[SCHEDULER] == {"offered": 5}
    assert (book[TALLY].ok, book[TALLY].failed) == (1, {"timeout": 1})
    assert book[TIME] == 7.0 + 2.0


def test_counters_and_time_go_on(scene: Scene) -> None:
    scene.counted = {"ok": 3, "http_errors": 1, "failed": {"dns": 2}, "statuses": {"200": 3, "404": 1}, "bytes": 9}
    one = scene.begin()
    one.count(PAGE)
    one.count(LATE)
    tally = one.tally
    assert (tally.ok, tally.http_errors, tally.failed, tally.done) == (4, 1, {"dns": 2, "timeout": 1}, 8)
    assert (tally.statuses, one.seconds_before) == ({200: 4, 404: 1}, 7.0)


def test_without_a_sink_what_was_handed_over_counts(scene: Scene) -> None:
    one = scene.begin()
    one.save_to(None)
    count(one, 3)
    one.last()
    assert scene.commits() == [(3, True)]
    assert scene.log[0][0] == "commit"


def test_the_last_commit_completes_the_output(scene: Scene) -> None:
    one = scene.begin()
    scene.syncs = False
    count(one, 3)
    one.last()
    assert scene.log[0] == ("sync", True)
    assert scene.commits() == [(3, True)]
    one.close()
    assert scene.log[-1] == "close"


# --- a sink whose files count when they are complete ---


def test_outcomes_wait_for_a_sink_that_has_synced_nothing_yet(scene: Scene) -> None:
    """What was found and the position are kept meanwhile; outcomes, their counters and the time are not."""
    one = scene.begin()
    scene.syncs = False
    count(one, 3)
    scene.now += SECONDS
    one.after_round()
    (_, written, _, _, book) = scene.log[-1]
    assert written == 0
    assert set(book) == {SCHEDULER}
    scene.syncs = True
    count(one, 2)
    scene.now += SECONDS
    one.after_round()
    assert scene.commits() == [(0, False), (5, True)]
    assert scene.log[-1][-1][TALLY].ok == 5


def test_such_a_sink_is_not_asked_for_each_outcome(scene: Scene) -> None:
    one = scene.begin()
    scene.syncs = False
    for _ in range(4):
        count(one, OUTCOMES // 2)
        one.after_round()
    assert scene.commits() == [(0, False)] * 2


def test_such_a_sink_completes_its_file_when_too_many_wait(scene: Scene) -> None:
    one = scene.begin()
    scene.syncs = False
    count(one, MOST_WAITING - 1)
    one.after_round()
    count(one, OUTCOMES)
    one.after_round()
    assert [entry[1] for entry in scene.log if entry[0] == "sync"] == [False, True]
    assert scene.commits() == [(0, False), (MOST_WAITING - 1 + OUTCOMES, True)]


def test_such_a_sink_completes_its_file_when_it_takes_too_long(scene: Scene) -> None:
    one = scene.begin()
    scene.syncs = False
    asked = []
    for _ in range(int(LONGEST_SECONDS) + 5):
        count(one, 1)
        scene.now += SECONDS
        one.after_round()
        asked.append(scene.log[-2])
    assert asked.index(("sync", True)) == LONGEST_SECONDS - 1
    assert asked.count(("sync", True)) == 1  # and then it counts from there


# --- errors ---


@pytest.mark.parametrize("trouble", ["sync", "commit"])
def test_an_error_is_told_and_nothing_is_called_committed(scene: Scene, trouble: str) -> None:
    one = scene.begin()
    count(one, 3)
    scene.trouble = trouble
    scene.now += SECONDS
    with pytest.raises(OutputError):
        one.after_round()
    assert len(scene.commits()) == (trouble == "commit")
    assert repr(one).endswith("waiting=3>")


def test_a_pace_that_bounds_what_a_kill_costs() -> None:
    """The figures that `docs/` promises."""
    assert (OUTCOMES, SECONDS) == (1_000, 1.0)
    assert (MOST_WAITING, LONGEST_SECONDS) == (20_000, 300.0)
