"""The parts that shards wrote, put together in one output when all is done: shard by shard."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from cormorant import sinks, stores
from cormorant.messages import Outcome
from cormorant.reading import read
from cormorant.sinks import stored
from cormorant.sinks.files import sync_path
from cormorant.sinks.naming import Naming, of_shards


def merge(target: str, format: str | None, rotate_bytes: int | None) -> None:
    """Write all outcomes of the parts to `target`, and put it on stable storage. The parts stay. Raises OutputError.

    It is made in a folder of its own and moved when it is whole, so that a merge that is killed can be made again.
    """
    if stores.is_url(target):
        if stored.is_merged(target):
            return
        with tempfile.TemporaryDirectory(prefix="cormorant-merge-") as folder:
            path = Path(folder, target.rpartition("/")[2])
            _write(path, read(target, format), format, None)
            stored.put_merged(target, path)
        return
    place = Path(target)
    beside = place.with_name(f".{place.name}.merging")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    outcomes = (outcome for part in of_shards(target) for outcome in read(part, format))
    _write(beside / place.name, outcomes, format, rotate_bytes)
    for made in Naming(beside / place.name).present():
        made.replace(place.with_name(made.name))
    sync_path(place.parent)
    beside.rmdir()


def _write(path: Path, outcomes: Iterable[Outcome], format: str | None, rotate_bytes: int | None) -> None:
    with closing(sinks.open_sink(path, format, rotate_bytes=rotate_bytes)) as sink:
        for outcome in outcomes:
            sink.write(outcome)
        sink.sync(complete=True)


def remove_parts(target: str) -> None:
    """Remove what was merged. Safe to call twice."""
    if stores.is_url(target):
        stored.remove_parts(target)
        return
    for part in of_shards(target):
        for path in Naming(part).present():
            os.unlink(path)
