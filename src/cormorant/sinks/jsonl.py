"""JSON Lines: one record a line, in a file (compressed by its suffix: `.gz`, `.zst`) or on a stream such as stdout."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import BinaryIO

from cormorant.interfaces import Committed
from cormorant.messages import Outcome, Result
from cormorant.sinks import packing, records
from cormorant.sinks.output import growing, sync


class JsonLines:
    """Writes a record a line. A path is opened at once and refused when it exists, unless `overwrite`.

    A binary stream is flushed but not closed; its BrokenPipeError passes unchanged.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        overwrite: bool = False,
        *,
        rotate_bytes: int | None = None,
        resume: Committed | None = None,
    ) -> None:
        self._file = growing(target, overwrite, rotate_bytes=rotate_bytes, resume=resume)

    def __repr__(self) -> str:
        return f"<JsonLines to {self._file!r}>"

    def write(self, outcome: Outcome | Result) -> None:
        """Append one outcome or one Result of `map`."""
        self._file.append(records.line(outcome))

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._file.flush()

    def sync(self, complete: bool = False) -> Committed:
        """Put everything written so far on stable storage, and say what the output holds."""
        return sync(self._file)

    def close(self) -> None:
        """Flush and close. Safe to call twice."""
        self._file.close()


def read(path: str) -> Iterator[Outcome]:
    """Yield each outcome of one file. Raises ValueError or KeyError for a line that is no record."""
    with packing.opened(path) as lines:
        for line in lines:
            record = json.loads(line)
            yield records.outcome(record, records.body(record))
