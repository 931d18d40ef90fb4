"""The inside of a worker: `cormorant.worker.Worker` over the shards it owns, and its talk with the driver.

Everything happens in the worker's one loop, after each of its rounds (`Talk.after_round`): mail is taken in, outcomes
are handed on, commits are made, and what they let go is said. Only the beat that says "I am alive" has a thread. A
driver that is not heard for `HOLD_SECONDS` may have given our shards to somebody else: nothing new is started then,
and after `LEAVE_SECONDS` the process ends.
"""

from __future__ import annotations

import inspect
import os
import pickle
import time
import traceback
from _thread import start_new_thread
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cormorant import engines
from cormorant.errors import CormorantError, OutputError
from cormorant.fleet import files, words
from cormorant.fleet import plan as plans
from cormorant.fleet.budget import Allowance, Standing
from cormorant.fleet.marks import Marks
from cormorant.fleet.plan import Plan
from cormorant.fleet.shards import Split
from cormorant.fleet.share import Share
from cormorant.fleet.shares import Shares, size_of
from cormorant.fleet.snapshots import Pace, Snapshots
from cormorant.frontier.job_lock import Locked
from cormorant.frontier.job_store import Mail
from cormorant.interfaces import Post
from cormorant.jobs import Job
from cormorant.messages import Page
from cormorant.opening import open_worker
from cormorant.sinks.naming import of_shard
from cormorant.worker import Statistics, Worker

BEAT_SECONDS = 1.0
REPORT_SECONDS = 0.2
LOOK_SECONDS = 0.02  # how long mail lies unseen where nothing else happens
HOLD_SECONDS = 10.0
LEAVE_SECONDS = 15.0
LOCKED_SECONDS = 20.0  # more than LEAVE_SECONDS
CREDIT_OUTCOMES, CREDIT_BYTES = 4_000, 32 * 1024 * 1024
AT_ONCE_OUTCOMES, AT_ONCE_BYTES = 256, 4 * 1024 * 1024


def run(post: Post, told: bytes, marks_path: Any) -> None:
    """Be a worker until the driver says that it is over. Errors are told, then the function returns."""
    try:
        Talk(post, plans.unpickled(told), marks_path).run()
    except CormorantError as error:
        post.send(words.encode([words.Trouble.of(error)]))
    except BaseException:
        post.send(words.encode([words.Trouble("", traceback.format_exc())]))


def travelling(parse: Callable[[Page], Any]) -> Callable[[Page], Any]:
    """Return a parse function that raises TypeError for a result that cannot travel to the driver."""

    def checked(result: Any) -> Any:
        try:
            pickle.dumps(result, protocol=5)
        except Exception as error:
            raise TypeError(f"the result cannot travel between processes: {error}") from error
        return result

    if inspect.iscoroutinefunction(parse):

        async def awaited(page: Page) -> Any:
            return checked(await parse(page))

        return awaited

    def plain(page: Page) -> Any:
        return checked(parse(page))

    return plain


class Leaving(GeneratorExit):
    """The driver wants us gone at once. Ends the worker's run as closing its generator would."""


class Delivered:
    """The letters of a share (`commits.Letters`), sealed only when what was sent before may be committed."""

    def __init__(self, share: Share, deliver: Callable[[], None]) -> None:
        self._share, self._deliver = share, deliver

    @property
    def are_waiting(self) -> bool:
        """Whether a commit would change anything."""
        return self._share.are_waiting

    def sealed(self) -> tuple[Mail, Mapping[str, Any]]:
        """Wait until it may be; return what the commit keeps of the mail."""
        self._deliver()
        return self._share.sealed()

    def committed(self) -> None:
        """Let go what is kept."""
        self._share.committed()


