"""Outcomes read back from what a sink wrote, whatever its format: one after another, bodies exact."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from cormorant import stores
from cormorant.errors import CormorantError, UsageError
from cormorant.messages import Failure, Page
from cormorant.sinks import format_of, module_of, stored
from cormorant.sinks.folder import INDEX
from cormorant.sinks.naming import Naming, of_shards


def read(path: str | os.PathLike[str], format: str | None = None) -> Iterator[Page | Failure]:
    """Yield each outcome of an output in the order of writing: of a file with all its parts, or of a folder.

    What a fleet wrote is read shard by shard, by the name that it was given, also from a store: `s3://bucket/x.jsonl`.

    The format is chosen by the name, as for writing, or given. What was read back equals what was written but for
    two things: `fetched_at` has milliseconds, and `data` is what JSON makes of it. The name of a single part
    (`x-00001.jsonl`) gives that part alone. Memory holds one outcome (of Parquet some hundreds).

    Raises UsageError when there is no such output, and where it is damaged, after what stands before; MissingPackage
    when the format needs one.
    """
    name = os.fspath(path)
    if name == "-":
        raise UsageError("outcomes cannot be read from stdin; name a file or a folder")
    read_file = module_of(format or format_of(name)).read
    if stores.is_url(name):
        return _outcomes(stored.read(name, read_file))
    return _outcomes((file, read_file(file)) for file in _files(name))


def _files(name: str) -> list[str]:
    shards = of_shards(name)
    if os.path.isdir(name):
        if not shards and not os.path.isfile(os.path.join(name, INDEX)):
            raise UsageError(f"{name} holds no {INDEX}; name a folder that cormorant wrote")
        return shards or [name]
    found = [os.fspath(part) for one in (name, *shards) for part in Naming(one).complete()]
    if not found:
        if os.path.isdir(name + stored.SHARDS):
            raise UsageError(f"{name} was written to as to a store; name it so: file://{os.path.abspath(name)}")
        raise UsageError(f"{name} does not exist; name an output that cormorant wrote")
    return found


def _outcomes(files: Iterable[tuple[str, Iterator[Page | Failure]]]) -> Iterator[Page | Failure]:
    """Yield the outcomes of all files, given with their names."""
    for name, outcomes in files:
        count = 0
        while True:
            try:
                outcome = next(outcomes, None)
            except CormorantError:
                raise
            except Exception as error:  # a reader of another's making raises what it likes for bytes it dislikes
                raise UsageError(f"{name}: what follows outcome {count:,} cannot be read: {_words(error)}") from error
            if outcome is None:
                break
            count += 1
            yield outcome


def _words(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it is no outcome of ours ({error} is missing)"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
