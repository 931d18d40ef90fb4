"""What a crawl saw and left out, as JSON Lines: `url`, `reason`, `source` (the page it stood on) and `depth`."""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from cormorant.messages import LeftOut
from cormorant.sinks.lines import LineFile

_encode = msgspec.json.Encoder().encode


class LeftOutFile:
    """Writes a line for each URL that was left out. The path is opened at once, and refused when it exists."""

    def __init__(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        self._file = LineFile(path, overwrite)

    def write(self, left_out: Iterable[LeftOut]) -> None:
        """Append what was left out. Raises OutputError."""
        for one in left_out:
            self._file.append(_encode(one) + b"\n")

    def close(self) -> None:
        """Flush and close. Safe to call twice."""
        self._file.close()
