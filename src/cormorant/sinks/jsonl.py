"""JSON Lines: one record a line, in a file or on a stream such as stdout."""

from __future__ import annotations

import os
from typing import BinaryIO

from cormorant.messages import Outcome, Result
from cormorant.sinks import records
from cormorant.sinks.lines import LineFile


class JsonLines:
    """Writes a record a line. A path is opened at once and refused when it exists, unless `overwrite`.

    A binary stream is flushed but not closed; its BrokenPipeError passes unchanged.
    """

    def __init__(self, target: str | os.PathLike[str] | BinaryIO, overwrite: bool = False) -> None:
        self._file = LineFile(target, overwrite)

    def __repr__(self) -> str:
        return f"<JsonLines to {self._file!r}>"

    def write(self, outcome: Outcome | Result) -> None:
        """Append one outcome or one Result of `map`."""
        self._file.append(records.line(outcome))

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close. Safe to call twice."""
        self._file.close()
