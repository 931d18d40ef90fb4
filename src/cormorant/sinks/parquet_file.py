"""One Parquet file: its schema, outcomes as rows of it, and its way to stable storage. Uses pyarrow.

Laws: the columns are the fields of a record (`docs/reference.md`) with types of their own; `body` are the bytes; `data`
is JSON; `exact` is null, except where a record holds lone surrogates, which no UTF-8 can: then texts show their numbers
instead, and `exact` holds the whole record as JSON. A column at a time is converted, so that no other thread waits
long for Python's lock.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cormorant.errors import MissingPackage
from cormorant.messages import Found, Outcome, Page, Redirect, Timings
from cormorant.sinks import files, records
from cormorant.sinks.naming import PARTIAL
from cormorant.sinks.records import Record

BATCH_ROWS = 256

Row = tuple[Record, bytes | None, str | None]  # the record, its body, and `exact`


def row(outcome: Outcome) -> Row:
    """Describe an outcome as a row, in texts that UTF-8 can hold."""
    record = records.presentable(outcome)
    exact = None
    try:
        msgspec.json.encode(record)
    except UnicodeEncodeError:
        exact = records.json_of(record).decode()
        record = msgspec.convert(_without_surrogates(msgspec.to_builtins(record)), Record)
    except OverflowError:
        pass  # a huge integer in `data`, which is written as JSON
    return record, outcome.body if outcome.body or isinstance(outcome, Page) else None, exact


class ParquetFile:
    """A file that bears its name once it is sealed. Raises OutputError; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(path.name + PARTIAL)
        pyarrow("writing " + path.name)
        from pyarrow import parquet

        files.create(self._partial).close()
        self._file = open(self._partial, "wb")  # noqa: SIM115
        self._writer = parquet.ParquetWriter(self._file, schema(), compression="zstd")
        self.length = 0

    def __repr__(self) -> str:
        return f"<ParquetFile {self.path} of {self.length:,} bytes{', closed' if self._file.closed else ''}>"

    def append(self, rows: Sequence[Row]) -> None:
        """Write a row group."""
        pa = pyarrow()
        columns = [make(pa, rows) for make in _columns().values()]
        try:
            self._writer.write_table(pa.Table.from_arrays(columns, schema=schema()), row_group_size=len(rows))
            self.length = self._file.tell()
        except OSError as error:
            self.drop()
            raise files.cannot_write(self._partial, error) from error

    def seal(self) -> None:
        """Complete the file, put it on stable storage and give it its name."""
        try:
            self._writer.close()
            self._file.flush()
            self.length = self._file.tell()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._partial, self.path)
        except OSError as error:
            self.drop()
            raise files.cannot_write(self.path, error) from error
        files.sync_path(self.path.parent)

    def drop(self) -> None:
        """Remove what was written and never sealed. Raises nothing: it is for the way out."""
        for call in (self._writer.close, self._file.close, self._partial.unlink):
            try:
                call()
            except (OSError, ValueError):
                pass  # the disk is full still, or gone; a resumed run removes the rest


def read(path: str) -> Iterator[Outcome]:
    """Yield each outcome of one file. Raises ValueError or KeyError for a row that is none of ours, MissingPackage."""
    pyarrow(f"reading {path!r}")
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS):
            for columns in batch.to_pylist():
                yield _outcome(columns)


def pyarrow(purpose: str = "") -> Any:
    """Return the package. Raises MissingPackage, which says what `purpose` needs it."""
    try:
        import pyarrow
    except ImportError:
        raise MissingPackage(f"{purpose} needs pyarrow: pip install 'cormorant[parquet]'") from None
    return pyarrow


