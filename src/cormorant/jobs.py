"""A job: a folder that remembers a run, so that the same command goes on where it stopped, however it stopped.

    JOB/journal.sqlite   what was found and what ended, the output's committed lengths, options, counters
    JOB/lock             who runs it now; gone when nobody does
    JOB/shards/0003/     of a fleet's job: the same for each shard; its own journal then knows the list alone
    JOB/progress.json    how the run stands, at most a second old, for those who look on; gone when nobody runs it

Laws: one run at a time; what decides which pages are fetched and where they go cannot change from run to run, how they
are fetched can; the folder is private (mode 0700), because URLs and headers may hold credentials.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from cormorant import sinks, stores
from cormorant.errors import UsageError
from cormorant.frontier import job_folder
from cormorant.frontier.job_ends import ENDS, OK, OPEN, SERVICE
from cormorant.frontier.job_lists import ListFacts, Position, check_unchanged
from cormorant.frontier.job_lock import Lock, Locked
from cormorant.frontier.job_state import SECONDS, State, read_state, reopen, state_of
from cormorant.frontier.job_store import FILE, Mail, Store
from cormorant.frontier.journal import POSITION, Journal
from cormorant.interfaces import Committed, DurableSink
from cormorant.messages import Headers

PROGRESS = "progress.json"
PROGRESS_SECONDS = 1.0
OPTIONS, LISTS = "options", "lists"  # names in the book
REPORT = "report_skipped"  # an option, and what is committed of its file
FINISHED = "finished"  # of a fleet's job: all shards are done
MERGED = "merged"  # ... and their parts are one output
COUNTS = "counts"  # ... and how it ended, worker by worker (`fleet.words.Counts`)
DEALT = "dealt"  # of a fleet's job: how many lines each shard was given, up to the position
SCHEDULER, INPUT_ENDED = "scheduler", "input_ended"  # what the scheduler counted, and one of it

# What cannot change, and what would be wrong if it did.
_LIST = "the job remembers by their place which lines were read"
_OUTPUT = "the job knows what it has written there, and nothing of the other"
_CHOICE = "what was left out or taken in by it before would stay so"
_SHARDS = "the job was cut so when it began, and each shard has its own journal"
CUT = ("shards", "split")  # as before where they are not said again
FIXED = {
    "command": "it is another kind of run",
    "urls": _LIST,
    "seeds": _LIST,
    "input": _LIST,
    "keep_duplicates": _LIST,
    "output": _OUTPUT,
    "format": _OUTPUT,
    "report_skipped": _OUTPUT,
    "shards": _SHARDS,
    "split": _SHARDS,
    "parse": "the records written so far hold what the other one returned",
    **dict.fromkeys(("since", "scope", "depth", "max_pages", "max_pages_per_host", "include", "exclude"), _CHOICE),
    **dict.fromkeys(("sitemaps", "obey_meta", "drop_tracking"), _CHOICE),
}
RETRIED = tuple(name for name in ENDS if name not in (ENDS[OPEN], OK, SERVICE, "bad_url"))


class Job:
    """A job that this process runs. `is_new`: nothing was done yet; `is_first`: no run came before this one.

    `options` are those of this run. `killed_before` says who ran it last, when that run ended without a word.
    """

    def __init__(self, folder: Path, lock: Lock, store: Store) -> None:
        self.folder = folder
        self._lock, self._store = lock, store
        self.journal: Journal | None = None
        self._told_at = -PROGRESS_SECONDS
        self._to_remember: dict[str, Any] = {}
        self._is_closed = False
        self.is_lasting = store.is_lasting
        self.is_new = not store.last_row() and store.value(DEALT) is None
        self.options: dict[str, Any] = store.value(OPTIONS, {})
        self.is_first = not self.options
        self.killed_before = None if lock.before is None else str(lock.before)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        options: Mapping[str, Any],
        lists: Sequence[str] = (),
        *,
        accept_changed_list: bool = False,
        is_lasting: bool = True,
    ) -> Job:
        """Begin a job in `folder`, or go on with it. `options` are JSON values by their words.

        One that is not `is_lasting` outlives its process, and no power cut: it waits for no disk.

        Raises UsageError when another run has it (`Locked`), when an option of `FIXED` or a list has changed, or when
        the folder holds something else; OutputError when it cannot be written.
        """
        facts = [ListFacts.of(name) for name in lists]
        job = cls._held(_local(folder), is_lasting=is_lasting)
        try:
            job._take(options, facts, accept_changed_list)
        except BaseException:
            job.close()
            raise
        return job

    @classmethod
    def resume(
        cls, folder: str | os.PathLike[str], changes: Mapping[str, Any], accept_changed_list: bool = False
    ) -> Job:
        """Go on with a job as it was begun but for `changes`; raises UsageError where there is none."""
        job = cls._existing(_local(folder))
        try:
            facts = [ListFacts.of(facts.name) for facts in job._lists()]
            job._take(job.options | dict(changes), facts, accept_changed_list)
        except BaseException:
            job.close()
            raise
        return job

    @classmethod
    def look(cls, folder: str | os.PathLike[str]) -> State:
        """Return how a job stands, also while another process runs it. Raises UsageError where there is none."""
        parts = [cls.look(shard) for shard in shard_folders(_local(folder))]
        try:
            job = cls._existing(Path(folder), is_brief=True)
        except Locked as locked:
            return _told(Path(folder), locked).with_shards(parts)
        try:
            job._check_is_here("counted")
            return job._reading(read_state(job._store)).with_shards(parts)
        finally:
            job.close()

    @classmethod
    def retry(cls, folder: str | os.PathLike[str], kinds: Collection[str]) -> Counter[str]:
        """Let what ended in one of `kinds` (`RETRIED`) wait again, and return how many. For a job nobody runs.

        Their records stay in the output: the later record of a URL is the one that counts.
        """
        for kind in kinds:
            if kind not in RETRIED:
                raise UsageError(f"{kind!r} cannot be tried again; give some of {', '.join(RETRIED)}")
        job = cls._existing(_local(folder))
        try:
            job._check_is_here("tried again")
            if job.is_merged:
                raise UsageError(f"job {folder} is done and its parts were merged; begin another for what failed")
            job.remember({FINISHED: False})
            count = reopen(job._store, kinds)
            return sum((cls.retry(shard, kinds) for shard in shard_folders(Path(folder))), count)
        finally:
            job.close()

    @classmethod
    def _existing(cls, folder: Path, is_brief: bool = False) -> Job:
        if not (folder / FILE).is_file():
            raise UsageError(f"{folder} holds no job; begin one: cormorant fetch ... --job {folder}")
        return cls._held(folder, is_brief)

    @classmethod
    def _held(cls, folder: Path, is_brief: bool = False, is_lasting: bool = True) -> Job:
        job_folder.make(folder)
        lock = Lock(folder, is_brief)
        try:
            job = cls(folder, lock, Store(folder, is_lasting))
            if is_lasting:
                job_folder.sync(folder)
        except BaseException:
            lock.release()
            raise
        return job

    def _lists(self) -> list[ListFacts]:
        return msgspec.convert(self._store.value(LISTS, []), list[ListFacts])

    def _take(self, options: Mapping[str, Any], facts: list[ListFacts], accept_changed_list: bool) -> None:
        """Take the options of this run, and remember them; of one that goes on with its first commit."""
        now: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(options), enc_hook=str))
        before, self.options = self.options, now
        now |= {word: before[word] for word in CUT if now.get(word) is None and word in before}
        if not self.is_new:
            _check_options(self.folder, before, now)
            if not accept_changed_list:
                check_unchanged(self._lists(), facts)
        with self._store.transaction():
            if not self.is_new:
                self._to_remember = {OPTIONS: now, LISTS: facts}  # once the run has begun: it may be refused elsewhere
                return
            if any(before.get(word) != now.get(word) for word in ("output", "format")):
                self._store.forget_output()
            if before.get(REPORT) != now.get(REPORT):
                self._store.forget(REPORT)
            self._store.put({OPTIONS: now, LISTS: facts})

    def _check_is_here(self, what: str) -> None:
        """Raise UsageError where the journals of the shards lie in a store beside the output."""
        output = str(self.options.get("output"))
        if stores.is_url(output):
            raise UsageError(
                f"job {self.folder} has its shards' journals in the store, beside {output}: nothing in them can be "
                f"{what} from here; read what was written: cormorant cat {output}"
            )

    # --- a run ---

    def frontier(self, headers: Headers, seconds: float) -> Journal:
        """Read what is known and what is open; `headers` and `seconds` are those requests usually have now."""
        self.journal = Journal(self._store, headers, seconds)
        self._tell()
        return self.journal

    @property
    def is_done(self) -> bool:
        """Whether the last run has left nothing to fetch."""
        is_read = bool(self.counters(SCHEDULER).get(INPUT_ENDED, False)) and not self.position.is_broken
        if self.options.get("shards") is not None:
            return is_read and self._store.value(FINISHED, False)
        return is_read and self.journal is not None and not self.journal.left

    @property
    def is_merged(self) -> bool:
        """Whether it is a fleet's job that is done, and whose parts were put together."""
        return bool(self._store.value(MERGED, False))

    def cut(self, shards: int) -> None:
        """Make it the job of a fleet, with so many shards. Raises UsageError for one that was begun by one worker."""
        if self.options.get("shards") is None:
            if not self.is_new:
                raise _uncut(self.folder)
            self.options["shards"] = shards
            self.remember({OPTIONS: self.options})

    def remember(self, values: Mapping[str, Any]) -> None:
        """Keep values of the book."""
        with self._store.transaction():
            self._store.put(values)

    @property
    def rows(self) -> int:
        """How many URLs were found."""
        return 0 if self.journal is None else self.journal.rows

    @property
    def uncommitted_rows(self) -> int:
        """How many URLs that were found are in memory alone."""
        return 0 if self.journal is None else self.journal.uncommitted_rows

    @property
    def position(self) -> Position:
        """Where reading the lists goes on."""
        return msgspec.convert(self._store.value(POSITION, {}), Position)

    @property
    def committed(self) -> Committed | None:
        """What of the output is committed: what the sink is opened with. None: see `begin_output`."""
        return self._store.committed()

    def open_output(
        self, target: str, format: str | None = None, overwrite: bool = False, rotate_bytes: int | None = None
    ) -> DurableSink:
        """Open the output: a new one, which must not be there yet unless `overwrite`, or cut back to what is committed.

        Raises UsageError where it is there, or cannot be cut back (a stream); OutputError where it cannot be written.
        """
        committed = self.committed
        if committed is None:
            sinks.make_room(target, format, overwrite)
            committed = self.begin_output()
        return sinks.open_sink(target, format, rotate_bytes=rotate_bytes, resume=committed)

    def begin_output(self) -> Committed:
        """Note, before the output is made, that what stands there from now on is this job's.

        To be called once it is sure that nothing stands there that must not be lost. So a run that is killed while it
        makes its first file does not find somebody else's the next time.
        """
        with self._store.transaction():
            self._store.put_committed(Committed(()))
        return Committed(())

    def copy_to(self, path: Path) -> None:
        """Write a copy of the journal (`Store.copy_to`)."""
        self._store.copy_to(path)

    def outbox(self) -> list[tuple[int, int, bytes]]:
        """Return what a share of a fleet has for others (`Store.outbox`)."""
        return self._store.outbox()

    def value(self, name: str, default: Any = None) -> Any:
        """Return a value of the book."""
        return self._store.value(name, default)

    def counters(self, name: str) -> dict[str, Any]:
        """Return the counters that were committed under `name`."""
        value: dict[str, Any] = self._store.value(name, {})
        return value

    def beside(self, name: str, begin: bool = False) -> Committed | None:
        """Return what is committed of a file beside the output. `begin` does for it what `begin_output` does."""
        if begin:
            with self._store.transaction():
                self._store.put({name: Committed(())})
        value = self._store.value(name)
        return None if value is None else msgspec.convert(value, Committed)

    @property
    def seconds(self) -> float:
        """How long all runs before took, as far as they were committed."""
        return float(self._store.value(SECONDS, 0.0))

    def commit(
        self,
        written: int,
        committed: Committed | None,
        position: Position | None,
        counters: Mapping[str, Any],
        mail: Mail | None = None,
    ) -> None:
        """Do what `Journal.commit` does, and tell those who look on."""
        assert self.journal is not None
        self.journal.commit(written, committed, position, self._to_remember | dict(counters), mail)
        self._to_remember = {}
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_SECONDS:
            self._told_at = now
            self._tell()

    def _tell(self) -> None:
        assert self.journal is not None
        state = self._reading(state_of(self.journal.tally, self.journal.left, self.seconds))
        beside = self.folder / f"{PROGRESS}.new"
        with suppress(OSError):  # a convenience: what counts is committed
            beside.write_bytes(msgspec.json.encode(state))
            beside.replace(self.folder / PROGRESS)

    def _reading(self, state: State) -> State:
        is_read = bool(self.counters(SCHEDULER).get(INPUT_ENDED, False))
        return state.reading(self._lists(), self.position, is_read)

    def close(self) -> None:
        """Close the journal and let go of the job. Never raises. Safe to call twice."""
        if self._is_closed:
            return  # what lies there now may be another run's
        self._is_closed = True
        self._store.close()
        for name in (PROGRESS, f"{PROGRESS}.new"):
            with suppress(OSError):
                (self.folder / name).unlink()
        self._lock.release()

    def __repr__(self) -> str:
        return f"<Job {self.folder} {'new' if self.is_new else 'going on'} {self.journal!r}>"


