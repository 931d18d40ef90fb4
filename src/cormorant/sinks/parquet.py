"""Parquet: columns with types of their own, row groups by bytes; how they are written says `parquet_file.py`.

Laws: a file bears its name only when it is complete: until then it is `NAME.partial`. So without `sync` a part ends at
`rotate_bytes`; whoever syncs gets None until there is as much, and then the part ends with the very page that was
written last. Row groups are made and compressed in a thread, one waiting at most: a `write` that finds it taken waits.
So memory holds three row groups.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

from cormorant.errors import OutputError
from cormorant.interfaces import Committed, Part
from cormorant.messages import Outcome, Result
from cormorant.sinks import rows
from cormorant.sinks.behind import Behind
from cormorant.sinks.naming import Naming, cut_back_sealed
from cormorant.sinks.parquet_file import ParquetFile, Row, row
from cormorant.sinks.parquet_file import read as read

GROUP_BYTES = 32 * 1024 * 1024
GROUP_ROWS = 8_192
PART_BYTES = 256 * 1024 * 1024
ROW_BYTES = 1_000  # of a row without its body, roughly


class Parquet:
    """Writes a row an outcome. Refused when the target exists, unless `overwrite`; `rotate_bytes` is 256 MiB if None.

    Results of `map` are refused: their items and values are no columns.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        overwrite: bool = False,
        *,
        rotate_bytes: int | None = None,
        resume: Committed | None = None,
    ) -> None:
        self._naming = Naming(target)
        self._part_bytes = PART_BYTES if rotate_bytes is None else rotate_bytes
        self._waiting: list[Row] = []
        self._waiting_bytes = self._count = 0
        self._ends_at_sync = resume is not None
        self._sealed: list[Part] = []
        self._closed = False
        self._trouble: OutputError | None = None
        self._number = self._begin(overwrite) if resume is None else self._go_on(resume)
        self._file = ParquetFile(self._naming.path(self._number))
        self._behind = Behind("cormorant-parquet")

    def __repr__(self) -> str:
        return f"<Parquet to {self._file!r}{', closed' if self._closed else ''}>"

    def write(self, outcome: Outcome | Result) -> None:
        """Append one outcome."""
        self._check()
        rows.refuse(outcome, str(self._naming.target))
        outcome = cast(Outcome, outcome)
        self._waiting.append(row(outcome))
        self._waiting_bytes += ROW_BYTES + len(outcome.body)
        self._count += 1
        if self._waiting_bytes >= GROUP_BYTES or len(self._waiting) >= GROUP_ROWS:
            self._hand_over()
        if self._is_grown and not self._ends_at_sync:
            self._seal()

    def flush(self) -> None:
        """Do nothing but tell of trouble: rows are there once their file is complete."""
        if not self._closed:
            self._check()

    def sync(self, complete: bool = False) -> Committed | None:
        """Seal the part when it has grown to its size, or is to be `complete`; None where it is kept open."""
        self._check()
        self._ends_at_sync = True
        if self._count and not (complete or self._is_grown):
            return None
        if self._count:
            self._seal()
        self._wait()
        return Committed(tuple(self._sealed))

    def close(self) -> None:
        """Seal the last part. Safe to call twice."""
        if self._closed:
            return
        try:
            if self._trouble is None:
                self._finish()
        finally:
            self._closed = True
            self._behind.close()
            self._file.drop()

    @property
    def _is_grown(self) -> bool:
        return self._file.length + self._waiting_bytes >= self._part_bytes

    def _check(self) -> None:
        if self._closed:
            raise OutputError(f"{self._naming.target} is closed; nothing more can be written")
        if self._trouble is not None:
            raise OutputError(str(self._trouble)) from self._trouble

    def _begin(self, overwrite: bool) -> int:
        self._naming.make_room(overwrite)
        return 0

    def _go_on(self, resume: Committed) -> int:
        self._naming.keep_only(resume)
        self._sealed = cut_back_sealed(self._naming.folder, resume.parts)
        return self._naming.next_number(resume)

    def _hand_over(self) -> None:
        group, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if group:
            self._do(self._file.append, group)

    def _seal(self) -> None:
        """Complete the part, and begin the next one."""
        self._hand_over()
        self._do(self._complete, self._file)
        self._number += 1
        self._count = 0
        self._file = ParquetFile(self._naming.path(self._number))

    def _complete(self, file: ParquetFile) -> None:
        file.seal()
        self._sealed.append(Part(file.path.name, file.length, True))

    def _finish(self) -> None:
        """Complete the last part. One without rows is made only where there is no other."""
        self._wait()
        if self._count or not self._sealed:
            self._seal()
            self._wait()

    def _do(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            self._behind.do(call, *arguments)
        except OutputError as error:
            self._trouble = error
            raise

    def _wait(self) -> None:
        try:
            self._behind.wait()
        except OutputError as error:
            self._trouble = error
            raise
