"""WARC files as warcio and fastwarc read them: both have to take a file, and to find the same in it.

The record of an outcome is the field `outcome` of a metadata record; its body is the payload of the response that this
goes with (WARC-Concurrent-To), or of the one that a revisit refers to.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from found import Found, found_in, opened


@dataclasses.dataclass(frozen=True)
class Member:
    """A record of a WARC file, as a library gives it. `place` is where it begins; `payload` is without HTTP's head."""

    place: int
    kind: str
    name: str
    concurrent_to: str | None
    refers_to: tuple[str, str, int] | None  # of a revisit: a record, its file, its place there
    target: str | None
    status: int | None
    payload: bytes


Members = Callable[[Path], Iterator[Member]]


def warc(parts: list[Path]) -> Iterator[Found]:
    """Yield what the metadata records tell, with the bodies they go with. All readers must have read the same."""
    for part in parts:
        check_whole(part)
    told = [list(outcomes_in(parts, members)) for members in WARC_READERS if reads(members, parts[0])]
    if not told or any(others != told[0] for others in told):
        raise ValueError(f"its readers differ: {[len(one) for one in told]} records")
    yield from told[0]


def check_whole(path: Path) -> None:
    """Raise where a file ends in the middle of a record, which readers of WARC do not mind."""
    with opened(path) as file:
        end = b""
        while data := file.read(1 << 20):
            end = (end + data)[-4:]
    if end != b"\r\n\r\n":
        raise ValueError(f"torn: {end!r}")


def outcomes_in(parts: list[Path], members: Members) -> Iterator[Found]:
    """Join answers and outcomes; raise at an answer without one, and at a revisit of what is not there."""
    stored: dict[str, tuple[str, str, int]] = {}  # by name: digest, file, place
    for path in parts:
        answer: Member | None = None
        for member in members(path):
            if member.kind in ("response", "revisit"):
                if answer is not None:
                    raise ValueError(f"{answer.name} has no metadata")
                answer = member
                stored[member.name] = (digest_of(member, stored), path.name, member.place)
            elif member.kind == "metadata":
                yield joined(member, answer, stored)
                answer = None
        if answer is not None:
            raise ValueError(f"{answer.name} has no metadata")


def digest_of(answer: Member, stored: dict[str, tuple[str, str, int]]) -> str:
    if answer.refers_to is None:
        return hashlib.sha256(answer.payload).hexdigest()
    name, file, place = answer.refers_to
    if name not in stored or stored[name][1:] != (file, place):
        raise ValueError(f"{answer.name} refers to {name} in {file} at {place}, which is not there")
    return stored[name][0]


def joined(metadata: Member, answer: Member | None, stored: dict[str, tuple[str, str, int]]) -> Found:
    lines = [line for line in metadata.payload.split(b"\r\n") if line.startswith(b"outcome: ")]
    record = json.loads(lines[0].removeprefix(b"outcome: "))
    found = found_in(record, None)
    name = None if answer is None else answer.name
    if metadata.concurrent_to != name or (answer is None) != (found.status is None):
        raise ValueError(f"{metadata.name} goes with {metadata.concurrent_to}, and stands behind {name}")
    if answer is None:
        return found
    if (answer.target, answer.status) != (found.final_url, found.status):
        raise ValueError(
            f"{answer.name} is {answer.status} of {answer.target}, not {found.status} of {found.final_url}"
        )
    return dataclasses.replace(found, sha256=stored[answer.name][0])


def by_warcio(path: Path) -> Iterator[Member]:
    from warcio.archiveiterator import ArchiveIterator

    with path.open("rb") as file:
        records = ArchiveIterator(file, check_digests="raise")
        for record in records:
            fields = record.rec_headers.get_header
            status = int(record.http_headers.get_statuscode()) if is_answer(record.rec_type) else None
            content = record.content_stream().read()
            yield member(records.get_record_offset(), record.rec_type, fields, status, content)


def by_fastwarc(path: Path) -> Iterator[Member]:
    from fastwarc.warc import ArchiveIterator

    with path.open("rb") as file:
        for record in ArchiveIterator(file, verify_digests=True):  # it leaves out a record that is not its digest's
            kind = record.headers["WARC-Type"]
            status = record.http_headers.status_code if is_answer(kind) else None
            yield member(record.stream_pos, kind, record.headers.get, status, record.reader.read())


def is_answer(kind: str) -> bool:
    return kind in ("response", "revisit")


def member(place: int, kind: str, field: Callable[[str], Any], status: int | None, content: bytes) -> Member:
    refers = field("WARC-Refers-To")
    return Member(
        place=place,
        kind=kind,
        name=field("WARC-Record-ID"),
        concurrent_to=field("WARC-Concurrent-To"),
        refers_to=(refers, field("WARC-Refers-To-Filename"), int(field("WARC-Refers-To-File-Offset")))
        if refers
        else None,
        target=field("WARC-Target-URI"),
        status=status,
        payload=content,
    )


def reads(members: Members, path: Path) -> bool:
    """Tell whether a reader is there, and knows how a file is compressed."""
    if members is by_warcio:
        return path.suffix != ".zst"
    try:
        import fastwarc.warc  # noqa: F401
    except ImportError:
        return False
    return True


WARC_READERS = (by_warcio, by_fastwarc)
