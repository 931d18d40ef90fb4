"""The checker finds what it is there for: each invariant, broken once."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checker import READERS, check, read

Records = list[dict[str, Any]]
URLS = [f"http://h{number % 2}.example/{number}" for number in range(6)]


def body(url: str) -> str:
    return f"this is {url}\n"


def record(url: str) -> dict[str, Any]:
    return {"url": url, "input": url, "final_url": url, "status": 200, "kind": None, "body": body(url), "redirects": []}


def logged(url: str, at: float) -> str:
    return f"{int(at * 1e9)} {url} 200 {hashlib.sha256(body(url).encode()).hexdigest()}\n"


@pytest.fixture
def good(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A list, a log and an output that are as they should be; one line is no URL."""
    (tmp_path / "urls.txt").write_text("\n".join([*URLS, "no url", URLS[0], "# a comment", ""]))
    (tmp_path / "server.log").write_text("".join(logged(url, number) for number, url in enumerate(URLS)))
    bad = {"url": "no url", "input": "no url", "status": None, "kind": "bad_url"}
    write(tmp_path / "out.jsonl", [*map(record, URLS), bad])
    return tmp_path / "urls.txt", tmp_path / "server.log", tmp_path / "out.jsonl"


def write(path: Path, records: Records) -> None:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in records))


def test_what_is_right_has_no_faults(good: tuple[Path, Path, Path]) -> None:
    verdict = check(*good, gap=2.0)
    assert (verdict.faults, verdict.records, verdict.requests, verdict.fetched_again) == ([], 7, 6, 0)
    assert verdict.smallest_gap == 2.0


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda records: records[1:], "I1: 1 lines have no record"),
        (lambda records: [*records, records[3]], "I1: 1 have more than one record"),
        (lambda records: records[:-1], "I1: 1 lines have no record: ['no url']"),
        (lambda records: [{**records[0], "body": body(URLS[1])}, *records[1:]], "I2: 1 have another status or body"),
        (lambda records: [{**records[0], "status": 500}, *records[1:]], "I2: 1 have another status or body"),
        (
            lambda records: [{**records[0], "url": "http://x/", "final_url": "http://x/"}, *records[1:]],
            "I1: 1 were fetched and are in no record",
        ),
    ],
    ids=["lost", "doubled", "bad line lost", "another's body", "another status", "fetched and forgotten"],
)
def test_a_wrong_record_is_a_fault(
    spoil: Callable[[Records], Records], fault: str, good: tuple[Path, Path, Path]
) -> None:
    records = [json.loads(line) for line in good[2].read_text().splitlines()]
    write(good[2], spoil(records))
    assert [found for found in check(*good).faults if found.startswith(fault)]


def test_a_torn_line_is_a_fault(good: tuple[Path, Path, Path]) -> None:
    good[2].write_bytes(good[2].read_bytes()[:-5])
    assert check(*good).faults[0].startswith("I3: out.jsonl: AssertionError: torn: ")


def test_fetching_too_much_again_is_a_fault(good: tuple[Path, Path, Path]) -> None:
    with good[1].open("a") as log:
        log.writelines(logged(url, 50 + number) for number, url in enumerate(URLS[:3]))
    assert check(*good).faults == ["I4: 3 fetched again, of 0 kills times 0 at most"]
    assert check(*good, kills=3, bound=1).faults == []


def test_too_small_a_gap_is_a_fault(good: tuple[Path, Path, Path]) -> None:
    assert check(*good, gap=2.5).faults == ["I8: two requests to a host 2.000 s apart, not 2.5"]


def test_parts_are_read_together(good: tuple[Path, Path, Path]) -> None:
    lines = good[2].read_text().splitlines(keepends=True)
    good[2].unlink()
    (good[2].parent / "out-00001.jsonl").write_text("".join(lines[:3]))
    (good[2].parent / "out-00002.jsonl").write_text("".join(lines[3:]))
    (good[2].parent / "outside.jsonl").write_text("nothing of ours\n")
    assert check(*good).faults == []


def test_gzip_and_csv_are_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write(json.dumps(record(URLS[0])) + "\n")
    with (tmp_path / "a.csv").open("w", newline="") as file:
        fields = ["url", "input", "final_url", "status", "kind", "redirects"]
        rows = csv.DictWriter(file, fields, extrasaction="ignore")
        rows.writeheader()
        rows.writerow({**record(URLS[0]), "redirects": "[]"})
    assert [one.url for suffix in (".jsonl.gz", ".csv") for one in read(tmp_path / f"a{suffix}")] == [URLS[0]] * 2
    assert set(READERS) >= {".warc.gz", ".parquet", ".sqlite", ".jsonl.zst"}
