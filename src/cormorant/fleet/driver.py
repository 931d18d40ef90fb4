"""The driver of a fleet: starts workers, deals shards and lines, passes on mail, replaces who dies, knows the end.

It never looks into a shard: what was found, fetched and written is in the shard's own books, and so a worker may die at
any instant. Its shards then go to a new process under the next epoch, which begins with what was committed; what was
said to the dead and not acknowledged is said again. Outcomes that the dead had handed over and not committed come a
second time, and are dropped here (`deaths.py`). A job commits an outcome when the caller has asked for what follows it.

Whatever ends a run early, an error of a worker too, the ordinary rounds go on until the others are gone: there is one
way for outcomes, and none is left on it that a journal takes for handed on.

When it is over: all lines are committed, all are idle, and two waves agree (`ending.py`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pickle
import shutil
import tempfile
import time
import weakref
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path

from cormorant import engines
from cormorant.errors import CormorantError
from cormorant.fleet import words
from cormorant.fleet.budget import Budget
from cormorant.fleet.deaths import Deaths
from cormorant.fleet.ending import Answer, Waves
from cormorant.fleet.feed import Feed
from cormorant.fleet.mail import LIST
from cormorant.fleet.plan import Plan, told
from cormorant.fleet.shards import Split, dealt
from cormorant.fleet.whole import Whole
from cormorant.interfaces import Cluster, Member, Sink
from cormorant.jobs import DEALT, Job
from cormorant.messages import Outcome
from cormorant.opening import Positioned
from cormorant.sinks import stored
from cormorant.worker import Statistics

LOOK_SECONDS = 0.05
COMMIT_SECONDS = 1.0
BEAT_SECONDS = 2.0
SILENT_SECONDS = 60.0  # without a beat: stopped, or held by a call that never lets other threads run
ATTENTIVE_SECONDS = 5.0  # between two looks; what is longer is the caller's time, in which nobody was heard
SECONDS_TO_STOP = 10.0  # after an error elsewhere
SECONDS_TO_LEAVE = 1.0  # less than the command line waits for a second Ctrl-C

log = logging.getLogger(__name__)


class Fleet:
    """Runs one plan on `workers` workers; `run` may be called once. `job`: the whole is remembered there."""

    def __init__(self, plan: Plan, entries: Positioned, cluster: Cluster, workers: int, job: Job | None = None) -> None:
        self._plan, self._cluster, self.workers, self._job = plan, cluster, workers, job
        options = plan.checked()
        self.engine = options.engine
        self.width = workers * engines.width(options.engine, options.concurrency)
        self._told = b""
        before = {} if job is None else job.counters(DEALT)
        dealt_before = {int(shard): lines for shard, lines in before.items()}
        self._feed = Feed(entries, Split(plan.split, plan.shards), dealt_before, workers, plan.is_stored)
        self._members: dict[int, Member] = {}
        self._owners: dict[int, int] = {}
        self._epochs: Counter[int] = Counter()
        self._unsaid: defaultdict[int, list[words.ToWorker]] = defaultdict(list)
        self._taken: set[int] = set()
        self._reports: dict[int, words.Report] = {}
        self._heard_at: dict[int, float] = {}
        self._gone: set[int] = set()
        self._waves = Waves()
        self._budget = None if plan.max_pages is None else Budget(plan.max_pages)
        self._deaths = Deaths()
        self._numbers = 0
        self._is_stopping = self._is_told_to_stop = self._is_finishing = False
        self._whole = Whole(plan, self._feed, job)
        self._asked_at = self._committed_at = self._beat_at = self._looked_at = 0.0
        self._sink: Sink | None = None
        self._trouble: CormorantError | None = None
        self._until = float("inf")  # after trouble: how long the others are waited for
        self.commits = None  # the shards' own

    def save_to(self, sink: Sink | None) -> Fleet:
        """Write every outcome that is handed over to `sink` first; to be called before `run`. It is closed with it."""
        self._sink = sink
        return self

    @property
    def writes_itself(self) -> bool:
        """Whether the workers write what comes of their shards."""
        return self._plan.target is not None

    @property
    def is_in_parts(self) -> bool:
        """Whether what they have written lies in parts, a shard each."""
        return self.writes_itself and not (self._plan.merges and (self._is_finishing or not self._members))

    # --- the run ---

    def run(self) -> Generator[Outcome, None, None]:
        """Yield each outcome that is handed over, once. Closing the generator ends all workers."""
        outcomes = self._run()
        weakref.finalize(outcomes, self._let_go).atexit = False
        return outcomes

    def arun(self) -> AsyncGenerator[Outcome, None]:
        """Do what `run` does inside a running event loop: it is free while nothing comes."""
        outcomes = self._arun()
        weakref.finalize(outcomes, self._let_go).atexit = False
        return outcomes

    def _run(self) -> Generator[Outcome, None, None]:
        with contextlib.closing(self._rounds()) as rounds:
            for outcome in rounds:
                if outcome is None:
                    self._cluster.wait(self._living(), LOOK_SECONDS)
                else:
                    yield outcome

    async def _arun(self) -> AsyncGenerator[Outcome, None]:
        import asyncio

        with contextlib.closing(self._rounds()) as rounds:
            for outcome in rounds:
                if outcome is None:
                    await asyncio.to_thread(self._cluster.wait, self._living(), LOOK_SECONDS)
                else:
                    yield outcome

    def _let_go(self) -> None:
        """Close what was handed to a run whose generator nobody ever looked at."""
        if not self._whole.has_begun:
            with self._closing():
                pass

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        """Leave no worker behind, and close what was handed to the run, however it ends."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._whole.end)
            if self._sink is not None:
                stack.callback(self._sink.close)
            if self._job is not None:
                stack.callback(self._job.close)
            if self._is_folder_ours and self._plan.folder:
                stack.callback(shutil.rmtree, self._plan.folder, ignore_errors=True)
            stack.callback(self._cluster.close)
            stack.callback(self._dismiss)
            yield

    @property
    def _is_folder_ours(self) -> bool:
        """Whether what the workers keep here is for this run alone."""
        return self._job is None or self._plan.is_stored

    def _scratch(self) -> str:
        """Make a folder for this run; one of a job replaces what a run that was killed has left."""
        if self._job is None:
            return tempfile.mkdtemp(prefix="cormorant-fleet-")
        folder = Path(self._job.folder, "scratch").absolute()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return os.fspath(folder)

    def _dismiss(self) -> None:
        """Have workers that are still there commit and close what they have, if they can soon."""
        self._say_to_all(words.Leave())
        self._send()
        until = time.monotonic() + SECONDS_TO_LEAVE
        while self._living() and time.monotonic() < until:
            self._cluster.wait(self._living(), LOOK_SECONDS)
            for member in self._living():
                for word in (word for message in member.receive() for word in words.decode_from_worker(message)):
                    if isinstance(word, words.Bye):
                        self._take(member.number, word)
                if member.death is not None:
                    self._gone.add(member.number)

    def _rounds(self) -> Generator[Outcome | None, None, None]:
        """Yield outcomes, and None where there is nothing to do until a worker says something."""
        self._whole.begin()
        if self._is_folder_ours:
            self._plan = dataclasses.replace(self._plan, folder=self._scratch())
        with self._closing():
            if self._job is not None:
                self._job.frontier((), 30.0)
                if self._job.is_merged:
                    self._reports = dict(enumerate(self._whole.found_done()))
                    return
            self._begin()
            self._send()
            while self._living() and time.monotonic() < self._until:
                yield None
                for member in self._living():
                    yield from self._hear(member)
                if self._sink is not None:
                    self._sink.flush()
                self._look_after()
                self._send()
            self._commit()
            if self._trouble is not None:
                raise self._trouble
            if self._is_finishing:
                self._whole.finish(self._reports.values())

    def _begin(self) -> None:
        self._told = told(self._plan)
        if self._plan.is_stored and self._plan.target is not None:
            before, now = stored.epochs(self._plan.target), int(time.time() * 1000)
            self._epochs.update({shard: max(before.get(shard, 0), now) for shard in range(self._plan.shards)})
        members = [self._start() for _ in range(self.workers)]
        for shard, number in dealt(range(self._plan.shards), members).items():
            self._give(shard, number)

    def _start(self) -> int:
        number = self._numbers
        self._numbers += 1
        marks = Path(self._plan.folder, f"marks-{number}")
        self._members[number] = self._cluster.start(number, self._told, marks)
        self._heard_at[number] = time.monotonic()
        if self._budget is not None:
            self._budget.join(number)
        return number

    def _give(self, shard: int, number: int) -> None:
        self._taken.discard(shard)
        self._owners[shard] = number
        self._epochs[shard] += 1
        self._say(
            number, words.Take(shard, self._epochs[shard], dict(self._deaths.strikes), self._feed.committed(shard))
        )

    def _living(self) -> list[Member]:
        return [member for number, member in self._members.items() if number not in self._gone]

    def _say(self, number: int, word: words.ToWorker) -> None:
        if number not in self._gone:
            self._unsaid[number].append(word)

    def _say_to_all(self, word: words.ToWorker) -> None:
        for member in self._living():
            self._unsaid[member.number].append(word)

    def _send(self) -> None:
        """Send what is to be said, to each as one message."""
        unsaid, self._unsaid = self._unsaid, defaultdict(list)
        for number, said in unsaid.items():
            if number not in self._gone:
                self._members[number].send(words.encode(said))

    # --- what they say ---

    def _hear(self, member: Member) -> Iterator[Outcome]:
        number = member.number
        for message in member.receive():
            self._heard_at[number] = time.monotonic()
            for word in words.decode_from_worker(message):
                if isinstance(word, words.Outcomes):
                    yield from self._hand_on(number, word)
                else:
                    self._take(number, word)
        if number not in self._gone and member.death is not None:
            self._bury(member)

    def _take(self, number: int, word: words.FromWorker) -> None:
        match word:
            case words.Say(batch):
                if batch.dest in self._taken:
                    self._say(self._owners[batch.dest], word)
            case words.Heard(source, dest, until):
                if source == LIST:
                    self._feed.heard(dest, until)
                else:
                    self._say(self._owners[source], word)
            case words.Report():
                self._deaths.spoke(number)
                self._reports[number] = word
                if self._budget is not None:
                    self._budget.heard(number, word.standing)
                self._waves.answer(word.wave, number, Answer(word.is_idle, word.sent, word.received))
            case words.Committed(shard):
                self._deaths.committed(shard)
            case words.Taken(shard, epoch, lines, asked_for):
                if epoch == self._epochs[shard]:
                    self._feed.heard(shard, lines)
                    if self._budget is not None:
                        self._budget.taken(number, asked_for)
                    self._welcome(shard)
            case words.Bye(report):
                self._reports[number] = report
                self._gone.add(number)
            case words.Trouble():
                self._gone.add(number)
                self._end_by(word.as_error())
            case _:
                pass

    def _welcome(self, shard: int) -> None:
        """Tell a shard's new owner all that it may have missed."""
        self._taken.add(shard)
        owner = self._owners[shard]
        for batch in self._feed.unacknowledged(shard):
            self._say(owner, words.Say(batch))
        self._say_to_all(words.Again(shard))
        if self._feed.has_ended:
            self._say(owner, words.InputEnded(shard, self._feed.dealt[shard]))

    def _hand_on(self, number: int, word: words.Outcomes) -> Iterator[Outcome]:
        outcomes: list[Outcome] = pickle.loads(word.pickled)
        for outcome in outcomes:
            if self._deaths.is_second(word.shard, outcome):
                continue
            if self._sink is not None:
                self._sink.write(outcome)
            yield outcome
        self._say(number, words.Credit(word.count, word.size))

    # --- looking after them ---

    def _look_after(self) -> None:
        now = time.monotonic()
        self._take_time_out(now)
        if self._is_stopping and not self._is_told_to_stop:
            self._is_told_to_stop = True
            self._say_to_all(words.Stop())
        if now - self._beat_at >= BEAT_SECONDS:
            self._beat_at = now
            self._say_to_all(words.Beat())
            self._kill_the_silent(now)
        if not self._is_stopping:
            if self._budget is not None and len(self._taken) == self._plan.shards:
                for number, pages in self._budget.decide():
                    self._say(number, words.Grant(pages))
            self._deal_lines(now)
            self._ask_whether_it_is_over(now)
        if now - self._committed_at >= COMMIT_SECONDS:
            self._commit()

    def _take_time_out(self, now: float) -> None:
        """Leave out of all silences the time in which the caller kept us from listening."""
        away = now - self._looked_at
        if self._looked_at and away > ATTENTIVE_SECONDS:
            self._heard_at = {number: at + away for number, at in self._heard_at.items()}
        self._looked_at = now

    def _deal_lines(self, now: float) -> None:
        """Read on in the list, a little in each round, if anybody has room for it. Seeds are all read first."""
        if self._feed.has_ended or not self._feed.is_wanted(now, () if self._plan.is_crawl else self._loads()):
            return
        for batch in self._feed.read():
            if batch.dest in self._taken:
                self._say(self._owners[batch.dest], words.Say(batch))
        if self._feed.has_ended:
            self._waves.disturb()
            self._note_few_hosts()
            for shard in self._taken:
                self._say(self._owners[shard], words.InputEnded(shard, self._feed.dealt[shard]))

    def _loads(self) -> list[int]:
        """Return how many lines and requests wait at each worker, or are on their way to it."""
        loads = Counter({member.number: 0 for member in self._living()})
        for shard, owner in self._owners.items():
            loads[owner] += self._feed.on_the_way(shard)
        for number, report in self._reports.items():
            loads[number] += report.waiting
        return [loads[member.number] for member in self._living()]

    def _note_few_hosts(self) -> None:
        largest = self._feed.largest
        if largest is not None and self.workers > 1 and self._plan.split in ("domain", "host"):
            log.warning(
                "%.0f %% of the list lies on hosts that one worker owns (shard %d of %d): the others wait for it. "
                "To ask one host from all workers, each with its part of --per-host and --delay: --split url",
                100 * largest[1],
                largest[0],
                self._plan.shards,
            )

    def _ask_whether_it_is_over(self, now: float) -> None:
        if self._is_finishing or not self._feed.is_done or len(self._taken) < self._plan.shards:
            return
        members = [member.number for member in self._living()]
        if not all(number in self._reports and self._reports[number].is_idle for number in members):
            return
        verdict = self._waves.is_over(members)
        if verdict:
            self._is_finishing = True
            self._say_to_all(words.Finish())
        elif verdict is False or now - self._asked_at >= COMMIT_SECONDS:
            self._asked_at = now
            self._say_to_all(words.Probe(self._waves.begin()))

    def _commit(self) -> None:
        self._committed_at = time.monotonic()
        self._whole.commit()

    # --- deaths ---

    def _kill_the_silent(self, now: float) -> None:
        for member in self._living():
            if now - self._heard_at[member.number] > SILENT_SECONDS:
                log.warning("worker %d has said nothing for %.0f s: it is replaced", member.number, SILENT_SECONDS)
                member.kill()

    def _bury(self, member: Member) -> None:
        number = member.number
        self._gone.add(number)
        if self._is_finishing or self._is_stopping:
            return
        log.warning("worker %d is gone (%s); its shards go to a new one", number, member.death)
        orphans = [shard for shard, owner in self._owners.items() if owner == number]
        self._deaths.note(member, number in self._reports, orphans, successor=self._numbers)
        self._reports.pop(number, None)
        if self._budget is not None:
            self._budget.leave(number)
        self._waves.disturb()
        successor = self._start()
        for shard in orphans:
            self._give(shard, successor)

    def _end_by(self, error: CormorantError) -> None:
        """Have the others stop in good order; the run ends by `error` when they are gone, or their time is up."""
        if self._trouble is None:
            self._trouble, self._until = error, time.monotonic() + SECONDS_TO_STOP
        self.stop()

    # --- what others see ---

    def stop(self) -> None:
        """Start nothing more; what is under way is finished. Safe in a signal handler."""
        self._is_stopping = True

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the workers, user and system, as they said last; without those that were replaced."""
        return sum(report.cpu_seconds for report in self._reports.values())

    def statistics(self) -> Statistics:
        """Return the books of all workers at this instant; may be called from another thread."""
        return self._whole.statistics(list(self._reports.values()), stopped=self._is_stopping)
