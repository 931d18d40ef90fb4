"""CSV by RFC 4180: a head line, then a row an outcome, in a file (compressed by its suffix) or on a stream.

Laws: the cells are those of `rows.py`, then `body` (text, where that loses nothing) or `body_base64`; None is an
empty cell. A cell that a spreadsheet would take for a formula (`=`, `+`, `-`, `@`, tab or line break first), and one
that begins with `'`, has a `'` put before it: so no formula runs, and to read a cell exactly a leading `'` is dropped.
"""

from __future__ import annotations

import base64
import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

from cormorant.content import charset
from cormorant.interfaces import Committed
from cormorant.messages import Outcome, Result
from cormorant.sinks import packing, rows
from cormorant.sinks.output import growing, sync

COLUMNS = (*rows.COLUMNS, "body", "body_base64")
DANGEROUS = tuple("=+-@\t\r\n'")
LONGEST_CELL = 2**31 - 1
NEVER_NONE = ("url", "input", "final_url")
QUOTE = '"'
TRUTH = {True: "true", False: "false"}

_SPECIAL = re.compile(r'[",\r\n]')


class Csv:
    """Writes a row an outcome. A path is opened at once and refused when it exists, unless `overwrite`.

    Results of `map` are refused: their items and values are no columns.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        overwrite: bool = False,
        *,
        rotate_bytes: int | None = None,
        resume: Committed | None = None,
    ) -> None:
        self._file = growing(target, overwrite, rotate_bytes=rotate_bytes, resume=resume, head=_head)

    def __repr__(self) -> str:
        return f"<Csv to {self._file!r}>"

    def write(self, outcome: Outcome | Result) -> None:
        """Append one outcome."""
        rows.refuse(outcome, self._file.name)
        self._file.append(_line(map(_cell, _values(cast(Outcome, outcome)))))

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
    """Yield each outcome of one file. Raises ValueError or KeyError for a row that is none of ours."""
    csv.field_size_limit(LONGEST_CELL)  # it is the process's; its default cuts cells of 128 KiB
    with packing.opened(path) as raw, io.TextIOWrapper(raw, "utf-8", newline="") as text:
        for row in csv.DictReader(text, strict=True):
            cells: dict[str, Any] = {name: _value(name, cell) for name, cell in row.items()}
            yield rows.outcome(cells, _body(cells))


def _values(outcome: Outcome) -> Iterator[Any]:
    """Return the values of a row. A text with NUL, at which many readers of CSV stop, counts as binary."""
    row = rows.of(outcome)
    text = charset.decode_exact(outcome.body, row["charset"]) if row["charset"] and outcome.body else ""
    is_text = text is not None and "\0" not in text and row["charset"] is not None
    yield from row.values()
    yield text if is_text else None
    yield None if is_text else base64.b64encode(outcome.body).decode()


def _body(cells: dict[str, Any]) -> bytes | None:
    if cells["body_base64"] is not None:
        return base64.b64decode(cells["body_base64"])
    return None if cells["body"] is None else charset.encode(cells["body"], cells["charset"])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return TRUTH[value]
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(DANGEROUS) else text


def _value(name: str, cell: str) -> str | int | None:
    text = cell.removeprefix("'")
    if not text:
        return "" if name in NEVER_NONE else None
    return int(text) if name in rows.NUMBERS else text


def _line(cells: Iterable[str]) -> bytes:
    """Write a row by RFC 4180; csv.writer looks at every character by itself, which takes ten times as long."""
    row = (f'"{cell.replace(QUOTE, QUOTE * 2)}"' if _SPECIAL.search(cell) else cell for cell in cells)
    return f"{','.join(row)}\r\n".encode()


def _head(_: str) -> bytes:
    return _line(COLUMNS)
