"""Judges a run from outside: reads the input list, the server's log and the output files, and nothing of ours.

    python checker.py --list urls.txt --log server.log --output pages.jsonl [--kills 7 --bound 200] [--gap 0.1]

The files are read by foreign readers alone (json, csv, sqlite3, warcio, pyarrow). A line of the log is
`NANOSECONDS URL [STATUS SHA256]`, written by the server as it answers. The invariants (I1 to I4, I8; `kill_loop.py`
judges I5 to I7, which are about processes):

I1  every line of the list has exactly one record; every URL that was asked for is in a record, and no URL in two
I2  a record has the status and the body that the server last sent for its final URL
I3  every file is read to its end by a reader that is not ours
I4  not more was fetched again than `kills` times `bound`
I8  two requests to one host are `gap` seconds apart, over restarts too
"""

from __future__ import annotations

import argparse
import base64
import collections
import csv
import dataclasses
import gzip
import hashlib
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

csv.field_size_limit(sys.maxsize)


@dataclasses.dataclass(frozen=True)
class Found:
    """What a record says, whatever its format. `hops` are the URLs that redirected on the way."""

    url: str
    line: str
    final_url: str
    status: int | None
    kind: str | None
    sha256: str | None
    hops: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Asked:
    """One request, as the server saw it."""

    at: int
    url: str
    status: int | None
    sha256: str | None


@dataclasses.dataclass
class Verdict:
    """What was found, and what is wrong. `faults` is empty when all holds."""

    records: int = 0
    requests: int = 0
    fetched_again: int = 0
    smallest_gap: float | None = None
    faults: list[str] = dataclasses.field(default_factory=list)


# --- foreign readers ---


def from_json(record: dict[str, Any]) -> Found:
    body = record.get("body")
    if record.get("body_base64") is not None:
        data = base64.b64decode(record["body_base64"])
    else:
        data = None if body is None else body.encode(record.get("charset") or "utf-8")
    hops = [hop["url"] if isinstance(hop, dict) else hop for hop in record.get("redirects") or record.get("hops") or ()]
    return Found(
        url=record["url"],
        line=record.get("input") or record["url"],
        final_url=record.get("final_url") or record["url"],
        status=record["status"],
        kind=record["kind"],
        sha256=None if data is None else hashlib.sha256(data).hexdigest(),
        hops=tuple(hops),
    )


def json_lines(file: IO[bytes]) -> Iterator[Found]:
    for line in file:
        assert line.endswith(b"\n"), f"torn: {line[:60]!r}"
        yield from_json(json.loads(line))


def row(cells: dict[str, Any], body: bytes | None) -> Found:
    redirects = json.loads(cells["redirects"]) if cells.get("redirects") else ()
    status = cells["status"]
    return Found(
        url=cells["url"],
        line=cells.get("input") or cells["url"],
        final_url=cells.get("final_url") or cells["url"],
        status=int(status) if status not in ("", None) else None,
        kind=cells["kind"] or None,
        sha256=None if body is None else hashlib.sha256(body).hexdigest(),
        hops=tuple(hop["url"] for hop in redirects),
    )


def read_jsonl(path: Path) -> Iterator[Found]:
    with path.open("rb") as file:
        yield from json_lines(file)


def read_jsonl_gz(path: Path) -> Iterator[Found]:
    with gzip.open(path) as file:
        yield from json_lines(file)  # type: ignore[arg-type]


def read_jsonl_zst(path: Path) -> Iterator[Found]:
    from backports.zstd import ZstdFile

    with ZstdFile(path) as file:
        yield from json_lines(file)


def read_csv(path: Path) -> Iterator[Found]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for cells in csv.DictReader(file):
            yield row(cells, None)


def read_sqlite(path: Path) -> Iterator[Found]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    database.row_factory = sqlite3.Row
    table = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid").fetchone()[0]
    for cells in database.execute(f'SELECT * FROM "{table}"'):
        found = dict(cells)
        yield row(found, found.get("body"))
    database.close()


def read_parquet(path: Path) -> Iterator[Found]:
    import pyarrow.parquet

    for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
        for record in batch.to_pylist():
            body = record.get("body")
            data = None if body is None else body if isinstance(body, bytes) else body.encode()
            yield dataclasses.replace(
                from_json({**record, "body": None}), sha256=None if data is None else hashlib.sha256(data).hexdigest()
            )


def read_warc(path: Path) -> Iterator[Found]:
    """Read responses, and metadata records of what has no response; a revisit has no body of its own."""
    from warcio.archiveiterator import ArchiveIterator

    with path.open("rb") as file:
        for record in ArchiveIterator(file, check_digests="raise"):
            url, kind = record.rec_headers.get_header("WARC-Target-URI"), record.rec_type
            body = record.content_stream().read()
            if kind in ("response", "revisit"):
                status = int(record.http_headers.get_statuscode())
                digest = None if kind == "revisit" else hashlib.sha256(body).hexdigest()
                yield Found(url=url, line=url, final_url=url, status=status, kind=None, sha256=digest)


READERS: dict[str, Callable[[Path], Iterator[Found]]] = {
    ".jsonl": read_jsonl,
    ".jsonl.gz": read_jsonl_gz,
    ".jsonl.zst": read_jsonl_zst,
    ".csv": read_csv,
    ".sqlite": read_sqlite,
    ".db": read_sqlite,
    ".parquet": read_parquet,
    ".warc": read_warc,
    ".warc.gz": read_warc,
}


