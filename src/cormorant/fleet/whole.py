"""The books of a fleet's whole run: its clock, how far the list was read, the sums, and what is made of the parts.

What was found, fetched and written is in the shards' own books (`share.py`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from types import MappingProxyType
from typing import Any

import msgspec

from cormorant.fleet import words
from cormorant.fleet.feed import Feed
from cormorant.fleet.merging import merge, remove_parts
from cormorant.fleet.plan import Plan
from cormorant.frontier.job_state import SECONDS
from cormorant.interfaces import Committed
from cormorant.jobs import COUNTS, DEALT, FINISHED, INPUT_ENDED, MERGED, SCHEDULER, Job
from cormorant.worker import Statistics

TABLES = ("failed", "statuses", "left_out")


class Whole:
    """The books of one run. `job`: they are kept there, and those of the runs before are gone on with."""

    def __init__(self, plan: Plan, feed: Feed, job: Job | None) -> None:
        self._plan, self._feed, self._job = plan, feed, job
        self._seconds_before = 0.0 if job is None else job.seconds
        self._began_at: float | None = None
        self._ended_at: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the clock was started."""
        return self._began_at is not None

    def begin(self) -> None:
        """Start the clock."""
        self._began_at = time.monotonic()

    def end(self) -> None:
        """Stop the clock."""
        self._ended_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long all runs took so far."""
        if self._began_at is None:
            return self._seconds_before
        return self._seconds_before + (self._ended_at or time.monotonic()) - self._began_at

    def commit(self) -> None:
        """Keep how far the list was read and committed."""
        if self._job is None:
            return
        if self._feed.behind is None:
            self._job.remember({SECONDS: self.seconds})
            return
        position, counts = self._feed.behind
        book = {
            DEALT: {str(shard): count for shard, count in counts.items()},
            SCHEDULER: {INPUT_ENDED: self._feed.is_done},
            SECONDS: self.seconds,
        }
        self._job.commit(0, Committed(()), position, book)

    def finish(self, reports: Collection[words.Report]) -> None:
        """Put the parts together where that is wanted, and note that nothing is left."""
        plan = self._plan
        if plan.merges and plan.target is not None:
            merge(plan.target, plan.format, plan.rotate_bytes)
        if self._job is not None:
            counts = [report.counts for report in reports]
            self._job.remember({FINISHED: True, MERGED: plan.merges, COUNTS: counts})
        if plan.merges and plan.target is not None:
            remove_parts(plan.target)

    def found_done(self) -> list[words.Report]:
        """Return the counts of a job whose parts were put together, and remove those that a kill has left."""
        assert self._job is not None
        counts = msgspec.convert(self._job.value(COUNTS, []), list[words.Counts], strict=False)
        if self._plan.target is not None:
            remove_parts(self._plan.target)
        return [words.Report(counts=one, lines=self._feed.lines) for one in counts]

    def statistics(self, reports: Collection[words.Report], stopped: bool) -> Statistics:
        """Add up what the workers have said."""
        sums: dict[str, Any] = {}
        for name in words.Counts.__struct_fields__:
            values = [getattr(report.counts, name) for report in reports]
            sums[name] = MappingProxyType(dict(sum(map(Counter, values), Counter()))) if name in TABLES else sum(values)
        lines = self._feed.lines - sum(report.lines for report in reports)
        mail = sum(report.sent - report.received for report in reports)
        sums["offered"] += max(0, lines) + max(0, mail)  # what is on its way to shards
        return Statistics(
            **sums,
            not_reached=sums["offered"] - sums["duplicates"] - sum(sums["left_out"].values()) - sums["done"],
            seconds=self.seconds,
            stopped=stopped,
            input_ended=self._feed.has_ended,
        )
