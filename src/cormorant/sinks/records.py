"""One outcome as one line of JSON: the record, its fields and its way back to bytes. For every sink.

Laws: every record has the same fields, in the same order, and exactly one of `body` and `body_base64`;
a line is valid UTF-8 JSON whatever the page, the URL or the user's data hold; the body's bytes can always be
had back (`body`). What cannot be JSON is written as its repr, and `message` says so: the page is never lost.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from cormorant.content import charset
from cormorant.messages import Failure, Found, Headers, Kind, Outcome, Page, Redirect, Result, Timings

LONGEST_REPR = 10_000

# Valid inside a JSON string, but many readers (str.splitlines) take them for the end of a line.
_LINE_BREAKS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))
# Fields of an outcome that its record holds unchanged.
_AS_THEY_ARE = ("url", "status", "input", "line", "final_url", "attempts", "ip", "http_version", "data")


class Record(msgspec.Struct, kw_only=True, gc=False):
    """What is written about one URL; `docs/reference.md` explains each field.

    `body` (text) or `body_base64` is there, never both; `file` takes their place where bodies go to files.
    """

    url: str
    input: str
    line: int | None
    final_url: str
    ok: bool
    status: int | None
    headers: Headers
    body: str | UnsetType | None = UNSET
    body_base64: bytes | UnsetType = UNSET
    file: str | UnsetType | None = UNSET
    charset: str | None
    kind: Kind | None
    phase: str | None
    message: str | None
    attempts: int
    redirects: tuple[Redirect, ...]
    fetched_at: str | None
    timings: Timings
    ip: str | None
    http_version: str | None
    found: Found | None
    truncated: bool
    data: Any


def of(outcome: Outcome) -> Record:
    """Describe a page or a failure, body included: as text where that loses nothing, else as base64."""
    record = without_body(outcome)
    body = outcome.body
    if not body and isinstance(outcome, Failure):
        record.body = None
        return record
    record.charset = charset_of(outcome)
    text = None if record.charset is None else charset.decode_exact(body, record.charset)
    if text is None:
        record.body_base64 = body
    else:
        record.body = text
    return record


def without_body(outcome: Outcome) -> Record:
    """Describe a page or a failure but for its body and charset."""
    return Record(
        url=outcome.url,
        input=outcome.input or outcome.url,
        line=outcome.line,
        final_url=outcome.final_url or outcome.url,
        ok=outcome.ok,
        status=outcome.status,
        headers=outcome.headers,
        charset=None,
        kind=outcome.kind,
        phase=outcome.phase if isinstance(outcome, Failure) else None,
        message=outcome.message,
        attempts=outcome.attempts,
        redirects=outcome.redirects,
        fetched_at=_utc(outcome.fetched_at),
        timings=outcome.timings,
        ip=outcome.ip,
        http_version=outcome.http_version,
        found=outcome.found,
        truncated=outcome.truncated,
        data=outcome.data,
    )


def charset_of(outcome: Outcome) -> str | None:
    """Name the body's charset, or None where the body is missing or is not text."""
    content_type = outcome.header("content-type")
    if (not outcome.body and isinstance(outcome, Failure)) or not charset.is_text(outcome.body, content_type):
        return None
    return charset.of(outcome.body, content_type)


def line(outcome: Outcome | Result) -> bytes:
    """Write an outcome, or a Result of `map`, as a line of JSON with its line feed."""
    return encode(outcome if isinstance(outcome, Result) else of(outcome))


def encode(record: Record | Result) -> bytes:
    """Write `record` as a line of JSON with its line feed. Never raises for what the record holds."""
    try:
        text = json_of(record)
    except Exception:  # the user's own value, in as many ways as there are values
        text = json_of(_without_strangers(record))
    for character, escape in _LINE_BREAKS:
        if character[:1] in text:  # looking for one byte is 50 times as fast, and most pages have none
            text = text.replace(character, escape)
    return text + b"\n"


def body(record: Mapping[str, Any]) -> bytes | None:
    """Return the exact bytes of the body of a record read back by `json.loads`, or None where it has none."""
    if "body_base64" in record:
        return base64.b64decode(record["body_base64"])
    text = record.get("body")
    return None if text is None else charset.encode(text, record["charset"])


def outcome(record: Mapping[str, Any], content: bytes | None) -> Outcome:
    """Return the page or failure that `record`, read back, was made of; `content` are the bytes of its body.

    `fetched_at` has lost what is less than a millisecond. Raises KeyError, TypeError or ValueError for what is no
    record of ours.
    """
    fields: dict[str, Any] = {name: record[name] for name in _AS_THEY_ARE}
    fields |= {
        "headers": tuple((name, value) for name, value in record["headers"]),
        "body": content or b"",
        "redirects": tuple(msgspec.convert(redirect, Redirect) for redirect in record["redirects"]),
        "fetched_at": _epoch(record["fetched_at"]),
        "timings": msgspec.convert(record["timings"], Timings),
        "found": None if record.get("found") is None else msgspec.convert(record["found"], Found),
    }
    if record["kind"] is None:
        return Page(**fields)
    return Failure(kind=Kind(record["kind"]), message=record["message"] or "", phase=record["phase"], **fields)


def presentable(outcome: Outcome) -> Record:
    """Describe an outcome but for its body, with `data` that can be JSON: for sinks whose records are no JSON."""
    record = without_body(outcome)
    record.charset = charset_of(outcome)
    if record.data is None:
        return record
    try:
        json_of(record.data)
    except Exception:
        stranger = _without_strangers(record)
        assert isinstance(stranger, Record)
        return stranger
    return record


def json_of(value: Any) -> bytes:
    """Write a value as JSON, with lone surrogates as escapes. Raises what the user's values raise."""
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError):  # lone surrogates (only \u escapes can carry them), huge integers
        return json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False, separators=(",", ":")).encode(
            "ascii"
        )


def _utc(seconds: float) -> str | None:
    """Write an instant as ISO 8601 in UTC with milliseconds; None for 0.0, which means that nothing was fetched."""
    if not seconds:
        return None
    instant = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{instant.isoformat(timespec='milliseconds')[:-6]}Z"


def _epoch(instant: str | None) -> float:
    return datetime.datetime.fromisoformat(instant).timestamp() if instant else 0.0


def _without_strangers(record: Record | Result) -> Record | Result:
    """Replace the user's values that cannot be JSON by their repr, and say so in `message`."""
    changes: dict[str, Any] = {}
    notes = [record.message] if record.message else []
    for name in ("item", "value", "data"):
        value = getattr(record, name, None)
        try:
            json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False)
        except Exception as error:
            changes[name] = _repr(value)
            notes.append(f"{name} cannot be JSON ({type(error).__name__}: {error}); this is its repr")
    return msgspec.structs.replace(record, **changes, message="; ".join(notes))


def _repr(value: Any) -> str:
    text = f"<{type(value).__name__} whose repr fails>"
    with contextlib.suppress(Exception):
        text = repr(value)
    return text[:LONGEST_REPR].encode("utf-8", "backslashreplace").decode()
