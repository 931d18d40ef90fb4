"""When the run of a job commits, and what: the output is synced, then one transaction says what of it counts.

Laws: the sink first, the journal after it; what was written after a sync is never called committed; after an error
nothing is committed any more, for nobody knows what of it is on the disk. What a run that is killed has fetched in
vain is what was written since the last commit, and what was under way: at most `OUTCOMES` and those of one round, or
`SECONDS` of work. A sink whose files count when they are complete (Parquet) is left to fill them, up to `MOST_WAITING`
outcomes or `LONGEST_SECONDS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from cormorant.frontier.job_lists import Position
from cormorant.frontier.job_state import OUTCOMES as OUTCOMES_NAME
from cormorant.frontier.job_state import SECONDS as SECONDS_NAME
from cormorant.frontier.job_store import Mail
from cormorant.frontier.journal import INPUT_ROWS
from cormorant.interfaces import Committed, DurableSink
from cormorant.jobs import INPUT_ENDED, SCHEDULER, Job
from cormorant.messages import Outcome, Result
from cormorant.tally import Tally

OUTCOMES = 1_000
ROWS = 5_000  # URLs found, which wait in memory until then
SECONDS = 1.0
MAIL_SECONDS = 0.25  # where another share waits for it
MOST_WAITING = 20_000
LONGEST_SECONDS = 300.0

Clock = Callable[[], float]


class Beside(Protocol):
    """A file beside the output that is to be cut back with it."""

    def sync(self) -> Committed:
        """Put everything written so far on stable storage, and say what there is."""
        ...


class Letters(Protocol):
    """What a share of a fleet says to others, and has heard of them: it is kept with what led to it."""

    @property
    def are_waiting(self) -> bool:
        """Whether a commit would change anything."""
        ...

    def sealed(self) -> tuple[Mail, Mapping[str, Any]]:
        """Return what this commit keeps, and the values of the book beside it."""
        ...

    def committed(self) -> None:
        """Hear that it is kept: now it may be sent, and what was heard be acknowledged."""
        ...


class Commits:
    """Commits for one run of `job`. `position` says behind which line of the input it stands.

    Without a sink (`save_to`) what was handed over counts as kept. It commits when `seconds` have passed.
    """

    def __init__(
        self,
        job: Job,
        counters: Callable[[], Mapping[str, Any]],
        position: Callable[[], Position],
        clock: Clock = time.monotonic,
        seconds: float = SECONDS,
    ) -> None:
        self._job, self._clock, self.seconds = job, clock, seconds
        self._sink: DurableSink | None = None
        self._beside: dict[str, Beside] = {}
        self._letters: Letters | None = None
        self._counters, self._position = counters, position
        self._handed_before, self._is_input_read = position().handed, False
        self.tally = msgspec.convert(job.counters(OUTCOMES_NAME), Tally, strict=False)
        self.seconds_before = job.seconds
        self._began_at = self._asked_at = self._committed_at = clock()
        self._waiting = self._asked_of = 0

    def save_to(self, sink: DurableSink | None) -> None:
        """Have each commit say what of `sink` counts."""
        self._sink = sink

    def keep_beside(self, name: str, file: Beside) -> None:
        """Have each commit say what of a further file counts, under `name` (`Job.beside`)."""
        self._beside[name] = file

    def keep_letters(self, letters: Letters) -> None:
        """Have each commit keep the mail of a share."""
        self._letters = letters

    def count(self, outcome: Outcome | Result) -> None:
        """Count an outcome that was written."""
        self.tally.count(outcome)
        self._waiting += 1

    @property
    def waiting(self) -> int:
        """How many outcomes were written and are not committed."""
        return self._waiting

    def after_round(self) -> float | None:
        """Commit if it is time; returns how soon it will be (seconds), None: when more has come."""
        rows, now = self._job.uncommitted_rows, self._clock()
        has_mail = self._letters is not None and self._letters.are_waiting
        if not self._waiting and not rows and not has_mail:
            return None
        seconds = min(MAIL_SECONDS, self.seconds) if has_mail else self.seconds
        is_time = now - self._asked_at >= seconds
        if is_time or self._waiting - self._asked_of >= OUTCOMES or rows >= ROWS:
            is_long = self._waiting >= MOST_WAITING or now - self._committed_at >= LONGEST_SECONDS
            self._commit(complete=is_long)
        return max(0.0, self._asked_at + seconds - self._clock())

    def last(self) -> None:
        """Commit all that was written, at the end."""
        self._commit(complete=True)

    def close(self) -> None:
        """Let go of the job. Safe to call twice."""
        self._job.close()

    def _commit(self, complete: bool) -> None:
        committed = Committed(()) if self._sink is None else self._sink.sync(complete)
        book: dict[str, Any] = {name: file.sync() for name, file in self._beside.items()}
        mail: Mail | None = None
        if self._letters is not None:
            mail, values = self._letters.sealed()
            book |= values
        counters, position = self._counters(), self._position()
        book[SCHEDULER] = counters
        if position.handed > self._handed_before and not self._is_input_read:
            book[INPUT_ROWS], self._is_input_read = self._job.rows, counters[INPUT_ENDED]
        if committed is None:
            self._job.commit(0, None, position, book, mail)
            self._asked_of = self._waiting
        else:
            now = self._clock()
            book |= {OUTCOMES_NAME: self.tally, SECONDS_NAME: self.seconds_before + now - self._began_at}
            self._job.commit(self._waiting, committed, position, book, mail)
            self._waiting = self._asked_of = 0
            self._committed_at = now
        self._asked_at = self._clock()
        if self._letters is not None:
            self._letters.committed()

    def __repr__(self) -> str:
        return f"<Commits of {self._job!r} waiting={self._waiting}>"
