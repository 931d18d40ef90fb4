"""Lists that lie in a store: named by a URL, read as files are, entered in the middle by a job."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_cli_positions import take as taken

from cormorant import stores
from cormorant.cli import sources
from cormorant.cli.inputs import BEGINNING, Lines
from cormorant.cli.splitter import LONGEST_URL_LINE, url_line
from cormorant.errors import MissingPackage, UsageError
from cormorant.frontier.job_lists import ListFacts, Position, check_unchanged
from cormorant.jobs import Job
from cormorant.sinks import packing

fsspec = pytest.importorskip("fsspec")

URLS = [f"http://a.example/{number}" for number in range(20_000)]
LIST = "".join(f"{url}\n" for url in URLS).encode()


def stored(name: str, data: bytes) -> str:
    """Put a list into the store of this process, and return its URL."""
    url = f"memory://lists/{name}"
    with fsspec.open(url, "wb") as file:
        file.write(data)
    return url


def take(lines: Lines, count: int | None = None) -> list[Any]:
    return [value for value, *_ in taken(lines, count)]


def lines_of(url: str, start: Position = BEGINNING) -> Lines:
    return Lines([url], url_line, LONGEST_URL_LINE, start=start)


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.txt", bytes), ("a.txt.gz", gzip.compress), ("a.txt.zst", lambda data: packing.zstd_frame("x")(data))],
)
def test_a_list_in_a_store_is_read_whole(name: str, pack: Any) -> None:
    lines = lines_of(stored(name, pack(LIST)))
    assert take(lines) == URLS
    assert not lines.errors


@pytest.mark.parametrize(("name", "pack"), [("b.txt", bytes), ("b.txt.gz", gzip.compress)])
def test_it_is_read_on_from_where_a_job_stopped(name: str, pack: Any) -> None:
    url = stored(name, pack(LIST))
    lines = lines_of(url)
    take(lines, 12_345)
    position = lines.position
    take(lines)
    assert (position.offset > 0) == (name == "b.txt")
    assert take(lines_of(url, position)) == URLS[12_345:]


def test_how_far_it_was_read_is_known_by_its_bytes() -> None:
    lines = lines_of(stored("c.txt", LIST))
    take(lines, 5_000)
    assert lines.expected() == pytest.approx(len(URLS), rel=0.3)
    assert sources.size("memory://lists/c.txt") == len(LIST)
    assert sources.size("memory://lists/none.txt") is None
    take(lines)


def test_a_list_that_has_changed_is_known() -> None:
    before = ListFacts.of(stored("d.txt", LIST))
    assert (before.name, before.bytes) == ("memory://lists/d.txt", len(LIST))
    check_unchanged([before], [ListFacts.of("memory://lists/d.txt")])
    stored("d.txt", LIST.replace(b"/19999", b"/99999"))
    with pytest.raises(UsageError, match=r"memory://lists/d.txt holds other lines"):
        check_unchanged([before], [ListFacts.of("memory://lists/d.txt")])


@pytest.mark.parametrize(
    ("url", "error", "match"),
    [
        (
            "memory://lists/none.txt",
            UsageError,
            "cannot read the list memory://lists/none.txt: there is no such object",
        ),
        ("memory://lists", UsageError, "there is no such object"),
        ("odd://bucket/urls.txt", UsageError, "known are s3://"),
        ("s3://bucket/urls.txt", MissingPackage, "pip install fsspec s3fs"),
    ],
)
def test_one_that_cannot_be_read_is_told_before_the_run(url: str, error: type[Exception], match: str) -> None:
    if url.startswith("s3://") and __import__("importlib.util").util.find_spec("s3fs") is not None:
        pytest.skip("s3fs is installed here")
    with pytest.raises(error, match=match):
        lines_of(url)


def test_without_fsspec_the_message_holds_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingPackage, match=r"pip install 'cormorant\[ray\]'"):
        lines_of("file:///tmp/urls.txt")
    with pytest.raises(MissingPackage, match="pip install fsspec gcsfs"):
        lines_of("gs://bucket/urls.txt")


def test_a_page_is_no_store_and_a_path_neither() -> None:
    names = ["http://a.example/urls.txt", "HTTPS://a.example/", "urls.txt", "/a/b://c", "a:b", "-"]
    assert [stores.is_url(name) for name in names] == [False] * len(names)
    assert stores.is_url("s3://bucket/urls.txt")


def test_fsspec_is_imported_only_for_a_url(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_bytes(b"# none\n")
    code = (
        "import sys\nfrom cormorant.cli import inputs, sources\nfrom cormorant.frontier.job_lists import ListFacts\n"
        "import cormorant.api, cormorant.reading\nfrom cormorant.fleet import driver, member\n"
        "sources.check(sys.argv[1]); ListFacts.of(sys.argv[1])\nassert 'fsspec' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "urls.txt")], check=True)


def test_the_command_takes_a_list_from_a_store_and_goes_on_with_it(cormorant: Any, rude: Any) -> None:
    urls = [rude.url(f"/ok/{number}") for number in range(3)]
    cormorant.list(*urls)
    url = f"file://{cormorant.folder}/urls.txt"
    words = ("fetch", "-i", url, "-o", "pages.jsonl", "--job", "job", "-q", "--retries", 0)
    first = cormorant.run(*words)
    assert len((cormorant.folder / "pages.jsonl").read_text().splitlines()) == 3, first
    again = cormorant.run(*words)
    assert again[2] == ""
    assert len((cormorant.folder / "pages.jsonl").read_text().splitlines()) == 3
    cormorant.list(urls[0])
    assert "the list " + url + " had" in cormorant.run(*words)[2]


@pytest.mark.parametrize("where", ["", "file://{}/"])
def test_a_pattern_in_quotes_is_all_lists_it_matches(cormorant: Any, rude: Any, where: str) -> None:
    (cormorant.folder / "lists").mkdir()
    for name in ("b", "a"):
        (cormorant.folder / "lists" / f"{name}.txt").write_text(rude.url(f"/ok/{name}") + "\n")
    pattern = where.format(cormorant.folder) + "lists/*.txt"
    code, out, err = cormorant.run("fetch", "-i", pattern, "-o", "-", "-q", "-c", 1)
    assert code == 0, err
    assert [json.loads(line)["input"][-1] for line in out.splitlines()] == ["a", "b"]
    code, _, err = cormorant.run("fetch", "-i", pattern.replace("txt", "csv"), "-o", "-")
    assert code == 2
    assert "*.csv" in err
    code, _, err = cormorant.run("fetch", "-i", "lists/a.txt", "lists/b.txt")
    assert code == 2
    assert "-i '*.txt'" in " ".join(err.split())


def test_a_job_in_a_store_is_refused_and_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for ask in (
        lambda: Job.open("s3://bucket/job", {}),
        lambda: Job.resume("s3://bucket/job", {}),
        lambda: Job.look("s3://bucket/job"),
        lambda: Job.retry("s3://bucket/job", ["timeout"]),
    ):
        with pytest.raises(UsageError, match="s3://bucket/job is no path of a file: a job's folder is a local one"):
            ask()
    assert not os.listdir(tmp_path)


def test_an_output_in_a_store_needs_workers(cormorant: Any) -> None:
    code, _, err = cormorant.run("fetch", "http://127.0.0.1:9/", "-o", "s3://bucket/pages.jsonl")
    assert code == 2
    assert "s3://bucket/pages.jsonl is no path of a file" in err
    assert "-w 1" in err
    assert not os.listdir(cormorant.folder)
