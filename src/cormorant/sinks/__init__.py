"""Where outcomes go. `open_sink` chooses by the name of the target; each sink is one file here."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any, NamedTuple

from cormorant import stores
from cormorant.errors import UsageError
from cormorant.interfaces import Committed, DurableSink


class _Format(NamedTuple):
    """Where a format lives, and by which names it is chosen."""

    module: str
    sink: str
    suffixes: tuple[str, ...]
    is_compressible: bool = False


_FORMATS = {
    "jsonl": _Format("jsonl", "JsonLines", (".jsonl", ".ndjson"), is_compressible=True),
    "csv": _Format("csv", "Csv", (".csv",), is_compressible=True),
    "warc": _Format("warc", "Warc", (".warc",), is_compressible=True),
    "parquet": _Format("parquet", "Parquet", (".parquet",)),
    "sqlite": _Format("sqlite", "Sqlite", (".sqlite", ".db")),
    "folder": _Format("folder", "Folder", ()),
}
_TO_STDOUT = ("jsonl", "csv")
_LOCAL = "one worker writes local files; name a path, or (fetch, crawl) add -w 1 (workers=1) or more"

FORMATS = tuple(_FORMATS)


def open_sink(
    target: str | os.PathLike[str],
    format: str | None = None,
    overwrite: bool = False,
    *,
    rotate_bytes: int | None = None,
    resume: Committed | None = None,
) -> DurableSink:
    """Open the sink that `target` names: `-` is stdout, `x.jsonl` a file, `x/` or a folder that exists a folder.

    `format` (one of `FORMATS`) overrides the suffix. A part that has grown to `rotate_bytes` is followed by
    `x-00001.jsonl` and so on. `resume` goes on with an output of which so much was committed. Raises UsageError when
    the target exists and `overwrite` is not set, or when nothing says what to write; OutputError when it cannot be
    written; MissingPackage when the format needs one.
    """
    name = os.fspath(target)
    stores.refuse(name, _LOCAL)
    chosen = format or format_of(name)
    module = module_of(chosen)
    if rotate_bytes is not None and rotate_bytes <= 0:
        raise UsageError(f"rotate_bytes is {rotate_bytes}; give the bytes a part may have, such as 1_000_000_000")
    if name == "-":
        return _to_stdout(chosen, rotate_bytes, resume)
    sink = getattr(module, _FORMATS[chosen].sink)
    opened: DurableSink = sink(name, overwrite, rotate_bytes=rotate_bytes, resume=resume)
    return opened


def make_room(target: str | os.PathLike[str], format: str | None, overwrite: bool) -> None:
    """Make sure that nothing stands where `target` goes; what does is removed with `overwrite`, else a UsageError.

    For a job, which has to know that it may begin its output before the output is there.
    """
    stores.refuse(os.fspath(target), _LOCAL)
    if (format or format_of(os.fspath(target))) == "folder":
        from cormorant.sinks.folder import make_ready

        make_ready(target, overwrite)
        return
    from cormorant.sinks.naming import Naming

    Naming(target).make_room(overwrite)


def format_of(name: str) -> str:
    """Return the format that a target's name chooses. Raises UsageError when it chooses none."""
    if name == "-":
        return "jsonl"
    if name.endswith("/") or os.path.isdir(name):
        return "folder"
    lowered = name.lower()
    plain = lowered.removesuffix(".gz").removesuffix(".zst")
    for format, facts in _FORMATS.items():
        if (plain if facts.is_compressible else lowered).endswith(facts.suffixes or "\0"):
            return format
    known = ", ".join(suffix for facts in _FORMATS.values() for suffix in facts.suffixes)
    raise UsageError(
        f"cannot tell from {name!r} what to write; end it in {known} or / (a folder), use - for stdout, "
        f"or pass --format {' or '.join(FORMATS)}"
    )


def module_of(format: str) -> ModuleType:
    """Import the module of a format: its sink, and `read`. Raises UsageError for one that is not known."""
    if format not in _FORMATS:
        raise UsageError(f"format {format!r} is not known; known are {', '.join(FORMATS)}")
    return importlib.import_module(f"cormorant.sinks.{_FORMATS[format].module}")


def _to_stdout(format: str, rotate_bytes: int | None, resume: Committed | None) -> DurableSink:
    if format == "folder":
        raise UsageError("a folder cannot go to stdout; name one, such as -o pages/")
    if format not in _TO_STDOUT:
        raise UsageError(f"{format} cannot go to stdout; name a file, such as -o pages{_FORMATS[format].suffixes[0]}")
    sink: Any = getattr(module_of(format), _FORMATS[format].sink)
    opened: DurableSink = sink(sys.stdout.buffer, rotate_bytes=rotate_bytes, resume=resume)
    return opened
