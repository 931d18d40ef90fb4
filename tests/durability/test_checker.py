"""The checker finds what it is there for: each invariant, broken once, in what the real sinks have written."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import WARC_READERS
from checker import Allowed, Verdict, check
from strangers import read

from cormorant.messages import Failure, Kind, Outcome, Page, Redirect
from cormorant.sinks import open_sink

TEXTS = ("x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.csv", "x.csv.gz")
WARCS = ("x.warc", "x.warc.gz", "x.warc.zst")
ROTATED = (*TEXTS, *WARCS, "x.parquet", "x.sqlite")
ALL = (*ROTATED, "x/")

URLS = [f"http://h{number % 2}.example/{number}" for number in range(7)]
MOVED = f"{URLS[3]}moved"
PLAIN = (("Content-Type", "text/plain"),)

Outcomes = list[Outcome]


def page(url: str, **more: object) -> Page:
    known = {"status": 200, "headers": PLAIN, "body": f"this is {url}\n".encode(), "input": url, "final_url": url}
    return Page(url=url, **{**known, **more})  # type: ignore[arg-type]


def outcomes() -> Outcomes:
    """Return what a run ends in: pages, one of them like another, one empty, one moved, one missing; and a failure."""
    hops = (Redirect(url=URLS[3], status=301, seconds=0.1),)
    return [
        page(URLS[0]),
        page(URLS[1]),
        page(URLS[2], body=f"this is {URLS[0]}\n".encode()),
        page(URLS[3], final_url=MOVED, redirects=hops, body=b'=moved, "here"\r\nand there'),
        page(URLS[4], body=b""),
        page(URLS[5], status=404, body=b"\xff\xfe\x00no text"),
        page(URLS[6]),
        Failure(url="no url", input="no url", kind=Kind.BAD_URL, message="no URL"),
    ]


def logged(at: float, url: str, status: int, body: bytes) -> str:
    return f"{int(at * 1e9)} {url}\n{int(at * 1e9)} {url} {status} {hashlib.sha256(body).hexdigest()}\n"


@dataclasses.dataclass
class Ended:
    """A run that has ended: a list, a log and an output, as they should be."""

    folder: Path
    name: str

    @property
    def output(self) -> Path:
        return self.folder / self.name

    def write(self, outcomes: Outcomes, **words: int) -> Ended:
        with contextlib.closing(open_sink(f"{self.folder}/{self.name}", **words)) as sink:
            for outcome in outcomes:
                sink.write(outcome)
                sink.flush()
        return self

    def log(self, *more: str) -> None:
        pages = [one for one in outcomes() if isinstance(one, Page)]
        lines = [logged(number, one.final_url, one.status, one.body) for number, one in enumerate(pages)]
        lines.insert(3, logged(2.5, URLS[3], 301, b""))
        (self.folder / "server.log").write_text("".join([*lines, *more]))

    def check(self, **allowed: object) -> Verdict:
        lists, log = self.folder / "urls.txt", self.folder / "server.log"
        return check(lists, log, self.output, Allowed(**allowed))  # type: ignore[arg-type]


def ended(folder: Path, name: str) -> Ended:
    (folder / "urls.txt").write_text("\n".join([*URLS, "no url", URLS[0], "# a comment", ""]))
    run = Ended(folder, name)
    run.log()
    return run


@pytest.fixture(params=ALL)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Ended:
    return ended(tmp_path, request.param)


@pytest.fixture
def good(tmp_path: Path) -> Ended:
    return ended(tmp_path, "x.jsonl").write(outcomes())


def test_what_is_right_has_no_faults(run: Ended) -> None:
    verdict = run.write(outcomes()).check(gap=0.5, reachable=frozenset([*URLS, MOVED]))
    assert (verdict.faults, verdict.records, verdict.requests, verdict.fetched_again) == ([], 8, 8, 0)
    assert (verdict.smallest_gap, verdict.failed) == (0.5, {"bad_url": 1})


def test_all_formats_say_the_same(run: Ended) -> None:
    found = list(read(run.write(outcomes()).output))
    assert [(one.url, one.line, one.final_url, one.status, one.kind, one.hops) for one in found] == [
        (one.url, one.input, one.final_url or one.url, one.status, one.kind, tuple(hop.url for hop in one.redirects))
        for one in outcomes()
    ]
    assert [one.sha256 for one in found[:-1]] == [hashlib.sha256(one.body).hexdigest() for one in outcomes()[:-1]]


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda them: them[1:], "I1: 1 lines have no record"),
        (lambda them: [*them, them[6]], "I1: 1 have more than one record"),
        (lambda them: them[:-1], "I1: 1 lines have no record: ['no url']"),
        (lambda them: [page(URLS[0], body=them[1].body), *them[1:]], "I2: 1 have another status or body"),
        (lambda them: [page(URLS[0], status=500), *them[1:]], "I2: 1 have another status or body"),
        (lambda them: [*them[:2], page(URLS[2], body=them[1].body), *them[3:]], "I2: 1 have another status or body"),
        (lambda them: [page("http://x/", input=URLS[0]), *them[1:]], "I1: 1 were fetched and are in no record"),
    ],
    ids=["lost", "doubled", "bad line lost", "another's body", "another status", "a false twin", "fetched, forgotten"],
)
def test_a_wrong_record_is_a_fault(spoil: Callable[[Outcomes], Outcomes], fault: str, run: Ended) -> None:
    faults = run.write(spoil(outcomes())).check().faults
    assert [found for found in faults if found.startswith(fault)]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_file_is_a_fault(cut: int, run: Ended) -> None:
    run.write(outcomes())
    file = run.output / "index.jsonl" if run.name == "x/" else run.output
    file.write_bytes(file.read_bytes()[:-cut])
    assert [fault for fault in run.check().faults if fault.startswith("I3: ")]


@pytest.mark.parametrize("name", ROTATED)
def test_parts_are_read_together(name: str, tmp_path: Path) -> None:
    run = ended(tmp_path, name).write(outcomes(), rotate_bytes=1)
    assert len(list(tmp_path.glob("x-0000*"))) >= 5
    (tmp_path / f"x-side{run.output.suffix}").write_text("nothing of ours\n")
    (tmp_path / f"xx{run.output.suffix}").write_text("nothing of ours\n")
    assert run.check().faults == []


@pytest.mark.parametrize("name", ROTATED)
def test_a_lost_part_is_a_fault(name: str, tmp_path: Path) -> None:
    run = ended(tmp_path, name).write(outcomes(), rotate_bytes=1)
    sorted(tmp_path.glob("x-0000*"))[1].unlink()
    assert run.check().faults


@pytest.mark.parametrize(
    "beside", ["x.parquet.partial", "x-00001.parquet.partial", "x.sqlite-wal", "x.sqlite-shm", "x.sqlite-journal"]
)
def test_half_a_file_is_a_fault(beside: str, tmp_path: Path) -> None:
    run = ended(tmp_path, "x.parquet" if "parquet" in beside else "x.sqlite").write(outcomes())
    (tmp_path / beside).write_bytes(b"")
    assert run.check().faults == [f"I6: left beside the output: {beside}"]


# --- a folder ---


def body_of(run: Ended, url: str) -> Path:
    records = map(json.loads, (run.output / "index.jsonl").read_text().splitlines())
    return run.output / next(record["file"] for record in records if record["url"] == url)


def test_a_body_that_is_not_named_is_a_fault(tmp_path: Path) -> None:
    run = ended(tmp_path, "x/").write(outcomes())
    body_of(run, URLS[0]).with_name("b-0123456789abcdef0123.txt").write_bytes(b"")
    assert run.check().faults == ["I6: left beside the output: h0.example/b-0123456789abcdef0123.txt"]


def test_a_body_that_is_missing_or_cut_is_a_fault(tmp_path: Path) -> None:
    run = ended(tmp_path, "x/").write(outcomes())
    body_of(run, URLS[0]).write_bytes(b"this is")
    assert run.check().faults[0].startswith("I2: 1 have another status or body")
    body_of(run, URLS[0]).unlink()
    assert run.check().faults[0].startswith("I3: x: FileNotFoundError")


def test_two_records_of_one_body_are_a_fault(tmp_path: Path) -> None:
    run = ended(tmp_path, "x/").write(outcomes())
    index = (run.output / "index.jsonl").read_text()
    names = [str(body_of(run, url).relative_to(run.output)) for url in URLS[:2]]
    (run.output / "index.jsonl").write_text(index.replace(names[1], names[0]))
    assert run.check().faults[-1].startswith("I3: x: ValueError: two records name")


# --- WARC ---


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        (rb"this is http://h1.example/1", b"that is http://h1.example/1", "ArchiveLoadFailed"),
        (rb"(File-Offset: )", rb"\g<1>1", "which is not there"),
        (rb"(Refers-To: <urn:uuid:)....", rb"\g<1>0000", "which is not there"),
        (rb"WARC-Type: metadata", b"WARC-Type: resource", "has no metadata"),
        (rb"WARC/1.1\r\nWARC-Type: response.*?(WARC/1.1\r\nWARC-Type: metadata)", rb"\1", "stands behind None"),
        (rb"WARC-Target-URI: http://h0.example/6", b"WARC-Target-URI: http://h0.example/7", "of http://h0.example/7"),
    ],
    ids=["another payload", "a wrong place", "a wrong name", "no outcome", "no answer", "another's answer"],
)
def test_a_spoilt_archive_is_a_fault(before: bytes, after: bytes, fault: str, tmp_path: Path) -> None:
    run = ended(tmp_path, "x.warc").write(outcomes())
    data, count = re.subn(before, after, run.output.read_bytes(), flags=re.DOTALL)
    assert count
    run.output.write_bytes(data)
    assert re.match(rf"I3: x\.warc: .*{fault}", run.check().faults[0])


def test_every_reader_has_to_take_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended(tmp_path, "x.warc.gz").write(outcomes())
    monkeypatch.setattr("archives.WARC_READERS", (lambda path: iter(()), *WARC_READERS))
    assert run.check().faults == ["I3: x.warc.gz: ValueError: its readers differ: [0, 8, 8] records"]


# --- what was asked for ---


def test_fetching_too_much_again_is_a_fault(good: Ended) -> None:
    good.log(*(logged(50 + number, url, 200, f"this is {url}\n".encode()) for number, url in enumerate(URLS[:2])))
    assert good.check(kills=1, bound=1).faults == ["I4: 2 asked for again, of 1 kills times 1 at most"]
    assert good.check(kills=2, bound=1).faults == []
    assert good.check(kills=2, bound=1).fetched_again == 2
    assert good.check().faults[0].startswith("I4: 2 were asked for again and nobody was killed")


def test_what_was_not_answered_counts_as_asked_for(good: Ended) -> None:
    good.log(f"{50 * 10**9} {URLS[0]}\n")
    assert good.check(kills=1, bound=1).fetched_again == 1


def test_a_stop_may_begin_a_redirect_anew(good: Ended) -> None:
    good.log(logged(50, URLS[3], 301, b""))
    assert (good.check().fetched_again, good.check().faults) == (1, [])


def test_a_page_that_fails_may_be_tried_again(good: Ended) -> None:
    good.log(logged(50, URLS[0], 503, b""), logged(60, URLS[0], 503, b""))
    assert good.check(tried=2, kills=1, bound=1).fetched_again == 1


def test_too_small_a_gap_is_a_fault(good: Ended) -> None:
    assert good.check(gap=2.0).faults == ["I8: two requests to a host 0.500 s apart, not 2.0"]


def test_a_page_of_a_crawl_that_is_missing_or_strange_is_a_fault(good: Ended) -> None:
    faults = good.check(reachable=frozenset([*URLS[1:], MOVED, "http://h0.example/far"])).faults
    assert faults == [
        "I1: 1 can be reached and are in no record: ['http://h0.example/far']",
        f"I1: 1 cannot be reached: ['{URLS[0]}']",
    ]
