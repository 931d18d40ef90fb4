"""A shard whose journal and parts lie in a store: they are worked on in a local folder, and published in whole.

Nothing in a store can be appended to or locked, and SQLite's log must not lie on a network file system. So the local
folder is scratch, which nobody reads when its worker is gone, and the only commit that counts is a publication:

1. the part is completed, and the journal commits what was written (`Commits.last`)
2. the new parts are put, then a copy of the journal, then the manifest that names all (`sinks/stored.py`)
3. only now mail and acknowledgements go out, and the driver hears that it is committed: they are let go by the commit
   of step 1, and nothing is said before step 2 is over, for a worker does one thing at a time

In between nothing is committed at all: what waits, waits in memory. A shard is taken over from its newest manifest,
which is published again at once under the epoch of the new owner: what the old one may still put is older.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cormorant import sinks
from cormorant.errors import OutputError
from cormorant.fleet.plan import Plan
from cormorant.frontier.job_store import FILE
from cormorant.interfaces import DurableSink
from cormorant.jobs import Job
from cormorant.sinks import stored
from cormorant.sinks.naming import suffix_of
from cormorant.sinks.stored import Key, Manifest, Stored, name_of

if TYPE_CHECKING:
    from cormorant.fleet.share import Share

TIMES = 10  # what publishing takes, to what is between
IDLE_SECONDS = 0.5  # between publications of a worker with nothing else to do
MOST_ROWS = 50_000  # URLs found, which wait in memory until then
STUCK_SECONDS = 300.0  # of one publication: a driver whose call never returns


class Pace:
    """How often the shards of one worker publish: so that it has `TIMES` the time for its pages."""

    def __init__(self, seconds: float) -> None:
        self._least = seconds
        self._took: dict[int, float] = {}
        self._asked_at: float | None = None

    @contextlib.contextmanager
    def asking(self, shard: int) -> Iterator[None]:
        """Note how long a store is asked for a shard: for as long as this is entered."""
        began = self._asked_at = time.monotonic()
        try:
            yield
        finally:
            self._asked_at = None
            self._took[shard] = time.monotonic() - began

    @property
    def is_stuck(self) -> bool:
        """Whether a store has not answered for so long that nobody waits for it any more. For another thread."""
        asked_at = self._asked_at
        return asked_at is not None and time.monotonic() - asked_at > STUCK_SECONDS

    @property
    def seconds(self) -> float:
        """How long until a shard that has published does so again."""
        return max(self._least, TIMES * sum(self._took.values()))

    @property
    def idle_seconds(self) -> float:
        """The same of a worker that has nothing else to do."""
        return max(min(IDLE_SECONDS, self._least), sum(self._took.values()))


class Snapshots:
    """One shard, as this process owns it under `epoch`. `folder` is the local one, with the journal it goes on with.

    Raises OutputError when the store cannot be read, or when somebody owns the shard under a later epoch.
    """

    def __init__(self, plan: Plan, shard: int, epoch: int, pace: Pace) -> None:
        assert plan.target is not None
        self._plan, self._shard, self._epoch, self._pace = plan, shard, epoch, pace
        self._place = stored.shard_place(plan.target, shard)
        self._parts_place = stored.parts_place(plan.target, shard)
        self._suffix = suffix_of(plan.target)
        self._number = 0
        self._parts: tuple[Stored, ...] = ()
        self._last: list[str] = []  # what the last publication put and the next makes superfluous
        self._stale: list[str] = []  # ... and what is so already: readers may still look at the last
        self._due_at = self._idle_at = 0.0
        self._share: Share | None = None
        within = plan.folder if os.path.isdir(plan.folder) else None
        self.folder = Path(tempfile.mkdtemp(prefix=f"shard-{shard:04d}-", dir=within))
        try:
            with pace.asking(shard):
                self._take_over()
        except BaseException:
            self.remove()
            raise

    def __repr__(self) -> str:
        return f"<Snapshots {self._place.url} epoch {self._epoch}, {self._number} published, {len(self._parts)} parts>"

    def _take_over(self) -> None:
        """Fetch what the last owner has published."""
        there = self._check_is_ours(self._epoch)
        manifest = stored.newest(self._place)
        if manifest is None:
            return
        self._place.get_file(manifest.journal, self.folder / FILE)
        self._parts = manifest.parts
        self._last = _names(manifest.key)
        self._stale = [name for key in there if key != manifest.key for name in _names(key)]

    def _check_is_ours(self, foreign: int) -> list[Key]:
        """Return the manifests that are there; raises OutputError when some are of the epoch `foreign`, or a later."""
        there = stored.keys(self._place)
        if there and there[-1][0] >= foreign:
            raise OutputError(
                f"{self._place.url} was published under epoch {there[-1][0]} by another run, this is {self._epoch}: "
                "let one run at a time write there, then run this again"
            )
        return there

    def open_journal(self) -> Job:
        """Open the journal as the last owner has published it. It is scratch: the store is what lasts."""
        return Job.open(self.folder, {"command": "shard"}, is_lasting=False)

    def begin(self, share: Share) -> None:
        """Write the outcomes of `share` from now on, which has the journal in `folder`; and publish that it is ours."""
        self._share = share
        share.save_to(self._next_sink())
        self.publish()

    @property
    def url(self) -> str:
        """Where its manifests lie."""
        return self._place.url

    # --- when ---

    @property
    def _has_news(self) -> bool:
        assert self._share is not None
        share = self._share
        return bool(share.commits.waiting or share.job.uncommitted_rows or share.are_waiting)

    def after_round(self, is_idle: bool) -> None:
        """Publish if it is time. `is_idle`: the worker has nothing else to do."""
        if not self._has_news:
            return
        assert self._share is not None
        now, rows = time.monotonic(), self._share.job.uncommitted_rows
        if now >= self._due_at or rows >= MOST_ROWS or (is_idle and now >= self._idle_at):
            self.publish()

    # --- what ---

    def publish_rest(self) -> None:
        """Publish what is not published yet. Raises OutputError."""
        if self._has_news:
            self.publish()

    def publish(self) -> None:
        """Publish all that there is. Raises OutputError; then nothing of it may be called committed."""
        assert self._share is not None
        has_new_part = self._share.commits.waiting > 0
        self._share.commits.last()  # may wait for the caller
        with self._pace.asking(self._shard):
            self._check_is_ours(self._epoch + 1)
            parts = self._parts + (self._put_parts() if has_new_part else ())
            key = (self._epoch, self._number)
            self._put_journal(key, parts)
            self._parts = parts
            self._number += 1
            self._forget_before(key)
        if has_new_part:
            self._share.save_to(self._next_sink())
        now = time.monotonic()
        self._due_at, self._idle_at = now + self._pace.seconds, now + self._pace.idle_seconds

    def _next_sink(self) -> DurableSink:
        """Open what is written until a publication, under the name that it will have: a new output each time."""
        path = self.folder / name_of("part", (self._epoch, self._number), self._suffix)
        return sinks.open_sink(path, self._plan.format, overwrite=True, rotate_bytes=self._plan.rotate_bytes)

    def _put_parts(self) -> tuple[Stored, ...]:
        """Put what was written since the last publication, and remove it here."""
        assert self._share is not None
        assert self._share.output is not None
        self._share.output.close()
        committed = self._share.job.committed
        assert committed is not None
        for part in committed.parts:
            self._parts_place.put_file(part.name, self.folder / part.name)
            (self.folder / part.name).unlink()
        return tuple(Stored(part.name, part.length) for part in committed.parts)

    def _put_journal(self, key: Key, parts: tuple[Stored, ...]) -> None:
        """Put a copy of the journal, then the manifest: from then on it counts."""
        assert self._share is not None
        journal = name_of("journal", key, ".sqlite")
        self._share.job.copy_to(self.folder / journal)
        self._place.put_file(journal, self.folder / journal)
        (self.folder / journal).unlink()
        manifest = Manifest(epoch=key[0], number=key[1], journal=journal, parts=parts)
        self._place.put(name_of("manifest", key, ".json"), msgspec.json.encode(manifest))

    def _forget_before(self, key: Key) -> None:
        """Remove what the publication before the last had, but for its parts."""
        for name in self._stale:
            self._place.remove(name)
        self._stale, self._last = self._last, _names(key)

    def remove(self) -> None:
        """Remove the local folder. Never raises. Safe to call twice."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _names(key: Key) -> list[str]:
    """Return what a publication has beside parts: the manifest first, so that none ever names what is gone."""
    return [name_of("manifest", key, ".json"), name_of("journal", key, ".sqlite")]
