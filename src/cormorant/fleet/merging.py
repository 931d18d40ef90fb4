"""The parts that shards wrote, put together in one output when all is done: shard by shard."""

from __future__ import annotations

import os
from contextlib import closing

from cormorant import sinks
from cormorant.reading import read
from cormorant.sinks.naming import Naming, of_shards


def merge(target: str, format: str | None, rotate_bytes: int | None) -> None:
    """Write all outcomes of the parts to `target`, and put it on stable storage. The parts stay. Raises OutputError."""
    with closing(sinks.open_sink(target, format, overwrite=True, rotate_bytes=rotate_bytes)) as sink:
        for part in of_shards(target):
            for outcome in read(part):
                sink.write(outcome)
        sink.sync(complete=True)


def remove_parts(target: str) -> None:
    """Remove what was merged. Safe to call twice."""
    for part in of_shards(target):
        for path in Naming(part).present():
            os.unlink(path)
