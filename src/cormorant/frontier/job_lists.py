"""Lists of input as a job remembers them: where it stopped reading, and by what it knows a list again.

A list is not copied. Its lines are remembered by position, so it must still be the list that it was.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from typing import Any

import msgspec

from cormorant import stores
from cormorant.errors import UsageError

LOOKED_AT_BYTES = 64 * 1024  # of the beginning, and of the end
STDIN = "-"


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Behind the last line that was offered: `line` lines of list number `source` (from 0) were read.

    `offset` (bytes) is where line `offset_line + 1` begins, at or before it: reading goes on there and leaves out the
    lines up to `line`. Where a list cannot be entered in the middle (it is compressed) both are 0. `given` values from
    the command line, which come before all lists, were handed over; `handed` counts them and the lines of every list.
    `is_broken`: the list could not be read on from here.
    `digest` is that of the values, where a Python caller gave them (`listed.py`).
    """

    source: int = 0
    line: int = 0
    offset: int = 0
    offset_line: int = 0
    given: int = 0
    handed: int = 0
    digest: str = ""
    is_broken: bool = False


class ListFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a list is known by."""

    name: str
    bytes: int
    modified_ns: int
    beginning: str
    end: str

    @classmethod
    def of(cls, name: str) -> ListFacts:
        """Look at a list. Raises UsageError for one that cannot be read a second time."""
        if name == STDIN:
            raise UsageError("a job cannot go on with what came from stdin; save the list to a file, and give -i FILE")
        if stores.is_url(name):
            with stores.Reading(name) as stored:
                if not stored.seekable():
                    raise UsageError(f"a job cannot enter {name} in the middle; save the list to a file, and give that")
                return cls._looked_at(name, stored, stored.size, stored.modified_ns)
        try:
            with open(name, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise UsageError(f"a job cannot read {name} a second time; save the list to a file, and give that")
                return cls._looked_at(os.path.abspath(name), file, status.st_size, status.st_mtime_ns)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read the list {name}: {getattr(error, 'strerror', None) or error}") from error

    @classmethod
    def _looked_at(cls, name: str, file: Any, size: int, modified_ns: int) -> ListFacts:
        beginning = file.read(LOOKED_AT_BYTES)
        file.seek(max(0, size - LOOKED_AT_BYTES))
        end = file.read(LOOKED_AT_BYTES)
        return cls(name=name, bytes=size, modified_ns=modified_ns, beginning=_digest(beginning), end=_digest(end))

    def change_since(self, before: ListFacts) -> str | None:
        """Say in words how the list differs from what it was, or None."""
        if self.bytes != before.bytes:
            return f"had {before.bytes:,} bytes and has {self.bytes:,}"
        if (self.beginning, self.end) != (before.beginning, before.end):
            return "holds other lines"
        if self.modified_ns != before.modified_ns:
            return "was written to"
        return None


def check_unchanged(before: Sequence[ListFacts], now: Sequence[ListFacts]) -> None:
    """Raise UsageError, with the way out, when a list is not what it was. Their names are compared elsewhere."""
    for old, new in zip(before, now, strict=False):
        change = new.change_since(old)
        if change is not None:
            raise UsageError(
                f"the list {new.name} {change} since the job was begun, which remembers its lines by their place; "
                "if the lines read so far still stand where they stood, pass --accept-changed-list"
            )


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
