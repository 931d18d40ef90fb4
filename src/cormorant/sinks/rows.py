"""One outcome as a flat row, for tables: CSV and SQLite. Documented in `docs/reference.md`.

Laws: every row has the columns of `COLUMNS`, and the body; what a record holds as a list or an object is JSON in
its cell; `exact` is null, except where the record holds lone surrogates, which no UTF-8 can: then texts show
their numbers instead, and `exact` holds the whole record as JSON. Read back, a row is its outcome again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cormorant.errors import UsageError
from cormorant.messages import Outcome, Result
from cormorant.sinks import records

TEXTS = ("url", "input", "final_url", "kind", "phase", "message", "charset", "fetched_at", "ip", "http_version")
JSON = ("headers", "redirects", "timings", "found", "data")
NUMBERS = ("line", "status", "attempts")
COLUMNS = (
    *("url", "input", "line", "final_url", "ok", "status", "headers", "charset", "kind", "phase", "message"),
    *("attempts", "redirects", "fetched_at", "timings", "ip", "http_version", "found", "truncated", "data", "exact"),
)


def of(outcome: Outcome) -> dict[str, Any]:
    """Describe an outcome but for its body: texts, whole numbers, truth values and None."""
    record = records.presentable(outcome)
    row: dict[str, Any] = {name: getattr(record, name, None) for name in COLUMNS}
    for name in JSON:
        row[name] = None if row[name] is None else records.json_of(row[name]).decode()
    if not _is_utf8(row):
        row["exact"] = records.json_of(record).decode()
        for name in TEXTS:
            if row[name] is not None:
                row[name] = row[name].encode("utf-8", "backslashreplace").decode()
    return row


def outcome(row: Mapping[str, Any], body: bytes | None) -> Outcome:
    """Return the outcome that a row was made of."""
    if row["exact"] is not None:
        return records.outcome(json.loads(row["exact"]), body)
    record = dict(row)
    for name in JSON:
        record[name] = None if row[name] is None else json.loads(row[name])
    return records.outcome(record, body)


def refuse(result: object, name: str) -> None:
    """Raise UsageError for a Result of `map`: tables and archives hold pages."""
    if isinstance(result, Result):
        raise UsageError(f"{name} holds pages; results of map go to JSON Lines or a folder: -o results.jsonl")


def _is_utf8(row: Mapping[str, Any]) -> bool:
    try:
        for name in TEXTS:
            if row[name] is not None and not row[name].isascii():
                row[name].encode()
    except UnicodeEncodeError:
        return False
    return True
