"""What is read back, from where, and what is said of a damaged output; `cormorant cat` prints it."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import sys
import tracemalloc

import pytest

from cormorant.errors import MissingPackage, UsageError
from cormorant.messages import Failure, Kind, Outcome, Page, Result
from cormorant.reading import read
from cormorant.sinks import open_sink, records

OUTCOMES: list[Outcome] = [
    Page(url="https://a.example/", input="a", final_url="https://a.example/", status=200, body=b"<p>\xff"),
    Failure(url="u", input="u", final_url="u", kind=Kind.DNS, message="no such name"),
    Page(url="https://a.example/2", input="b", final_url="https://a.example/2", status=200, body=b"two"),
]
NAMES = ("x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.csv", "x.warc.gz", "x.warc.zst", "x.parquet", "x.sqlite", "x/")
CAT = "import typer; from cormorant.cli import cat; app = typer.Typer(); app.command()(cat.cat); app()"


def written(path: pathlib.Path, name: str, outcomes: list[Outcome] = OUTCOMES) -> str:
    with contextlib.closing(open_sink(f"{path}/{name}")) as sink:
        for outcome in outcomes:
            sink.write(outcome)
            sink.flush()
    return f"{path}/{name}"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_opened_before_it_is_asked_for(name: str, tmp_path: pathlib.Path) -> None:
    outcomes = read(written(tmp_path, name))
    assert next(outcomes) == OUTCOMES[0]
    outcomes.close()


@pytest.mark.parametrize("name", ["x.jsonl", "x.warc.gz", "x/", "x.parquet", "x.db", "-"])
def test_what_is_not_there_is_named(name: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"name (an output|a file)"):
        read(name if name == "-" else tmp_path / name if name != "x/" else f"{tmp_path}/x/")


def test_a_name_that_says_no_format_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="cannot tell from"):
        read(tmp_path / "x.pdf")


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.csv", "x.warc", "x.warc.gz", "x.warc.zst"])
def test_a_damaged_file_gives_what_stands_before_the_damage(name: str, tmp_path: pathlib.Path) -> None:
    path = pathlib.Path(written(tmp_path, name, OUTCOMES * 2))
    path.write_bytes(path.read_bytes()[:-19])
    found = []
    with pytest.raises(UsageError, match=r"x\..*: what follows outcome 5 cannot be read: ."):
        found.extend(read(path))
    assert found == (OUTCOMES * 2)[:5]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", b"{}\n"),
        ("x.jsonl", b"[]\n"),
        ("x.jsonl", b"\xff\n"),
        ("x.csv", b"a,b\r\n1,2\r\n"),
        ("x.parquet", b"PAR1"),
        ("x.sqlite", b"no database at all, but more than a hundred bytes" * 9),
        ("x.jsonl.gz", b"plain"),
        ("x.jsonl.zst", b"plain"),
        ("x.warc.gz", b"plain"),
    ],
)
def test_what_is_not_ours_is_said_to_be_unreadable(name: str, content: bytes, tmp_path: pathlib.Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=r"what follows outcome 0 cannot be read"):
        list(read(tmp_path / name))


def test_results_of_map_are_no_outcomes(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(records.line(Result(item=1, index=0, ok=True)))
    with pytest.raises(UsageError, match=r"no outcome of ours \('url' is missing\)"):
        list(read(tmp_path / "x.jsonl"))


def test_a_warc_of_another_program_is_left_to_others(tmp_path: pathlib.Path) -> None:
    from warcio.warcwriter import WARCWriter

    with (tmp_path / "x.warc.gz").open("wb") as file:
        writer = WARCWriter(file)
        writer.write_record(writer.create_warcinfo_record("x.warc.gz", {"software": "another"}))
    with pytest.raises(UsageError, match="not written by cormorant; read it with fastwarc or warcio"):
        list(read(tmp_path / "x.warc.gz"))


@pytest.mark.parametrize(("name", "package"), [("x.warc.gz", "fastwarc"), ("x.parquet", "pyarrow")])
def test_a_missing_reader_is_named_with_the_fix(
    name: str, package: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = written(tmp_path, name)
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=r"pip install 'cormorant\[(warc|parquet)\]'"):
        list(read(target))


def test_an_index_cannot_point_out_of_its_folder(tmp_path: pathlib.Path) -> None:
    target = written(tmp_path, "x/")
    (tmp_path / "secret").write_bytes(b"secret")
    index = tmp_path / "x" / "index.jsonl"
    record = json.loads(index.read_text().splitlines()[0]) | {"file": "../secret"}
    index.write_text(json.dumps(record) + "\n")
    with pytest.raises(UsageError, match="is no name of ours"):
        list(read(target))


def test_a_renamed_warc_still_gives_the_bodies_of_its_revisits(tmp_path: pathlib.Path) -> None:
    pathlib.Path(written(tmp_path, "x.warc.gz", OUTCOMES * 2)).rename(tmp_path / "y.warc.gz")
    assert list(read(tmp_path / "y.warc.gz")) == OUTCOMES * 2


@pytest.mark.parametrize("name", NAMES)
def test_reading_takes_no_more_memory_for_more(name: str, tmp_path: pathlib.Path) -> None:
    pages: list[Outcome] = [
        Page(url=f"https://a.example/{number}", status=200, body=b"%09d" % number * 1000) for number in range(600)
    ]
    target = written(tmp_path, name, pages)
    count = 0
    tracemalloc.start()
    try:
        for outcome in read(target):
            count += len(outcome.body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 600 * 9_000
    assert peak < 4_500_000  # all of them are 5.4 MB; Parquet holds 256 at once


def cat(*names: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", CAT, *names], capture_output=True, timeout=60)


def test_cat_prints_every_format_as_json_lines(tmp_path: pathlib.Path) -> None:
    done = cat(*(written(tmp_path, name) for name in NAMES))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"".join(map(records.line, OUTCOMES)) * len(NAMES)


def test_cat_says_what_it_cannot_read(tmp_path: pathlib.Path) -> None:
    done = cat(written(tmp_path, "x.jsonl"), f"{tmp_path}/missing.jsonl")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"missing.jsonl does not exist" in done.stderr
    (tmp_path / "y.jsonl").write_bytes(records.line(OUTCOMES[0]) + b"{")
    done = cat(f"{tmp_path}/y.jsonl")
    assert done.returncode == 2
    assert done.stdout == records.line(OUTCOMES[0])
    assert b"what follows outcome 1 cannot be read" in done.stderr


def test_cat_stops_when_its_reader_left(tmp_path: pathlib.Path) -> None:
    target = written(tmp_path, "x.jsonl", OUTCOMES * 3000)
    with subprocess.Popen(
        [sys.executable, "-c", CAT, target], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
