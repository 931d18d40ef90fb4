"""What a crawl saw and left out, as JSON Lines: `url`, `reason`, `source` (the page it stood on) and `depth`."""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from cormorant.interfaces import Committed
from cormorant.messages import LeftOut
from cormorant.sinks.output import growing, sync

_encode = msgspec.json.Encoder().encode


class LeftOutFile:
    """Writes a line for each URL that was left out. The path is opened at once, and refused when it exists.

    With `resume` it is cut back to what was committed, as an output is.
    """

    def __init__(
        self, path: str | os.PathLike[str], overwrite: bool = False, *, resume: Committed | None = None
    ) -> None:
        self._file = growing(path, overwrite, resume=resume)

    def write(self, left_out: Iterable[LeftOut]) -> None:
        """Append what was left out. Raises OutputError."""
        for one in left_out:
            self._file.append(_encode(one) + b"\n")

    def sync(self) -> Committed:
        """Put everything written so far on stable storage, and say how much there is."""
        return sync(self._file)

    def close(self) -> None:
        """Flush and close. Safe to call twice."""
        self._file.close()