def _local(folder: str | os.PathLike[str]) -> Path:
    """Return the folder of a job. Raises UsageError for a URL."""
    words = "a job's folder is a local one, or on a file system that is mounted; only its output may lie in a store"
    stores.refuse(os.fspath(folder), words)
    return Path(folder)


def shard_folder(folder: Path, shard: int) -> Path:
    """Return where the journal of a fleet's shard lies in the job's folder."""
    return folder / "shards" / f"{shard:04d}"


def shard_folders(folder: Path) -> list[Path]:
    """Return the folders of the shards that there are."""
    return sorted(path.parent for path in (folder / "shards").glob(f"*/{FILE}"))


def _check_options(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for word, reason in FIXED.items():
        if word in CUT and before.get("shards") is None:
            if now.get("shards") is not None:
                raise _uncut(folder)
            continue
        if _plain(before.get(word)) != _plain(now.get(word)):
            raise UsageError(
                f"job {folder} was begun with {_said(word, before.get(word))}, and now it is "
                f"{_said(word, now.get(word))}: {reason}; run it as it was begun, or begin another job folder"
            )


def _uncut(folder: Path) -> UsageError:
    return UsageError(
        f"job {folder} was begun by one worker, and its journal cannot be cut: leave workers (-w, --cluster) and "
        "shards out, or begin another job folder with them"
    )


def _plain(value: Any) -> Any:
    """Return None for what says as much as nothing: an option that is off, an empty list."""
    return None if value is False or value == [] else value


def _said(word: str, value: Any) -> str:
    name = word.replace("_", "-")
    shown = (
        "nothing" if value in (None, [], ()) else " ".join(map(str, value)) if isinstance(value, list) else str(value)
    )
    return f"{name} {shown}"


def _told(folder: Path, locked: Locked) -> State:
    """Return what the run that has the job tells of it."""
    try:
        state = msgspec.json.decode((folder / PROGRESS).read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        raise locked from None
    return msgspec.structs.replace(state, running=str(locked.owner) if locked.owner is not None else "another process")
