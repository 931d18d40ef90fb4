"""One shard in the hands of its owner: its journal, its scheduler, its mail, its part of the output."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from cormorant.commits import SECONDS, Commits
from cormorant.fleet.mail import LIST, Batch, Inbox, Outbox
from cormorant.fleet.shards import Split
from cormorant.frontier.job_lists import Position
from cormorant.frontier.job_state import HEARD, MAILED
from cormorant.frontier.job_store import Mail
from cormorant.interfaces import DurableSink, Entry, Frontier, Neighbours
from cormorant.jobs import SCHEDULER, Job
from cormorant.messages import HandedOver, HopOver, HostOver, LineOver, LinkOver, Outcome
from cormorant.scheduler.fetch import FetchScheduler

if TYPE_CHECKING:
    from cormorant.fleet.snapshots import Snapshots

REST_SECONDS = 2.0  # so that a file is not completed for every pause
BRIEF_SECONDS = 0.2  # between commits that wait for no disk

MakeScheduler = Callable[[Iterator[Entry | None], Frontier, Neighbours], FetchScheduler]


class LinesHere(Iterator[Entry | None]):
    """The lines of input that have come for a shard; None while there may be more. `taken` counts those read."""

    def __init__(self, taken: int) -> None:
        self._waiting: deque[LineOver] = deque()
        self.taken = taken
        self.total: int | None = None

    def put(self, line: LineOver) -> None:
        """Take a line that has come."""
        self._waiting.append(line)

    def __next__(self) -> Entry | None:
        """Return the next line."""
        if self._waiting:
            line = self._waiting.popleft()
            self.taken += 1
            return line.text.decode("utf-8", "surrogatepass"), line.number
        if self.total is not None and self.taken >= self.total:
            raise StopIteration
        return None

    def __len__(self) -> int:
        return len(self._waiting)


class Share:
    """A shard that this process owns. `output` is the sink of its part, None where outcomes go to the driver alone.

    `snapshots` is what commits it where journal and parts lie in a store; None: `commits` does by itself.
    """

    def __init__(self, number: int, job: Job, split: Split, make: MakeScheduler, frontier: Frontier) -> None:
        self.number, self.job, self._split = number, job, split
        self.lines = LinesHere(job.position.handed)
        self._kept_lines = self.lines.taken
        self._list = Inbox({LIST: self.lines.taken})
        self.inbox = Inbox({int(source): next_ for source, next_ in job.counters(HEARD).items()})
        numbers = {int(dest): next_ for dest, next_ in job.counters(MAILED).items()}
        self.outbox = Outbox(
            number, numbers, [msgspec.msgpack.decode(items, type=Batch) for _, _, items in job.outbox()]
        )
        self.scheduler = make(self.lines, frontier, self)
        assert job.journal is not None
        now = time.monotonic()
        self.scheduler.go_on(job.journal, job.counters(SCHEDULER), now, time.time(), job.is_first)
        seconds = SECONDS if job.is_lasting else BRIEF_SECONDS
        self.commits = Commits(job, self.scheduler.counters, self._position, seconds=seconds)
        self.output: DurableSink | None = None
        self.snapshots: Snapshots | None = None
        self.to_driver: list[Outcome] = []  # not sent yet
        self.to_say: list[Batch] = []
        self.to_acknowledge: list[tuple[int, int]] = []
        self.has_committed = False
        self.is_finished = False
        self.due = now
        self._rests_since = now
        self._early: list[Batch] = []  # mail that came before all seeds were read

    def _position(self) -> Position:
        return Position(handed=self.lines.taken)

    def save_to(self, sink: DurableSink | None) -> None:
        """Write the shard's outcomes to a sink of its own."""
        self.output = sink
        self.commits.save_to(sink)
        if sink is not None:
            self.commits.seconds = SECONDS  # a sync waits for the disk in any case

    # --- Neighbours ---

    def owns(self, url: str) -> bool:
        """Return whether the host of `url` is this shard's own."""
        return self._split.of(url) == self.number

    def owns_address(self, address: str) -> bool:
        """Return whether hosts at `address` are this shard's own."""
        return self._split.of_address(address) == self.number

    def hand_over(self, item: HandedOver) -> None:
        """Have an item travel to the shard that owns its host, or the address of that."""
        self.outbox.put(destination(item, self._split), item)

    # --- mail ---

    def take(self, batch: Batch) -> None:
        """Take what came from another shard, or from the list."""
        if batch.source == LIST:
            lines = self._list.take(batch)
            for line in lines:
                if isinstance(line, LineOver):
                    self.lines.put(line)
            if not lines:
                self.to_acknowledge.append((LIST, self._kept_lines))
        elif self._early or not self.scheduler.may_take_in:  # in order: a gap is never filled
            self._early.append(batch)
        else:
            for item in self.inbox.take(batch):
                if not isinstance(item, LineOver):
                    self.scheduler.take_in(item)
            self.to_acknowledge += self.inbox.repeated()

    def take_early(self) -> bool:
        """Take the mail that had to wait for the seeds, if they are all read; returns whether there was any."""
        if not self._early or not self.scheduler.may_take_in:
            return False
        early, self._early = self._early, []
        for batch in early:
            self.take(batch)
        return True

    # --- commits.Letters ---

    @property
    def are_waiting(self) -> bool:
        """Whether a commit would let mail go, or acknowledge some."""
        return self.outbox.has_new or self.inbox.has_new or self.lines.taken > self._kept_lines

    def sealed(self) -> tuple[Mail, Mapping[str, Any]]:
        """Return what the commit keeps of the mail."""
        new, done = self.outbox.sealed()
        mail = Mail(
            [(one.dest, one.first, msgspec.msgpack.encode(one)) for one in new],
            [(one.dest, one.first) for one in done],
        )
        heard = {str(source): number for source, number in self.inbox.heard.items()}
        return mail, {MAILED: {str(dest): number for dest, number in self.outbox.numbers.items()}, HEARD: heard}

    def committed(self) -> None:
        """Let go what is kept."""
        self.to_say += self.outbox.committed()
        self.to_acknowledge += self.inbox.committed()
        if self.lines.taken > self._kept_lines:
            self._kept_lines = self.lines.taken
            self.to_acknowledge.append((LIST, self._kept_lines))
        self.has_committed = True

    # --- commits ---

    def commit_due(self, now: float, worker_is_idle: bool) -> None:
        """Commit if it is time; where the shard lies in a store, publish it."""
        if self.snapshots is not None:
            self.snapshots.after_round(worker_is_idle)
        else:
            self.commits.after_round()
            self._complete(now)

    def commit_rest(self) -> None:
        """Commit, or publish, all that was written, at the end."""
        if self.snapshots is not None:
            self.snapshots.publish_rest()
        else:
            self.commits.last()

    def _complete(self, now: float) -> None:
        """Commit what a sink keeps until its file is complete, once nothing more has come for a while."""
        if not self.is_finished or not self.commits.waiting:
            self._rests_since = now
        elif now - self._rests_since >= REST_SECONDS:
            self.commits.last()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be done here, and nothing that was done is known to nobody else."""
        return (
            self.is_finished
            and not self._early
            and not self.to_driver
            and not self.to_say
            and not self.commits.waiting
            and not self.job.uncommitted_rows
            and not self.are_waiting
            and self.outbox.is_empty
        )

    def close(self) -> None:
        """Close the output and let go of the journal."""
        try:
            if self.output is not None:
                self.output.close()
        finally:
            self.job.close()
            if self.snapshots is not None:
                self.snapshots.remove()


def destination(item: HandedOver, split: Split) -> int:
    """Return the shard that an item is for."""
    if isinstance(item, HostOver):
        return split.of_address(item.address)
    if isinstance(item, HopOver):
        return split.of(item.request.target)
    return split.of(item.lead.url if isinstance(item, LinkOver) else item.url)
