"""What every worker of a fleet is told before it begins: the same words, as one value that travels."""

from __future__ import annotations

import dataclasses
import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cormorant import engines, stores
from cormorant.errors import UsageError
from cormorant.fetching import Parse
from cormorant.jobs import shard_folder
from cormorant.opening import Crawling, Fetching
from cormorant.options import AUTO, Options

PUBLISH_SECONDS = 10.0

# Engines that start processes of their own: the fleet has its own already.
IN_PROCESSES = ("process", "pool")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One run of a fleet. `words` are the keyword arguments of `fetch` or (`is_crawl`) of `crawl`.

    `folder` holds the shards' journals; they are `is_lasting` where it is a job. `streams`: outcomes are handed to the
    driver; where it is a job they are committed when the caller has asked for what follows them. `is_leased`: a worker
    that does not hear the driver gives up its shards. `target` is where outcomes are written (`sinks.naming.of_shard`),
    None: nowhere; `merges`: into one output at the end. Where it `is_stored`, the shards' journals lie there, too, and
    are published after `publish_seconds` (`snapshots.py`); `folder` is then scratch of the driver's machine.
    """

    is_crawl: bool
    words: Mapping[str, Any]
    parse: Parse | None
    since: str | None
    split: str
    shards: int
    folder: str
    is_lasting: bool
    streams: bool
    target: str | None
    format: str | None
    overwrite: bool
    rotate_bytes: int | None
    merges: bool = False
    is_leased: bool = False
    publish_seconds: float = dataclasses.field(default_factory=lambda: PUBLISH_SECONDS)

    def checked(self) -> Options:
        """Return the options of a worker. Raises UsageError for words, or an engine, that make no sense."""
        check_engine(self.words.get("engine", Options().engine))
        return self._station(None).options

    def station(self) -> Fetching | Crawling:
        """Return what makes the schedulers and the worker."""
        return self._station(self.since)

    def _station(self, since: str | None) -> Fetching | Crawling:
        if self.is_crawl:
            return Crawling(self._of_a_shard, self.parse)
        sharing = self.shards if self.split == "url" else 1
        return Fetching(Options.of(self._of_a_shard), self.parse, since, sharing)

    @property
    def is_stored(self) -> bool:
        """Whether shards write to a store, by its URL."""
        return self.target is not None and stores.is_url(self.target)

    @property
    def max_pages(self) -> int | None:
        """Most pages of a crawl, of all shards together."""
        most: int | None = self.words.get("max_pages")
        return most

    @property
    def _of_a_shard(self) -> dict[str, Any]:
        """The words for one shard. `max_pages` is of all together (`budget.py`); shared hosts are divided."""
        words = {name: value for name, value in self.words.items() if name != "max_pages"}
        if self.split == "url":
            words["per_host"] = per_host_of(words, self.shards)
        return words

    def pickled(self) -> bytes:
        """Return it as bytes. Raises UsageError, with the fix, when the parse function cannot travel."""
        try:
            return pickle.dumps(self)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                f"workers are other processes, and this parse function cannot travel to them ({error}); define it at "
                "the top level of a module, or leave workers out"
            ) from None

    def shard_folder(self, shard: int) -> Path:
        """Return where the journal of a shard lies."""
        return shard_folder(Path(self.folder), shard)


def per_host_of(words: Mapping[str, Any], shards: int) -> int:
    """Return each shard's part of `per_host` where all share all hosts. Raises UsageError when there is too little."""
    per_host = int(words.get("per_host", 8))
    if per_host and per_host < shards:
        raise UsageError(
            f"split by url divides per_host among {shards} shards, and {per_host} is too little: pass --per-host "
            f"{shards} (per_host={shards}) or more, or fewer workers"
        )
    return per_host // shards


def check_engine(engine: str) -> None:
    """Raise UsageError for an engine that makes no sense inside a worker."""
    if engine in IN_PROCESSES:
        raise UsageError(
            f"engine {engine!r} with workers would be processes in processes; take greenlet, gevent, asyncio or thread "
            "(processes x coroutines, or x threads), or leave workers out"
        )
    if engine == AUTO:
        raise UsageError("engine 'auto' chooses for one worker; name an engine, such as greenlet, or leave workers out")
    engines.require(engine)


def unpickled(told: bytes) -> Plan:
    """Return the plan in a worker."""
    path, pickled = pickle.loads(told)
    sys.path[:0] = [one for one in path if one not in sys.path]
    plan: Plan = pickle.loads(pickled)
    return plan


def told(plan: Plan) -> bytes:
    """Return what a worker is told: where modules are found comes first, for the function is found by them."""
    return pickle.dumps(([one or os.getcwd() for one in sys.path], plan.pickled()))