def parts_of(output: Path) -> list[Path]:
    """Return the files of an output: itself, and its parts `stem-00001.suffix` where it rotates."""
    suffix = next(suffix for suffix in sorted(READERS, key=len, reverse=True) if output.name.endswith(suffix))
    stem = output.name.removesuffix(suffix)
    beside = [one for one in output.parent.iterdir() if one.name.startswith(stem) and one.name.endswith(suffix)]
    return sorted(one for one in beside if one.name[len(stem) : -len(suffix)].strip("-.0123456789") == "")


def read(output: Path) -> Iterator[Found]:
    if output.is_dir():
        yield from read_jsonl(output / "index.jsonl")
        return
    for part in parts_of(output):
        suffix = next(suffix for suffix in sorted(READERS, key=len, reverse=True) if part.name.endswith(suffix))
        yield from READERS[suffix](part)


def read_log(path: Path) -> list[Asked]:
    asked = []
    for line in path.read_text().splitlines():
        at, url, *rest = line.split(" ")
        status, digest = (int(rest[0]), rest[1]) if rest else (None, None)
        asked.append(Asked(int(at), url, status, digest))
    return asked


# --- the invariants ---


def check(
    lists: Path, log: Path, output: Path, *, kills: int = 0, bound: int = 0, gap: float = 0.0, tried: int = 1
) -> Verdict:
    """Judge. `tried` is how often a URL may be asked for in a run that nobody kills (retries)."""
    verdict = Verdict()
    try:
        records = list(read(output))
    except Exception as error:  # whatever the foreign reader says is what we want to hear
        verdict.faults.append(f"I3: {output.name}: {type(error).__name__}: {error}")
        return verdict
    asked = read_log(log)
    verdict.records, verdict.requests = len(records), len(asked)
    verdict.faults += every_line_once(lists, records)
    verdict.faults += every_request_in_a_record(asked, records)
    verdict.faults += what_was_sent(asked, records)
    often = collections.Counter(one.url for one in asked)
    verdict.fetched_again = sum(max(0, count - tried) for count in often.values())
    if verdict.fetched_again > kills * bound:
        verdict.faults.append(f"I4: {verdict.fetched_again} fetched again, of {kills} kills times {bound} at most")
    verdict.smallest_gap = smallest_gap(asked)
    if gap and verdict.smallest_gap is not None and verdict.smallest_gap < gap:
        verdict.faults.append(f"I8: two requests to a host {verdict.smallest_gap:.3f} s apart, not {gap}")
    return verdict


def every_line_once(lists: Path, records: list[Found]) -> list[str]:
    wanted = set()
    for raw in lists.read_bytes().splitlines():
        text = raw.decode("utf-8", "replace").strip()
        if text and not text.startswith("#"):
            wanted.add(text)
    count = collections.Counter(record.line for record in records)
    lost = [line for line in wanted if not count[line]]
    twice = [line for line, times in count.items() if times > 1]
    faults = [f"I1: {len(lost)} lines have no record: {sorted(lost)[:5]}"] if lost else []
    return faults + ([f"I1: {len(twice)} have more than one record: {sorted(twice)[:5]}"] if twice else [])


def every_request_in_a_record(asked: list[Asked], records: list[Found]) -> list[str]:
    known = {url for record in records for url in (record.url, record.final_url, *record.hops)}
    lost = {one.url for one in asked if not one.url.endswith("/robots.txt")} - known
    return [f"I1: {len(lost)} were fetched and are in no record: {sorted(lost)[:5]}"] if lost else []


def what_was_sent(asked: list[Asked], records: list[Found]) -> list[str]:
    sent = {(one.url, one.status, one.sha256) for one in asked if one.status is not None}
    bodies = {url for url, _, _ in sent}
    wrong = [
        record.url
        for record in records
        if record.kind is None
        and record.sha256 is not None
        and record.final_url in bodies
        and (record.final_url, record.status, record.sha256) not in sent
    ]
    return [f"I2: {len(wrong)} have another status or body than was sent: {sorted(wrong)[:5]}"] if wrong else []


def smallest_gap(asked: list[Asked]) -> float | None:
    last: dict[str, int] = {}
    gaps = []
    for one in sorted(asked, key=lambda one: one.at):
        host = urlsplit(one.url).netloc
        if host in last:
            gaps.append((one.at - last[host]) / 1e9)
        last[host] = one.at
    return min(gaps, default=None)


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--list", type=Path, required=True)
    words.add_argument("--log", type=Path, required=True)
    words.add_argument("--output", type=Path, required=True)
    words.add_argument("--kills", type=int, default=0)
    words.add_argument("--bound", type=int, default=0)
    words.add_argument("--gap", type=float, default=0.0)
    words.add_argument("--tried", type=int, default=1)
    asked = words.parse_args()
    verdict = check(
        asked.list,
        asked.log,
        asked.output,
        kills=asked.kills,
        bound=asked.bound,
        gap=asked.gap,
        tried=asked.tried,
    )
    print(json.dumps(dataclasses.asdict(verdict), indent=2))
    raise SystemExit(1 if verdict.faults else 0)


if __name__ == "__main__":
    main()
