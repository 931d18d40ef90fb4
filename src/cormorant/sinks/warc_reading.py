"""A WARC of ours read back: its metadata records with the bodies that stand before them. Uses fastwarc."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cormorant.errors import MissingPackage
from cormorant.messages import Outcome
from cormorant.sinks import records

SOFTWARE = b"software: cormorant/"
OUTCOME = b"outcome: "


def read(path: str) -> Iterator[Outcome]:
    """Yield each outcome of one file. Raises ValueError or KeyError for what is no WARC of ours, MissingPackage."""
    name, body, written_as = "", b"", ""
    with open(path, "rb") as file:
        for record in _iterator(file):
            kind = record.headers.get("WARC-Type")
            content = record.reader.read()
            if kind == "warcinfo":
                written_as = _file_name(record, content)
            elif kind == "response":
                name, body = record.headers["WARC-Record-ID"], content.partition(b"\r\n\r\n")[2]
            elif kind == "revisit":
                name, body = record.headers["WARC-Record-ID"], _original(record.headers, path, written_as)
            elif kind == "metadata":
                is_same = bool(name) and record.headers.get("WARC-Concurrent-To") == name
                yield records.outcome(_record(content), body if is_same else None)


def _iterator(file: Any) -> Any:
    try:
        from fastwarc.warc import ArchiveIterator
    except ImportError:
        raise MissingPackage(f"reading {file.name!r} needs fastwarc: pip install 'cormorant[warc]'") from None
    return ArchiveIterator(file, parse_http=False)


def _file_name(record: Any, content: bytes) -> str:
    if not content.startswith(SOFTWARE):
        raise ValueError("it was not written by cormorant; read it with fastwarc or warcio")
    return str(record.headers.get("WARC-Filename"))


def _record(content: bytes) -> dict[str, Any]:
    for line in content.split(b"\r\n"):
        if line.startswith(OUTCOME):
            record: dict[str, Any] = json.loads(line[len(OUTCOME) :])
            return record
    raise ValueError("a metadata record has no outcome")


def _original(headers: Any, path: str, written_as: str) -> bytes:
    """Return the body that a revisit names: in this file, whatever it is called now, or in a part beside it."""
    name, offset = headers["WARC-Refers-To-Filename"], int(headers["WARC-Refers-To-File-Offset"])
    place = Path(path) if name == written_as else Path(path).parent / Path(name).name
    with open(place, "rb") as file:
        file.seek(offset)
        for record in _iterator(file):
            if record.headers["WARC-Record-ID"] != headers["WARC-Refers-To"]:
                break
            content: bytes = record.reader.read()
            return content.partition(b"\r\n\r\n")[2]
    raise ValueError(f"{place} does not hold the body of a revisit at {offset:,}")
