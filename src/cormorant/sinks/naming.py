"""The names of an output's files: `pages.jsonl`, then `pages-00001.jsonl`, `pages-00002.jsonl` and so on.

A fleet's shards write to a target each: `pages-s0003.jsonl`, or the folder `pages/s0003/`.
Only what matches these names is ever removed or replaced. A part that is not complete before it is renamed
(Parquet) is called `NAME.partial` until then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from cormorant.errors import OutputError
from cormorant.interfaces import Committed, Part
from cormorant.sinks import files

PARTIAL = ".partial"
MOST_PARTS = 99_999  # always five digits: `pages-20261125.jsonl` is somebody's, not ours
_SIDE_FILE = re.compile(r"-(?:wal|shm|journal)\Z")  # of a SQLite database
_SUFFIX = re.compile(r"(?:\.(?:jsonl|ndjson|csv|warc))?\.[A-Za-z0-9]+\Z")


def suffix_of(target: str) -> str:
    """Return by what a name says how it is written, such as `.jsonl.gz`; empty where it does not."""
    suffix = _SUFFIX.search(os.path.basename(target), 1)
    return suffix[0] if suffix else ""


def of_shard(target: str, shard: int) -> str:
    """Return the target of one shard's own output beside or, where it is a folder, in `target`."""
    if target.endswith("/") or os.path.isdir(target):
        return os.path.join(target, f"s{shard:04d}", "")
    folder, name = os.path.split(target)
    suffix = _SUFFIX.search(name, 1)
    stem = name[: suffix.start()] if suffix else name
    return os.path.join(folder, f"{stem}-s{shard:04d}{suffix[0] if suffix else ''}")


def of_shards(target: str) -> list[str]:
    """Return the targets of the shards' outputs that are there, in the order of their numbers."""
    folder, name = os.path.split(of_shard(target, 0).rstrip("/"))
    before, _, after = name.rpartition("s0000")
    ours = re.compile(rf"({re.escape(before)}s\d{{4}})(?:-\d{{5}})?({re.escape(after)})(?:{re.escape(PARTIAL)})?")
    try:
        found = {match[1] + match[2] for one in os.listdir(folder or ".") if (match := ours.fullmatch(one))}
    except (FileNotFoundError, NotADirectoryError):
        return []
    end = "/" if target.endswith("/") or os.path.isdir(target) else ""
    return [os.path.join(folder, one) + end for one in sorted(found)]


class Naming:
    """The names that belong to one target, whose parts all lie in its folder."""

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self.target = Path(target)
        name = self.target.name
        suffix = _SUFFIX.search(name, 1)
        self._stem, self._suffix = (name[: suffix.start()], suffix[0]) if suffix else (name, "")
        numbered = rf"{re.escape(self._stem)}(?:-(\d{{5}}))?{re.escape(self._suffix)}"
        self._ours = re.compile(rf"{numbered}(?:{re.escape(PARTIAL)})?(?:-wal|-shm|-journal)?")

    @property
    def folder(self) -> Path:
        """Where all parts lie."""
        return self.target.parent

    def path(self, number: int) -> Path:
        """Return the path of a part; number 0 is the target itself. Raises OutputError for one too many."""
        if number > MOST_PARTS:
            raise OutputError(
                f"cannot write part {number:,} of {self.target}; --rotate (rotate_bytes) at a larger size"
            )
        return self.folder / f"{self._stem}-{number:05d}{self._suffix}" if number else self.target

    def number(self, name: str) -> int:
        """Return the number of the part with this name."""
        match = self._ours.fullmatch(name)
        return int(match[1] or 0) if match else 0

    def present(self) -> list[Path]:
        """Return the files of this output that are there, in the order of their numbers. Raises OutputError."""
        try:
            names = [name for name in os.listdir(self.folder) if self._ours.fullmatch(name)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise files.cannot_write(self.target, error) from error
        return [self.folder / name for name in sorted(names, key=lambda name: (self.number(name), name))]

    def complete(self) -> list[Path]:
        """Return the complete parts that are there, in order: no partial ones, no side files of a database."""
        return [path for path in self.present() if path == self.path(self.number(path.name))]

    def make_room(self, overwrite: bool) -> None:
        """Remove an earlier output, all but the target itself, if that is allowed. Raises UsageError if it is not."""
        there = self.present() + [part for one in of_shards(str(self.target)) for part in Naming(one).present()]
        if there and not overwrite:
            raise files.exists(there[0])
        for path in there:
            files.refuse_while_written(path)
        for path in there:
            if path != self.target:
                files.remove(path)

    def keep_only(self, committed: Committed) -> None:
        """Remove the files of this output that were never committed. Raises OutputError where it is another output."""
        kept = {part.name for part in committed.parts}
        for name in kept:
            if not self._ours.fullmatch(name):
                raise OutputError(f"cannot go on with {self.target}: the job wrote {name}; name the same output")
        for path in self.present():
            if _SIDE_FILE.sub("", path.name) not in kept:
                files.remove(path)

    def next_number(self, committed: Committed) -> int:
        """Return the number of the first part that was not committed."""
        return 1 + max((self.number(part.name) for part in committed.parts), default=-1)


def cut_back_sealed(folder: Path, parts: Iterable[Part]) -> list[Part]:
    """Cut the sealed ones among `parts` back to what was committed, and return them. Raises OutputError."""
    sealed = [part for part in parts if part.is_sealed]
    for part in sealed:
        files.cut_back(part, folder).close()
    return sealed
