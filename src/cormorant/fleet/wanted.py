"""What a call asks of a fleet: how many workers, how the work is cut, and where the parts of the output go."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from cormorant import sinks, stores
from cormorant.errors import UsageError
from cormorant.fleet.shards import MOST_SHARDS, SHARDS_A_WORKER, SPLITS
from cormorant.sinks import stored
from cormorant.sinks.files import exists
from cormorant.stores import Place

if TYPE_CHECKING:
    from cormorant.jobs import Job

MOST_WORKERS = 1_000  # of a cluster
WORKERS_A_CORE = 16


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """How many workers, and how the work is cut: the words beside a call's options.

    workers   processes (on a cluster: in all); None: none, all happens here
    shards    how many parts, for ever; None: some for each worker
    split     what stays together: domain (registered), host, address, or url (then a host's budget is divided)
    merge     put the parts of the output together when all is done
    cluster   None: processes of this machine; local: Ray started here; an address: Ray that runs there
    """

    workers: int | None = None
    shards: int | None = None
    split: str = "domain"
    cluster: str | None = None
    merge: bool = False

    def __post_init__(self) -> None:
        _check_number("workers", self.workers, MOST_WORKERS if self.cluster is not None else most_workers_here())
        _check_number("shards", self.shards, MOST_SHARDS)
        if self.split not in SPLITS:
            raise UsageError(f"split is {self.split!r}; give one of {', '.join(SPLITS)}")
        if not self.is_fleet and (self.shards is not None or self.split != "domain" or self.merge):
            raise UsageError("shards, split and merge are for several workers: give workers (-w 4), too")

    @property
    def is_fleet(self) -> bool:
        """Whether there are to be workers at all."""
        return self.workers is not None or self.cluster is not None

    @classmethod
    def of(cls, job: Job | None, **words: Any) -> Wanted:
        """Take it from the words of a call; what goes on with a fleet's `job` stays one, if with one worker."""
        if job is not None and job.options.get("shards") is not None:
            words = {"workers": None if words.get("cluster") else 1, "split": job.options.get("split")} | {
                word: value for word, value in words.items() if value is not None
            }
        return cls(**{word: value for word, value in words.items() if value is not None})

    @property
    def number(self) -> int:
        """How many workers."""
        return self.workers or os.cpu_count() or 1

    @property
    def cut(self) -> int:
        """How many shards a job that begins now has."""
        if self.shards is not None:
            return self.shards
        return self.number * (1 if self.split == "url" else SHARDS_A_WORKER)


def most_workers_here() -> int:
    """Return how many processes this machine is let start: more have nothing to run on."""
    return WORKERS_A_CORE * (os.cpu_count() or 1)


def _check_number(word: str, number: object, most: int) -> None:
    if number is None:
        return
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
        raise UsageError(f"{word} is {number!r}; give 1 to {most:,}, or leave it out")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """Where the shards write: `target` None: nowhere. `merges`: their parts become one output when all is done."""

    target: str | None = None
    format: str | None = None
    overwrite: bool = False
    rotate_bytes: int | None = None
    merges: bool = False

    def __post_init__(self) -> None:
        if self.target is not None and self.is_stored:
            self._check_stored(self.target)
        if self.merges and (self.target is None or (self.format or sinks.format_of(self.target)) == "folder"):
            raise UsageError("merge puts parts together in one file: name one, such as -o pages.jsonl")

    @property
    def is_stored(self) -> bool:
        """Whether it lies in a store, by its URL."""
        return self.target is not None and stores.is_url(self.target)

    def _check_stored(self, target: str) -> None:
        if target.endswith("/"):
            raise UsageError(f"{target} names no object: give one, such as {target}pages.jsonl.gz")
        if target.partition(":")[0] == "memory":
            raise UsageError(f"{target}: each worker has a memory of its own; name a store that all of them see")
        chosen = self.format or sinks.format_of(target)
        if chosen not in stored.FORMATS:
            raise UsageError(
                f"{target}: a store holds {', '.join(stored.FORMATS)}, not {chosen}, written in place; name it "
                "so, such as s3://bucket/pages.jsonl.gz, or give --format"
            )
        if self.merges and self.rotate_bytes is not None:
            raise UsageError(f"merge makes one object of {target}: leave --rotate (rotate_bytes) out, or --merge")

    @classmethod
    def of(cls, destination: Any, merges: bool) -> Output:
        """Take it from where an output is described: `target`, `format`, `overwrite`, `rotate_bytes`."""
        names = ("target", "format", "overwrite", "rotate_bytes")
        return cls(**{name: getattr(destination, name) for name in names}, merges=merges)

    def make_room(self) -> None:
        """Make sure that nothing stands where shards will write; with `overwrite` it is removed. Raises UsageError."""
        if self.target is None:
            return
        if self.is_stored:
            self._make_room_in_store(self.target)
            return
        sinks.make_room(self.target, self.format, self.overwrite)
        if os.path.isfile(self.target):
            os.unlink(self.target)

    def _make_room_in_store(self, target: str) -> None:
        place = Place(target)
        if place.lacks_folder():
            raise UsageError(f"cannot write {target}: its folder is missing; make it first")
        if place.is_folder():
            raise UsageError(f"{target} is a folder; name an object in it, such as {target}/pages.jsonl.gz")
        if stored.is_there(target):
            if not self.overwrite:
                raise exists(target)
            stored.remove(target)
