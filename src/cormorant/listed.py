"""The URLs that a Python caller gives, as numbered entries: a job goes on behind those that it was given before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from cormorant.errors import UsageError
from cormorant.frontier.job_lists import Position
from cormorant.interfaces import Entry


class Listed(Iterator[Entry]):
    """Yields (text, number from 1). `start` is the `position` of an earlier run over the same texts.

    What was given then is left out, and must be what it was: else the texts behind it would not be those that are
    missing. Raises UsageError where it is not.
    """

    def __init__(self, texts: Iterable[object], start: Position) -> None:
        self._texts = iter(texts)
        self._count = 0
        self._digest = hashlib.blake2b(digest_size=16)
        for _ in range(start.given):
            if next(self, None) is None:
                break
        if start.given and self.position != start:
            raise UsageError(
                f"the list does not begin with the {start.given:,} URLs that the job was given before; give it the "
                "same list in the same order, or begin another job folder"
            )

    def __next__(self) -> Entry:
        """Return the next entry."""
        line = as_line(next(self._texts))
        self._count += 1
        self._digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
        return line, self._count

    @property
    def position(self) -> Position:
        """Behind the last entry that was returned."""
        return Position(given=self._count, handed=self._count, digest=self._digest.hexdigest())


def as_line(text: object) -> str:
    """Return an entry as a line: one of a file without its end, what is no text (NaN, None) as what it looks like."""
    return text.rstrip("\r\n") if isinstance(text, str) else str(text)
