"""Where outcomes go. `open_sink` chooses by the name of the target; each sink is one file here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from cormorant.errors import UsageError
from cormorant.interfaces import Sink

FORMATS = ("jsonl", "folder")
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl"}


def open_sink(target: str | os.PathLike[str], format: str | None = None, overwrite: bool = False) -> Sink:
    """Open the sink that `target` names: `-` is stdout, `x.jsonl` a file, `x/` or a folder that exists a folder.

    `format` (one of `FORMATS`) overrides the suffix. Raises UsageError when the target exists and `overwrite` is
    not set, or when nothing says what to write; OutputError when it cannot be written.
    """
    name = os.fspath(target)
    chosen = format or _by_name(name)
    if chosen not in _OPENERS:
        raise UsageError(f"format {chosen!r} is not known; known are {', '.join(FORMATS)}")
    return _OPENERS[chosen](name, overwrite)


def _by_name(name: str) -> str:
    if name == "-":
        return "jsonl"
    if name.endswith("/") or os.path.isdir(name):
        return "folder"
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in _SUFFIXES:
        known = ", ".join(_SUFFIXES)
        raise UsageError(
            f"cannot tell from {name!r} what to write; end it in {known} or / (a folder), use - for stdout, "
            f"or pass --format {' or '.join(FORMATS)}"
        )
    return _SUFFIXES[suffix]


def _open_jsonl(name: str, overwrite: bool) -> Sink:
    from cormorant.sinks.jsonl import JsonLines

    return JsonLines(sys.stdout.buffer if name == "-" else name, overwrite)


def _open_folder(name: str, overwrite: bool) -> Sink:
    from cormorant.sinks.folder import Folder

    if name == "-":
        raise UsageError("a folder cannot go to stdout; name one, such as -o pages/")
    return Folder(name, overwrite)


_OPENERS: dict[str, Callable[[str, bool], Sink]] = {"jsonl": _open_jsonl, "folder": _open_folder}
