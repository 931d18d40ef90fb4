"""WARC/1.1: the archives' format, a member (`.warc.gz`) or frame (`.warc.zst`) a record.

Each outcome is up to three records that follow each other: `request` (its line and host), `response` with the body, and
`metadata`; a failure without an answer is a `metadata` record alone. The metadata hold `fetchTimeMs`, `via` and
`outcome`: the record of JSON Lines without its body, in which everything is exact. A body that is stored
already is a `revisit` record that names the response with it, its file and its place there (as Heritrix does). How HTTP
heads are recorded says `warc_records.py`.

Laws: all records of an outcome are in one file; a revisit points backwards; memory is bounded: the last
`KNOWN_PAYLOADS` bodies are recognised, by their digest.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple, cast

from cormorant.interfaces import Committed
from cormorant.messages import Outcome, Result
from cormorant.sinks import packing, records, rows
from cormorant.sinks import warc_records as layout
from cormorant.sinks.parts import Parts
from cormorant.sinks.warc_reading import read as read

KNOWN_PAYLOADS = 16_384
CONFORMS_TO = "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/"
DESCRIPTION = "bodies are decoded from their Content-Encoding, which X-Crawler-Content-Encoding keeps"


class _Stored(NamedTuple):
    """A response whose payload may be named by revisits."""

    name: str
    url: str
    date: str
    file: str
    offset: int


class Warc:
    """Writes the records of an outcome. A path is opened at once and refused when it exists, unless `overwrite`.

    Results of `map` are refused: they were not fetched from anywhere.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        overwrite: bool = False,
        *,
        rotate_bytes: int | None = None,
        resume: Committed | None = None,
    ) -> None:
        self._pack = packing.by_suffix(os.fspath(target))
        self._stored: OrderedDict[str, _Stored] = OrderedDict()
        self._file = Parts(
            target,
            overwrite=overwrite,
            rotate_bytes=rotate_bytes,
            resume=resume,
            head=self._information,
            aside=self._pack is not None,
        )

    def __repr__(self) -> str:
        return f"<Warc to {self._file!r}>"

    def write(self, outcome: Outcome | Result) -> None:
        """Append the records of one outcome."""
        rows.refuse(outcome, self._file.name)
        outcome = cast(Outcome, outcome)
        line = records.encode(records.presentable(outcome))  # now: `data` is the caller's, who may change it
        self._file.append(functools.partial(self._members, outcome, line), len(outcome.body) + len(line))

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._file.flush()

    def sync(self, complete: bool = False) -> Committed:
        """Put everything written so far on stable storage, and say what the output holds."""
        return self._file.sync()

    def close(self) -> None:
        """Flush and close. Safe to call twice."""
        self._file.close()

    def _members(self, outcome: Outcome, line: bytes, file: str, place: int) -> bytes:
        """Make the records of one outcome, which will stand at `place` in `file`."""
        date = layout.date_of(outcome.fetched_at or time.time())
        target = layout.uri(outcome.final_url or outcome.url)
        members: list[bytes] = []
        name = None
        if outcome.status is not None:
            name = layout.new_name()
            members.append(self._request(target, name, date))
            stored = _Stored(name, target, date, file, place + len(members[0]))
            members.append(self._response(outcome, stored))
        members.append(self._metadata(outcome, line, target, name, date))
        return b"".join(members)

    def _packed(self, record: bytes) -> bytes:
        return record if self._pack is None else self._pack(record)

    def _information(self, file: str) -> bytes:
        software = f"cormorant/{importlib.metadata.version('cormorant')}"
        fields = {"software": software, "format": "WARC File Format 1.1", "conformsTo": CONFORMS_TO}
        content = _fields([*fields.items(), ("description", DESCRIPTION)])
        head = [("WARC-Filename", file), ("Content-Type", layout.FIELDS_TYPE)]
        return self._packed(layout.record("warcinfo", layout.new_name(), layout.date_of(time.time()), head, content))

    def _request(self, target: str, response: str, date: str) -> bytes:
        head = [
            ("WARC-Target-URI", target),
            ("WARC-Concurrent-To", response),
            ("Content-Type", layout.HTTP_TYPE.format("request")),
        ]
        return self._packed(layout.record("request", layout.new_name(), date, head, layout.request_head(target)))

    def _response(self, outcome: Outcome, stored: _Stored) -> bytes:
        payload_digest = layout.digest(outcome.body)
        head = [
            ("WARC-Target-URI", stored.url),
            ("WARC-IP-Address", outcome.ip),
            ("WARC-Protocol", layout.PROTOCOLS.get(outcome.http_version or "")),
            ("WARC-Payload-Digest", payload_digest),
            ("WARC-Truncated", layout.truncation(outcome)),
            ("Content-Type", layout.HTTP_TYPE.format("response")),
        ]
        content = layout.response_head(outcome)
        same = self._stored.get(payload_digest)
        if same is not None:
            self._stored.move_to_end(payload_digest)
            return self._packed(layout.record("revisit", stored.name, stored.date, [*head, *_reference(same)], content))
        if outcome.body:
            self._remember(payload_digest, stored)
        return self._packed(layout.record("response", stored.name, stored.date, head, content + outcome.body))

    def _remember(self, payload_digest: str, stored: _Stored) -> None:
        self._stored[payload_digest] = stored
        if len(self._stored) > KNOWN_PAYLOADS:
            self._stored.popitem(last=False)

    def _metadata(self, outcome: Outcome, line: bytes, target: str, response: str | None, date: str) -> bytes:
        fields = [("fetchTimeMs", f"{outcome.timings.total * 1000:.0f}")]
        if outcome.found is not None and outcome.found.source:
            fields.append(("via", outcome.found.source))
        head = [
            ("WARC-Target-URI", target),
            ("WARC-Concurrent-To", response),
            ("Content-Type", layout.FIELDS_TYPE),
        ]
        content = _fields([*fields, ("outcome", line.decode().rstrip("\n"))])
        return self._packed(layout.record("metadata", layout.new_name(), date, head, content))


def _reference(same: _Stored) -> Iterator[tuple[str, str | None]]:
    yield "WARC-Profile", layout.IDENTICAL_PAYLOAD
    yield "WARC-Refers-To", same.name
    yield "WARC-Refers-To-Target-URI", same.url
    yield "WARC-Refers-To-Date", same.date
    yield "WARC-Refers-To-Filename", same.file
    yield "WARC-Refers-To-File-Offset", str(same.offset)


def _fields(fields: list[tuple[str, str]]) -> bytes:
    lines = (f"{name}: {layout.single_line(value)}\r\n" for name, value in fields)
    return "".join(lines).encode("utf-8", "backslashreplace")