class Talk:
    """One worker's part of the run."""

    def __init__(self, post: Post, plan: Plan, marks_path: Any) -> None:
        self._post, self._plan = post, plan
        files.make_room(plan.shards)  # a worker may come to own all
        self._station = station = plan.station()
        marks = Marks(marks_path, engines.width(station.engine, station.options.concurrency))
        if station.parse is not None:
            station.parse = marks.watched(travelling(station.parse) if plan.streams else station.parse)
        self._allowance = Allowance() if plan.max_pages is not None else None
        self._shares = Shares(marks, plan.streams, self._allowance)
        self._split = Split(plan.split, plan.shards)
        self._pace = Pace(plan.publish_seconds)
        self._worker: Worker = open_worker(station, self._shares).save_to(self._shares).commit_by(self)
        self._credit, self._credit_bytes = CREDIT_OUTCOMES, CREDIT_BYTES
        self._reported_at = 0.0
        self._wave = 0
        self._is_leaving = False
        self._report: words.Report | None = None
        self._unsaid: list[words.FromWorker] = []

    def run(self) -> None:
        """Work until all is done, or the driver has it stopped."""
        start_new_thread(self._beat, ())
        try:
            for _ in self._worker.run():
                pass
        except Leaving:
            pass
        self._say(words.Bye(self._state()))
        self._send()

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            is_unheard = self._plan.is_leased and time.monotonic() - self._post.heard_at > LEAVE_SECONDS
            if is_unheard or self._pace.is_stuck:
                os._exit(1)
            try:
                self._post.send(words.encode([words.Beat()]))
            except (OSError, ValueError):
                return

    # --- what the worker asks of its books ---

    @property
    def tally(self) -> Any:
        """The tally of all shards."""
        return self._shares.tally

    @property
    def seconds_before(self) -> float:
        """Always 0: the driver has the clock."""
        return 0.0

    @property
    def waiting(self) -> int:
        """How many outcomes were written and are not committed."""
        return sum(share.commits.waiting for share in self._shares)

    def save_to(self, sink: object) -> None:
        """Each shard has its own sink."""

    def count(self, outcome: Any) -> None:
        """Count an outcome that was written."""
        self._shares.count(outcome)

    def last(self) -> None:
        """Hand on and commit all that was written, at the end; where we are to leave at once, what may be."""
        if self._is_leaving and not self._may_commit:
            return
        if not self._is_leaving:
            self._send_outcomes()
        for share in list(self._shares):
            share.commit_rest()
        self._send_mail()
        self._send()

    def close(self) -> None:
        """Close all shards. Safe to call twice."""
        self._shares.close()

    # --- what is said ---

    def _say(self, word: words.FromWorker) -> None:
        self._unsaid.append(word)

    def _send(self) -> None:
        """Send what is to be said, as one message."""
        if self._unsaid:
            said, self._unsaid = self._unsaid, []
            self._post.send(words.encode(said))

    # --- after each round ---

    def after_round(self) -> float:
        """Talk with the driver, and commit what is due; returns how soon it will be time again, in seconds."""
        self._take_in()
        self._send_outcomes()
        self._commit()
        if self._is_leaving:
            raise Leaving
        self._send_mail()
        self._tell()
        self._send()
        now = time.monotonic()
        for share in self._shares:
            if share.take_early() or (share.is_finished and len(share.lines)):
                self._shares.wake(share, now)
        return LOOK_SECONDS

    def _commit(self) -> None:
        is_idle = self._plan.is_stored and not self._shares.in_flight and not self._shares.waiting
        now = time.monotonic()
        for share in list(self._shares):  # a commit may wait for the driver, who may give us one more
            share.commit_due(now, is_idle)

    def _take_in(self, seconds: float = 0.0) -> None:
        for message in self._post.receive(seconds):
            for word in words.decode_to_worker(message):
                self._take(word)
        self._shares.is_held = self._plan.is_leased and time.monotonic() - self._post.heard_at > HOLD_SECONDS

    def _take(self, word: words.ToWorker) -> None:
        shares, now = self._shares, time.monotonic()
        match word:
            case words.Say(batch):
                if batch.dest in shares:
                    shares[batch.dest].take(batch)
                    shares.wake(shares[batch.dest], now)
            case words.Heard(source, dest, until):
                if source in shares:
                    shares[source].outbox.heard(dest, until)
            case words.Credit(outcomes, size):
                self._credit += outcomes
                self._credit_bytes += size
            case words.Take(shard, epoch, suspects, lines):
                shares.suspect(suspects)
                self._own(shard, epoch, lines)
            case words.InputEnded(shard, lines):
                if shard in shares:
                    shares[shard].lines.total = lines
                    shares.wake(shares[shard], now)
            case words.Again(dest):
                for share in shares:
                    self._say_all(share.outbox.unacknowledged(dest))
            case words.Probe(wave):
                self._wave = wave
                self._reported_at = 0.0
            case words.Grant(pages):
                self._be_granted(pages)
            case words.Stop():
                self._worker.stop()
            case words.Leave():
                self._is_leaving = True
            case words.Finish():
                shares.is_over = True
            case words.Beat():
                pass

    def _be_granted(self, pages: int | None) -> None:
        assert self._allowance is not None
        self._reported_at = 0.0
        if pages is None:
            self._allowance.is_over = True
            for share in self._shares:
                share.scheduler.close()
        elif pages:
            self._allowance.grant(pages)
        else:
            self._allowance.give_back()

    def _own(self, shard: int, epoch: int, lines: int) -> None:
        plan = self._plan
        snapshots = Snapshots(plan, shard, epoch, self._pace) if plan.is_stored else None
        job = self._held(plan.shard_folder(shard)) if snapshots is None else snapshots.open_journal()
        try:
            _check_knows(job, lines, job.folder if snapshots is None else snapshots.url)
            options = self._station.options
            frontier = job.frontier(options.header, options.timeout)
            share = Share(shard, job, self._split, self._station.scheduler, frontier)
            share.commits.keep_letters(Delivered(share, self._deliver))
            if snapshots is not None:
                share.snapshots = snapshots
                snapshots.begin(share)
            elif plan.target is not None:
                target = of_shard(plan.target, shard)
                share.save_to(job.open_output(target, plan.format, plan.overwrite, plan.rotate_bytes))
        except BaseException:
            job.close()
            if snapshots is not None:
                snapshots.remove()
            raise
        self._shares.add(share, time.monotonic())
        asked_for = job.journal.asked_for if job.journal is not None else 0
        self._say(words.Taken(shard, epoch, share.lines.taken, asked_for))
        self._say_all(share.outbox.unacknowledged())

    def _held(self, folder: Path) -> Job:
        """Open a shard's journal. One who was cut off may hold it, until that one has left by itself."""
        until = time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                return Job.open(folder, {"command": "shard"}, is_lasting=self._plan.is_lasting)
            except Locked:
                if time.monotonic() > until:
                    raise
                time.sleep(LOOK_SECONDS)

    def _say_all(self, batches: list[Any]) -> None:
        for batch in batches:
            self._say(words.Say(batch))

    def _send_mail(self) -> None:
        for share in self._shares:
            if share.has_committed:
                share.has_committed = False
                if self._plan.streams:
                    self._say(words.Committed(share.number))
            self._say_all(share.to_say)
            share.to_say = []
            for source, until in share.to_acknowledge:
                self._say(words.Heard(source, share.number, until))
            share.to_acknowledge = []

    def _send_outcomes(self) -> None:
        """Hand outcomes on, as many as the driver has room for; while it has none, wait for it."""
        for share in list(self._shares):
            while share.to_driver and not self._is_leaving:
                some = _at_once(share)
                size = size_of(some)
                self._say(words.Outcomes(share.number, len(some), size, pickle.dumps(some, protocol=5)))
                self._credit -= len(some)
                self._credit_bytes -= size
                if size > AT_ONCE_BYTES // 4:
                    self._send()
                while (self._credit <= 0 or self._credit_bytes <= 0) and not self._is_leaving:
                    self._send()
                    self._take_in(BEAT_SECONDS)
        self._send()  # before any commit: what is committed and not sent would be lost

    @property
    def _may_commit(self) -> bool:
        """Whether what was written counts: in a job that the caller reads, when he has asked for what follows."""
        if not (self._plan.streams and self._plan.is_lasting):
            return True
        return self._credit >= CREDIT_OUTCOMES and not any(share.to_driver for share in self._shares)

    def _deliver(self) -> None:
        """Wait until all that was sent may be committed."""
        while not self._may_commit:
            if self._is_leaving:
                raise Leaving
            self._take_in(BEAT_SECONDS)
        self._post.flush()

    # --- how it stands ---

    def _tell(self) -> None:
        now = time.monotonic()
        is_waited_for = self._allowance is not None and self._allowance.wants
        has_just_ended = self._report is not None and not self._report.is_idle and self._is_idle
        if now - self._reported_at < REPORT_SECONDS and not is_waited_for and not has_just_ended:
            return
        report = self._state()
        self._reported_at = now
        if report != self._report:
            self._report = report
            self._say(report)

    @property
    def _is_idle(self) -> bool:
        return not self._shares.in_flight and all(share.is_idle for share in self._shares)

    def _state(self) -> words.Report:
        shares = self._shares
        return words.Report(
            counts=_counts(self._worker.statistics()),
            lines=sum(share.lines.taken for share in shares),
            waiting=shares.waiting,
            wave=self._wave,
            is_idle=self._is_idle,
            sent=sum(share.outbox.sent for share in shares),
            received=sum(share.inbox.received for share in shares),
            cpu_seconds=time.process_time(),
            standing=Standing() if self._allowance is None else self._allowance.standing,
        )


def _check_knows(job: Job, lines: int, where: object) -> None:
    """Raise OutputError when the journal of a shard knows less than the driver has heard of it."""
    if job.position.handed < lines:
        raise OutputError(
            f"the journal of a shard ({where}) knows {job.position.handed:,} of the {lines:,} lines that it had "
            "committed: put back what is gone there, or begin a new job with a new output"
        )


def _at_once(share: Share) -> list[Any]:
    """Take from what waits for the driver as much as goes at once."""
    size = 0
    for count, outcome in enumerate(share.to_driver, 1):
        size += size_of([outcome])
        if count >= AT_ONCE_OUTCOMES or size >= AT_ONCE_BYTES:
            break
    some, share.to_driver = share.to_driver[:count], share.to_driver[count:]
    return some


def _counts(books: Statistics) -> words.Counts:
    values: dict[str, Any] = {name: getattr(books, name) for name in words.Counts.__struct_fields__}
    for name, value in values.items():
        if isinstance(value, Mapping):
            values[name] = dict(value)
    return words.Counts(**values)