@functools.cache
def schema() -> Any:
    """Return the schema of every file of ours."""
    pa = pyarrow()
    text, number, instant = pa.string(), pa.int64(), pa.timestamp("ms", "UTC")
    own = {
        **dict.fromkeys(("line", "status", "attempts"), number),
        **dict.fromkeys(("ok", "truncated"), pa.bool_()),
        "headers": pa.list_(pa.struct([("name", text), ("value", text)])),
        "redirects": pa.list_(pa.struct([("url", text), ("status", number), ("seconds", pa.float64())])),
        "timings": pa.struct([(name, pa.float64()) for name in Timings.__struct_fields__]),
        "found": pa.struct([("depth", number), ("source", text), ("text", text), ("lastmod", text)]),
        "fetched_at": instant,
        "body": pa.binary(),
    }
    return pa.schema([(name, own.get(name, text)) for name in _columns()])


@functools.cache
def _columns() -> dict[str, Callable[[Any, Sequence[Row]], Any]]:
    """Return the columns in their order, each with what makes an array of it."""
    columns = {name: functools.partial(_plain, name) for name in Record.__struct_fields__}
    for name in ("body_base64", "file"):
        del columns[name]
    return columns | {
        "headers": _headers,
        "redirects": functools.partial(_lists, "redirects", Redirect.__struct_fields__),
        "timings": functools.partial(_structs, "timings", Timings.__struct_fields__),
        "found": functools.partial(_structs, "found", Found.__struct_fields__),
        "fetched_at": lambda pa, rows: pa.array([_instant(row[0].fetched_at) for row in rows], _type("fetched_at")),
        "data": lambda pa, rows: pa.array([_json(row[0].data) for row in rows], _type("data")),
        "body": lambda pa, rows: pa.array([row[1] for row in rows], _type("body")),
        "exact": lambda pa, rows: pa.array([row[2] for row in rows], _type("exact")),
    }


def _type(name: str) -> Any:
    return schema().field(name).type


def _plain(name: str, pa: Any, rows: Sequence[Row]) -> Any:
    return pa.array([getattr(row[0], name) for row in rows], _type(name))


def _structs(name: str, fields: Iterable[str], pa: Any, rows: Sequence[Row]) -> Any:
    values = [getattr(row[0], name) for row in rows]
    inner = [
        pa.array([None if value is None else getattr(value, field) for value in values], _type(name).field(field).type)
        for field in fields
    ]
    absent = pa.array([value is None for value in values], pa.bool_())
    return pa.StructArray.from_arrays(inner, fields=list(_type(name)), mask=absent)


def _lists(name: str, fields: Iterable[str], pa: Any, rows: Sequence[Row]) -> Any:
    items = [item for row in rows for item in getattr(row[0], name)]
    return _listed(pa, name, rows, [[getattr(item, field) for item in items] for field in fields])


def _headers(pa: Any, rows: Sequence[Row]) -> Any:
    pairs = [pair for row in rows for pair in row[0].headers]
    return _listed(pa, "headers", rows, [[pair[0] for pair in pairs], [pair[1] for pair in pairs]])


def _listed(pa: Any, name: str, rows: Sequence[Row], columns: Sequence[list[Any]]) -> Any:
    """Make a column of lists from the items of all rows, given field by field."""
    fields = list(_type(name).value_type)
    items = [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)]
    ends = itertools.accumulate((len(getattr(row[0], name)) for row in rows), initial=0)
    return pa.ListArray.from_arrays(
        pa.array(ends, pa.int32()), pa.StructArray.from_arrays(items, fields=fields), type=_type(name)
    )


def _instant(text: str | None) -> datetime.datetime | None:
    return None if text is None else datetime.datetime.fromisoformat(text)


def _json(value: Any) -> str | None:
    return None if value is None else records.json_of(value).decode()


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list | tuple) else value


def _outcome(columns: Mapping[str, Any]) -> Outcome:
    if columns["exact"] is not None:
        return records.outcome(json.loads(columns["exact"]), columns["body"])
    fetched_at, data = columns["fetched_at"], columns["data"]
    record = {
        **columns,
        "headers": [(header["name"], header["value"]) for header in columns["headers"]],
        "fetched_at": None if fetched_at is None else fetched_at.isoformat(),
        "data": None if data is None else json.loads(data),
    }
    return records.outcome(record, columns["body"])
