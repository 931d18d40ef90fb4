"""What an earlier run knew: read from its records, in every form they are written, and no more than counts."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from cormorant.errors import UsageError
from cormorant.frontier.validators import Validators
from cormorant.messages import Failure, Headers, Kind, Outcome, Page
from cormorant.sinks import records

URL = "https://a.example/x"
ETAG, MODIFIED = ("ETag", '"1"'), ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")


def page(status: int = 200, headers: Headers = (ETAG, MODIFIED), url: str = URL, final_url: str = "") -> Page:
    return Page(url=url, status=status, headers=headers, final_url=final_url)


def written(folder: Path, *outcomes: Outcome, name: str = "pages.jsonl", tail: bytes = b"") -> str:
    data = b"".join(map(records.line, outcomes)) + tail
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(path)


def known(folder: Path, *outcomes: Outcome) -> Headers:
    return Validators.of_run(written(folder, *outcomes)).conditions(URL)


@pytest.mark.parametrize(
    ("outcome", "conditions"),
    [
        (page(), (("If-None-Match", '"1"'), ("If-Modified-Since", MODIFIED[1]))),
        (page(headers=(("etag", 'W/"x"'),)), (("If-None-Match", 'W/"x"'),)),
        (page(headers=(MODIFIED,)), (("If-Modified-Since", MODIFIED[1]),)),
        (page(304, headers=(ETAG,)), (("If-None-Match", '"1"'),)),
        (page(headers=()), ()),
        (page(404), ()),
        (page(206), ()),
        (page(final_url="https://a.example/y"), ()),
        (page(url="https://a.example/y"), ()),
        (Failure(url=URL, kind=Kind.TRUNCATED, message="cut", status=200, headers=(ETAG,), final_url=URL), ()),
    ],
    ids=["both", "etag", "date", "unchanged", "none", "missing", "partial", "redirected", "other", "failed"],
)
def test_a_validator_counts_for_the_url_that_sent_it(tmp_path: Path, outcome: Outcome, conditions: Headers) -> None:
    assert known(tmp_path, outcome) == conditions


def test_the_last_record_of_a_url_counts(tmp_path: Path) -> None:
    assert known(tmp_path, page(), page(headers=(("ETag", '"2"'),))) == (("If-None-Match", '"2"'),)


@pytest.mark.parametrize("name", ["pages.jsonl", "pages.jsonl.gz", "index.jsonl"])
def test_it_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, page(), name=name)
    assert Validators.of_run(str(tmp_path) if name == "index.jsonl" else path).conditions(URL)


def test_the_torn_end_of_a_run_that_was_killed_is_forgiven(tmp_path: Path) -> None:
    path = written(tmp_path, page(), tail=records.line(page(url="https://b.example/"))[:-40])
    assert Validators.of_run(path).conditions(URL)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"https://a.example/\n", "holds no record of ours"),
        (b"https://a.example/\nhttps://b.example/\n", "line 1 of .* is no record of ours"),
        (b'{"url": "x"}\n{"url": "y"}\n', "line 1 of .* is no record of ours"),
    ],
    ids=["one-url", "urls", "other-json"],
)
def test_what_is_no_run_of_ours_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "pages.jsonl").write_bytes(data)
    with pytest.raises(UsageError, match=says):
        Validators.of_run(str(tmp_path / "pages.jsonl"))


@pytest.mark.parametrize("name", ["missing.jsonl", "empty", "torn.jsonl.gz"])
def test_what_cannot_be_read_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(records.line(page()) * 500)[:-20])
    with pytest.raises(UsageError, match=r"since: cannot read .*name the \.jsonl of an earlier run"):
        Validators.of_run(str(tmp_path / name))


def test_an_empty_run_knows_nothing(tmp_path: Path) -> None:
    assert Validators.of_run(written(tmp_path)).conditions(URL) == ()


def test_it_lies_on_disk_and_not_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = written(tmp_path, *(page(url=f"https://a.example/{number}") for number in range(20_000)))
    tracemalloc.start()
    validators = Validators.of_run(path)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 500_000
    assert validators.conditions("https://a.example/19999")
