"""What stands in an output, told by readers that are not ours: json, csv, sqlite3, pyarrow, zstd, warcio, fastwarc.

They read every file to its end, and raise at whatever they do not like. For the checker; nothing of ours is imported.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import io
import json
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from archives import warc
from found import Found, found_in, opened

csv.field_size_limit(sys.maxsize)

INDEX = "index.jsonl"
NAME = re.compile(r"(?P<stem>.+?)(?P<suffix>\.(?:jsonl|csv|warc|parquet|sqlite|db)(?:\.gz|\.zst)?)")
SIDE_FILES = (".partial", "-wal", "-shm", "-journal")  # what only a run under way has beside its output


def read(output: Path) -> Iterator[Found]:
    """Yield every record of an output: a folder, or a file with its parts."""
    if output.is_dir():
        yield from folder(output)
    elif suffix_of(output) == ".warc":
        yield from warc(parts_of(output))
    else:
        for part in parts_of(output):
            yield from READERS[suffix_of(part)](part)


def parts_of(output: Path) -> list[Path]:
    """Return the files of an output: itself, and its parts `stem-00001.suffix` where it rotates."""
    stem, suffix = split(output.name)
    numbered = re.compile(rf"{re.escape(stem)}(-\d{{5}})?{re.escape(suffix)}")
    return sorted(
        (one for one in output.parent.iterdir() if numbered.fullmatch(one.name)),
        key=lambda one: (len(one.name), one.name),
    )


def split(name: str) -> tuple[str, str]:
    """Take a file's name apart: what comes before its suffix, and that."""
    match = NAME.fullmatch(name)
    assert match is not None, f"no reader for {name}"
    return match["stem"], match["suffix"]


def suffix_of(path: Path) -> str:
    """Return what says how to read a file, without how it is compressed."""
    return split(path.name)[1].removesuffix(".gz").removesuffix(".zst")


def left_beside(output: Path) -> list[str]:
    """Return the files that an output which has ended should not have: halves, and bodies that no record names."""
    if output.is_dir():
        named = {record["file"] for record in json_records(output / INDEX)}
        there = [str(one.relative_to(output)) for one in output.rglob("*") if one.is_file()]
        return sorted(set(there) - named - {INDEX})
    stem = split(output.name)[0]
    beside = [one.name for one in output.parent.iterdir() if one.name.startswith(stem)]
    return sorted(name for name in beside if name.endswith(SIDE_FILES))


# --- records ---


def as_bytes(text: str | None, base64_text: str | None, charset: str | None) -> bytes | None:
    """Return a body that is text in one field, or base64 in another."""
    if base64_text is not None:
        return base64.b64decode(base64_text)
    return None if text is None else text.encode(charset or "utf-8")


def json_records(path: Path) -> Iterator[dict[str, Any]]:
    with opened(path) as file:
        for line in file:
            if not line.endswith(b"\n"):
                raise ValueError(f"torn: {line[:60]!r}")
            yield json.loads(line)


def json_lines(path: Path) -> Iterator[Found]:
    for record in json_records(path):
        yield found_in(record, as_bytes(record.get("body"), record.get("body_base64"), record.get("charset")))


def folder(path: Path) -> Iterator[Found]:
    named = set()
    for record in json_records(path / INDEX):
        name = record["file"]
        if name in named:
            raise ValueError(f"two records name {name}")
        if name is not None:
            named.add(name)
        body = (path / name).read_bytes() if name is not None else None if record["kind"] else b""
        yield found_in(record, body)


def csv_rows(path: Path) -> Iterator[Found]:
    with opened(path) as raw, io.TextIOWrapper(raw, "utf-8", newline="") as text:
        for row in csv.DictReader(whole_lines(text), strict=True):
            if None in row or None in row.values():
                raise ValueError(f"torn: {str(row)[:60]}")
            cells = {name: cell.removeprefix("'") or None for name, cell in row.items()}
            body = as_bytes(cells.get("body"), cells.get("body_base64"), cells.get("charset"))
            yield found_in(numbered(cells), body if body is not None or cells["kind"] else b"")


def whole_lines(text: Iterable[str]) -> Iterator[str]:
    line = "\n"
    for line in text:
        yield line
    if not line.endswith("\n"):
        raise ValueError(f"torn: {line[:60]!r}")


def numbered(cells: dict[str, Any]) -> dict[str, Any]:
    """Return a row of texts as a record."""
    status = cells["status"]
    redirects = json.loads(cells["redirects"]) if cells.get("redirects") else []
    return {**cells, "status": None if status is None else int(status), "redirects": redirects}


def sqlite_rows(path: Path) -> Iterator[Found]:
    how = "mode=ro" if path.with_name(path.name + "-wal").exists() else "immutable=1"  # which leaves no side files
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as database:
        database.row_factory = sqlite3.Row
        (healthy,) = database.execute("PRAGMA integrity_check").fetchone()
        pages, size = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        if healthy != "ok" or (how != "mode=ro" and path.stat().st_size != pages * size):
            raise ValueError(f"{healthy}; {path.stat().st_size:,} bytes, {pages:,} pages of {size:,}")
        for row in database.execute("SELECT * FROM outcomes ORDER BY id"):
            cells = dict(row)
            yield found_in(numbered(cells), None if cells["kind"] and not cells["body"] else cells["body"])


def parquet_rows(path: Path) -> Iterator[Found]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(256):
            for record in batch.to_pylist():
                yield found_in(record, record["body"])


READERS: dict[str, Callable[[Path], Iterator[Found]]] = {
    ".jsonl": json_lines,
    ".csv": csv_rows,
    ".parquet": parquet_rows,
    ".sqlite": sqlite_rows,
    ".db": sqlite_rows,
}
