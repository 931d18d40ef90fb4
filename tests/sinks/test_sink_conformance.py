"""What every sink must do, and what each one adds. A sink under test is opened by one function and read by another."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from cormorant.errors import OutputError, UsageError
from cormorant.interfaces import Sink
from cormorant.messages import Failure, Found, Kind, Page, Redirect, Result, Timings, failed
from cormorant.reading import read
from cormorant.sinks import open_sink, packing, records
from cormorant.sinks.csv import Csv
from cormorant.sinks.folder import Folder
from cormorant.sinks.jsonl import JsonLines
from cormorant.sinks.memory import Memory
from cormorant.sinks.parquet import Parquet
from cormorant.sinks.sqlite import Sqlite
from cormorant.sinks.warc import Warc

BLNS = pathlib.Path(__file__).parents[3] / "shared" / "data" / "strings" / "blns.json"
BODY_FIELDS = ("body", "body_base64", "file")


class Read(NamedTuple):
    """What a sink gave back about one outcome: the record without its body, and the body's bytes."""

    facts: dict[str, Any]
    body: bytes | None


class Case(NamedTuple):
    """How to open a sink on a folder of its own, and how to read it back once it is flushed."""

    open: Callable[[pathlib.Path], Any]
    read: Callable[[Any, pathlib.Path], list[Read]]


class Stream(io.BytesIO):
    """A stream that belongs to the caller."""


def read_back(name: str) -> Callable[[Any, pathlib.Path], list[Read]]:
    """Return what reads the file `name` by our own reader."""
    return lambda _, path: read_lines(b"".join(records.line(outcome) for outcome in read(path / name)))


def case_of(name: str) -> Case:
    return Case(lambda path: open_sink(path / name), read_back(name))


def facts(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in BODY_FIELDS}


def read_lines(lines: bytes) -> list[Read]:
    loaded = [json.loads(line) for line in lines.split(b"\n")[:-1]]
    return [Read(facts(record), records.body(record)) for record in loaded]


def read_folder(sink: Any, path: pathlib.Path) -> list[Read]:
    loaded = [json.loads(line) for line in (path / "index.jsonl").read_bytes().split(b"\n")[:-1]]
    return [
        Read(facts(record), (path / record["file"]).read_bytes() if record.get("file") else None) for record in loaded
    ]


CASES = {
    "jsonl": Case(
        lambda path: JsonLines(path / "x.jsonl"), lambda _, path: read_lines((path / "x.jsonl").read_bytes())
    ),
    "jsonl-stream": Case(
        lambda _: JsonLines(Stream()),
        lambda sink, _: read_lines(sink._file._file.getvalue()),
    ),
    "folder": Case(Folder, read_folder),
    "memory": Case(
        lambda _: Memory(), lambda sink, _: read_lines(b"".join(records.line(each) for each in sink.outcomes))
    ),
} | {
    name: case_of(name)
    for name in (
        *("x.jsonl.gz", "x.jsonl.zst", "x.csv", "x.csv.gz", "x.csv.zst", "x.warc", "x.warc.gz", "x.warc.zst"),
        *("x.parquet", "x.sqlite", "x.db"),
    )
}
TAKE_RESULTS = ("jsonl", "jsonl-stream", "folder", "memory", "x.jsonl.gz", "x.jsonl.zst")


class Opened(NamedTuple):
    name: str
    sink: Any
    read: Callable[[], list[Read]]


@pytest.fixture(params=CASES)
def opened(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Opened]:
    case = CASES[request.param]
    sink = case.open(tmp_path)
    yield Opened(request.param, sink, lambda: case.read(sink, tmp_path))
    sink.close()


def page(url: str = "https://a.example/", body: bytes = b"<p>hello", **fields: Any) -> Page:
    return Page(url=url, status=200, body=body, **fields)


OUTCOMES = [
    page(headers=(("content-type", "text/html; charset=utf-8"),), fetched_at=1.5, data={"a": 1}),
    page("https://a.example/image", b"\x89PNG\0\xff", headers=(("content-type", "image/png"),)),
    page("https://a.example/latin", "grüße".encode("latin-1"), headers=(("content-type", "text/html"),)),
    Failure(url="not a url", kind=Kind.BAD_URL, message="not an absolute URL", line=3),
    Failure(url="https://a.example/cut", kind=Kind.TRUNCATED, message="cut", status=200, body=b"<p>he"),
]


FULL_PAGE = Page(
    url="https://a.example/b",
    input="HTTPS://A.example/b#c",
    line=7,
    final_url="https://a.example/c",
    status=404,
    headers=(("Content-Type", "text/html"), ("Content-Encoding", "br"), ("Set-Cookie", "a=1"), ("set-cookie", "")),
    body=b"<p>gr\xfc\xdfe",
    attempts=2,
    redirects=(Redirect(url="https://a.example/b", status=301, seconds=0.25),),
    fetched_at=1_700_000_000.125,
    timings=Timings(queue=0.5, dns=0.125, connect=0.25, tls=0.5, first_byte=1.0, body=0.25, total=2.125),
    ip="2001:db8::1",
    http_version="2",
    found=Found(depth=1, source="https://a.example/", text="B", lastmod="2026-11-25"),
    data={"title": ["x", 1, None, True, 1.5, 2**70]},
)
ANYTHING = [
    FULL_PAGE,
    FULL_PAGE,
    *(
        page(body=body, input="https://a.example/", final_url="https://a.example/", headers=headers)
        for headers in ((), (("Content-Type", "text/html"),), (("Content-Type", "text/html; charset=utf-16"),))
        for body in (
            b"",
            b"\0",
            b"\r\n",
            b"'=1",
            b"=1+1",
            b'"',
            b"\xff\xfe\0\xd8",
            bytes(range(256)) * 20,
            b"x" * 300_000,
        )
    ),
    msgspec.structs.replace(FULL_PAGE, data=False, redirects=(), found=None, line=None, ip=None, http_version=None),
    msgspec.structs.replace(FULL_PAGE, data="", body=b"WARC/1.1\r\n\r\nHTTP/1.1 200\r\n\r\n"),
    msgspec.structs.replace(failed(FULL_PAGE, Kind.TRUNCATED, "cut", "body"), data=[]),
    *(
        Failure(url="=x", input="=x", final_url="=x", kind=kind, message="\n'why'\0", phase=phase)
        for kind, phase in ((Kind.TIMEOUT, "connect"), (Kind.BAD_URL, None), (Kind.CALLBACK, "job"))
    ),
    msgspec.structs.replace(failed(FULL_PAGE, Kind.TOO_LARGE, "", "body"), body=b"", status=200),
]


def expected(outcome: Any) -> Read:
    return Read(facts(json.loads(records.line(outcome))), outcome.body or None)


def test_it_is_a_sink(opened: Opened) -> None:
    sink: Sink = opened.sink
    assert repr(sink).startswith(f"<{type(sink).__name__} ")


def test_what_was_written_is_read_back_in_order(opened: Opened) -> None:
    for outcome in OUTCOMES:
        opened.sink.write(outcome)
    opened.sink.close()
    assert opened.read() == [expected(outcome) for outcome in OUTCOMES]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a thread that compresses."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_flush_is_enough_to_read(opened: Opened) -> None:
    if opened.name == "x.parquet":
        pytest.skip("a Parquet file is there once it is complete")
    for count, outcome in enumerate(OUTCOMES, 1):
        opened.sink.write(outcome)
        opened.sink.flush()
        wait_until(lambda count=count: len(opened.read()) == count)


def test_closing_twice_is_closing_once(opened: Opened) -> None:
    opened.sink.write(OUTCOMES[0])
    opened.sink.close()
    opened.sink.close()
    opened.sink.flush()
    assert len(opened.read()) == 1


def test_a_closed_sink_takes_nothing(opened: Opened) -> None:
    opened.sink.close()
    with pytest.raises(OutputError, match="closed"):
        opened.sink.write(OUTCOMES[0])


def test_an_unused_sink_is_empty(opened: Opened) -> None:
    opened.sink.close()
    assert opened.read() == []


def test_a_result_of_map_is_written_or_refused_by_name(opened: Opened, tmp_path: pathlib.Path) -> None:
    result = Result(item="x", index=0, ok=True, value=2, seconds=0.5)
    if opened.name not in TAKE_RESULTS:
        with pytest.raises(UsageError, match=r"x\.\w+.* holds pages; results of map go to JSON Lines or a folder"):
            opened.sink.write(result)
        return
    opened.sink.write(result)
    opened.sink.close()
    if opened.name.startswith("x."):
        assert packing.opened(str(tmp_path / opened.name)).read() == records.line(result)
    else:
        assert [read.facts for read in opened.read()] == [json.loads(records.line(result))]


def test_a_page_with_strange_data_is_written(opened: Opened) -> None:
    opened.sink.write(page(data={object()}))
    opened.sink.close()
    (read,) = opened.read()
    assert read.body == b"<p>hello"
    assert read.facts["data"].startswith("{<object object at")
    if not opened.name.startswith("x."):  # a page that is read back has no message
        assert "data cannot be JSON" in read.facts["message"]


NAUGHTY = [
    "../../etc/passwd",
    "/etc/passwd",
    "http://../..",
    "http://./",
    "http://index.jsonl/index.jsonl",
    "http://a.example/" + "x" * 4000,
    "http://" + "y" * 300 + "/",
    "http://a.example/Page",
    "http://a.example/page",
    "http://A.example/page",
    "http://a.example/page?",
    "http://a.example:80/page",
    "https://a.example/page",
    "http://user:password@a.example/page",
    "http://a.example/con",
    "http://a.example/nul\0",
    'http://a.example/new\nline\\back:colon*?"<>|',
    "http://[::1]:8000/",
    "http://a.example/%2e%2e%2f%2e%2e",
    "http://a.example/.hidden",
    "http://a.example/-rf",
    "http://a.example/~",
    "http://\u043f\u0440\u0438\u043c\u0435\u0440/\U0001f600",
    "\ud800",
    " ",
]


def naughty(number: int, text: str) -> Page:
    """Return a page that holds `text` wherever text can be."""
    return page(
        text or "-",
        f"<title>{text}</title>{number}".encode("utf-8", "replace"),
        input=text or "-",
        final_url=text or "-",
        headers=(("Content-Type", "text/html; charset=utf-8"), ("X-Naughty", text), (text, "name")),
        redirects=(Redirect(url=text, status=301, seconds=0.5),),
        found=Found(depth=2, source=text, text=text, lastmod=text),
        data={"title": text, text: number},
    )


def test_naughty_strings_all_come_back(opened: Opened) -> None:
    texts = NAUGHTY + (json.loads(BLNS.read_text("utf-8")) if BLNS.is_file() else [])
    outcomes = [naughty(number, text) for number, text in enumerate(texts)]
    for outcome in outcomes:
        opened.sink.write(outcome)
    opened.sink.close()
    assert opened.read() == [expected(outcome) for outcome in outcomes]


def test_every_field_and_any_body_comes_back(opened: Opened, tmp_path: pathlib.Path) -> None:
    """Compared as values: what is read is what was written."""
    if opened.name in ("jsonl-stream", "memory"):
        pytest.skip("nothing there to be read by its name")
    for outcome in ANYTHING:
        opened.sink.write(outcome)
    opened.sink.close()
    name = {"jsonl": "x.jsonl", "folder": ""}.get(opened.name, opened.name)
    assert list(read(tmp_path / name)) == ANYTHING


@pytest.mark.parametrize("name", ["jsonl", "folder", "x.jsonl.gz", "x.csv", "x.warc.gz", "x.sqlite"])
def test_ten_thousand_records_without_growth(name: str, tmp_path: pathlib.Path) -> None:
    sink = CASES[name].open(tmp_path)

    def write(count: int) -> int:
        for number in range(count):
            sink.write(page(f"https://a.example/{count}/{number}", b"x" * 200))
        sink.sync()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = write(2_500)
        after = write(7_500)
    finally:
        tracemalloc.stop()
        sink.close()
    assert after - before < 1_000_000  # 7,500 held: over 4 MB. msgspec keeps up to 2,000 freed records for later: 0.4
    assert len(CASES[name].read(sink, tmp_path)) == 10_000


# Files


def test_a_file_always_ends_with_a_whole_line(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.jsonl"
    sink = JsonLines(path)
    sizes = set()
    for number in range(3_000):
        sink.write(page(body=b"x" * 1000, line=number))
        if (size := path.stat().st_size) not in sizes:
            sizes.add(size)
            assert path.read_bytes().endswith(b"\n") or size == 0
    sink.close()
    assert len(sizes) > 5
    assert [read.facts["line"] for read in read_lines(path.read_bytes())] == list(range(3_000))


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("last", ["flush", "close"])
def test_a_full_disk_names_the_file_and_the_reason(last: str) -> None:
    sink = JsonLines("/dev/full")
    sink.write(OUTCOMES[0])
    with pytest.raises(OutputError, match=r"/dev/full: No space left on device"):
        getattr(sink, last)()
    sink.close()


FULL = """
import json, pathlib, resource, sys
from cormorant.errors import OutputError
from cormorant.messages import Page
from cormorant.sinks import open_sink
sink = open_sink(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    for number in range(1000):
        sink.write(Page(url=f"https://a.example/{number}", status=200, body=b"x" * (20_000 if number == 8 else 900)))
        sink.flush()
except OutputError as error:
    sink.close()
    sys.exit(str(error))
"""


@pytest.mark.parametrize("target", ["x.jsonl", "x/"])
def test_a_disk_that_fills_up_leaves_whole_records(target: str, tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / target) + "/" * target.endswith("/")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "File too large" in done.stderr
    assert str(tmp_path / "x") in done.stderr
    index = tmp_path / ("x/index.jsonl" if target == "x/" else "x.jsonl")
    written = index.read_bytes()
    assert written.endswith(b"\n")
    assert 5 <= written.count(b"\n") <= 9
    if target == "x/":
        files = {
            path.relative_to(tmp_path / "x").as_posix() for path in (tmp_path / "x").rglob("*.*") if path.is_file()
        }
        assert {json.loads(line)["file"] for line in written.splitlines()} == files - {"index.jsonl"}


@pytest.mark.parametrize("target", ["x.jsonl", "x/"])
def test_a_folder_that_refuses_is_named(target: str, refusing: pathlib.Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*x.*: Permission denied"):
        open_sink(f"{refusing}/{target}")


@pytest.fixture
def refusing() -> Iterator[pathlib.Path]:
    """Make a folder in which this process may not write, even when it runs as root."""
    path = pathlib.Path(tempfile.mkdtemp())
    path.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield path
    os.seteuid(user)
    shutil.rmtree(path)


def test_a_file_is_no_folder(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"file/x\.jsonl: Not a directory"):
        open_sink(str(tmp_path / "file" / "x.jsonl"))
    with pytest.raises(OutputError, match=r"cannot write .*file/: "):
        open_sink(f"{tmp_path}/file/")


def test_a_missing_folder_says_how_to_make_it(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OutputError, match=r"its folder is missing; make it: mkdir -p .*/deep/er"):
        open_sink(str(tmp_path / "deep" / "er" / "x.jsonl"))


def test_a_broken_pipe_passes_unchanged() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as stream:
        sink = JsonLines(stream)
        sink.write(OUTCOMES[0])
        with pytest.raises(BrokenPipeError):
            sink.flush()


def test_a_stream_stays_open_and_gets_everything() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb") as stream:
        sink = JsonLines(stream)
        sink.write(OUTCOMES[0])
        sink.close()
        assert json.loads(pipe.readline())["url"] == OUTCOMES[0].url
        assert not stream.closed


@pytest.mark.parametrize("target", ["x.jsonl", "x/"])
def test_what_exists_is_kept_unless_told_otherwise(target: str, tmp_path: pathlib.Path) -> None:
    name = f"{tmp_path}/{target}"

    def write(outcome: Page, overwrite: bool) -> None:
        with contextlib.closing(open_sink(name, overwrite=overwrite)) as sink:
            sink.write(outcome)

    def files() -> list[str]:
        return sorted(path.read_text() for path in tmp_path.rglob("*") if path.is_file())

    write(page(body=b"older body"), False)
    before = files()
    with pytest.raises(UsageError, match="--overwrite"):
        open_sink(name)
    assert files() == before
    write(page("https://b.example/", body=b"newer body"), True)
    assert len(files()) == len(before)
    assert "older body" not in "".join(files())
    assert "newer body" in "".join(files())


# The folder


def names_in(path: pathlib.Path) -> list[str]:
    found = [each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file()]
    return sorted(name for name in found if name != "index.jsonl")


def test_names_are_safe_on_every_file_system(tmp_path: pathlib.Path) -> None:
    sink = Folder(tmp_path / "pages")
    for url in NAUGHTY:
        sink.write(page(url))
    sink.close()
    names = names_in(tmp_path / "pages")
    assert {path.name for path in tmp_path.iterdir()} == {"pages"}
    assert len({name.lower() for name in names}) == len(NAUGHTY)
    for name in names:
        host, file = name.split("/")
        assert len(host) <= 130
        assert len(file) <= 120
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-/")
        assert not host.startswith((".", "-"))
        assert not file.startswith((".", "-"))
        assert not host.endswith(".")


@pytest.mark.parametrize(
    ("url", "content_type", "name"),
    [
        ("https://a.example/", "text/html; charset=utf-8", r"a\.example/index-[0-9a-f]{20}\.html"),
        ("https://a.example/news/One.HTML?x=1", "TEXT/HTML", r"a\.example/news-one\.html-x-1-[0-9a-f]{20}\.html"),
        ("https://a.example/a/photo.jpg", "image/jpeg", r"a\.example/a-photo-[0-9a-f]{20}\.jpg"),
        ("http://127.0.0.1:8000/x", None, r"127\.0\.0\.1-8000/x-[0-9a-f]{20}\.txt"),
        ("https://a.example/x", "application/x-thing", r"a\.example/x-[0-9a-f]{20}\.bin"),
    ],
)
def test_names_can_be_read(url: str, content_type: str | None, name: str, tmp_path: pathlib.Path) -> None:
    sink = Folder(tmp_path)
    sink.write(page(url, headers=(("content-type", content_type),) if content_type else ()))
    sink.close()
    (found,) = names_in(tmp_path)
    assert re.fullmatch(name, found), found


def test_a_url_that_comes_again_keeps_both_bodies(tmp_path: pathlib.Path) -> None:
    sink = Folder(tmp_path)
    for body in (b"one", b"two", b"three"):
        sink.write(page(body=body))
    sink.close()
    assert [read.body for read in read_folder(sink, tmp_path)] == [b"one", b"two", b"three"]


def test_a_name_depends_on_the_url_alone(tmp_path: pathlib.Path) -> None:
    for order, urls in {"forwards": NAUGHTY, "backwards": NAUGHTY[::-1]}.items():
        sink = Folder(tmp_path / order)
        for url in urls:
            sink.write(page(url))
        sink.close()
    assert names_in(tmp_path / "forwards") == names_in(tmp_path / "backwards")
    for url in NAUGHTY:
        files = {
            json.loads(line)["file"]
            for order in ("forwards", "backwards")
            for line in (tmp_path / order / "index.jsonl").read_bytes().splitlines()
            if json.loads(line)["url"] == url
        }
        assert len(files) == 1


def test_a_folder_of_something_else_is_left_alone(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match=r"is not empty; pass --overwrite"):
        Folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_body_that_does_not_exist_has_no_file(tmp_path: pathlib.Path) -> None:
    sink = Folder(tmp_path)
    sink.write(OUTCOMES[3])
    sink.close()
    (line,) = (tmp_path / "index.jsonl").read_bytes().splitlines()
    record = json.loads(line)
    assert record["file"] is None
    assert not {"body", "body_base64"} & set(record)


def test_overwriting_removes_only_what_the_index_names(tmp_path: pathlib.Path) -> None:
    pages = tmp_path / "pages"
    sink = Folder(pages)
    sink.write(page())
    sink.close()
    (pages / "mine.txt").write_text("keep")
    (tmp_path / "outside.txt").write_text("keep")
    with (pages / "index.jsonl").open("a") as index:
        index.write('{"file": "../outside.txt"}\n{"file": "mine.txt"}\n{"file": 3}\n[]\nrubbish\n')
    Folder(pages, overwrite=True).close()
    assert names_in(tmp_path) == ["outside.txt", "pages/index.jsonl", "pages/mine.txt"]


# Choosing


@pytest.mark.parametrize(
    ("target", "format", "kind"),
    [
        ("x.jsonl", None, JsonLines),
        ("x.NDJSON", None, JsonLines),
        ("x.out", "jsonl", JsonLines),
        ("x/", None, Folder),
        ("", None, Folder),
        ("x", "folder", Folder),
        ("x.jsonl", "folder", Folder),
        ("x.JSONL.GZ", None, JsonLines),
        ("x.csv.zst", None, Csv),
        ("x.warc.gz", None, Warc),
        ("x.out", "csv", Csv),
        ("x.db", None, Sqlite),
        ("x.parquet", None, Parquet),
    ],
)
def test_the_target_chooses_and_the_format_overrules(
    target: str, format: str | None, kind: type, tmp_path: pathlib.Path
) -> None:
    with contextlib.closing(open_sink(os.path.join(tmp_path, target), format)) as sink:
        assert type(sink) is kind


@pytest.mark.parametrize(
    ("target", "format", "message"),
    [
        (
            "x.out",
            None,
            r"\.warc, \.parquet, \.sqlite, \.db or / \(a folder\), use - for stdout, or pass --format jsonl",
        ),
        ("x.parquet.gz", None, r"cannot tell from '.*x\.parquet\.gz' what to write"),
        ("x", None, r"cannot tell from '.*x' what to write"),
        ("x.jsonl", "cvs", "format 'cvs' is not known; known are jsonl, csv, warc, parquet, sqlite, folder"),
        ("-", "folder", "a folder cannot go to stdout"),
        ("-", "warc", r"warc cannot go to stdout; name a file, such as -o pages\.warc"),
    ],
)
def test_a_choice_that_means_nothing_shows_the_fix(
    target: str, format: str | None, message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(UsageError, match=message):
        open_sink(target if target == "-" else str(tmp_path / target), format)
    assert list(tmp_path.iterdir()) == []


def test_stdout_is_data_and_only_the_chosen_sink_is_loaded() -> None:
    program = (
        "import sys; from cormorant.sinks import open_sink; from cormorant.messages import Page\n"
        "assert not [name for name in sys.modules if name.startswith('cormorant.sinks.')]\n"
        "sink = open_sink('-'); sink.write(Page(url='https://a.example/', status=200, body=b'<p>')); sink.close()\n"
        "assert 'cormorant.sinks.folder' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-u", "-c", program], capture_output=True, check=True, timeout=60)
    record = json.loads(done.stdout)
    assert (record["url"], record["status"], record["body"]) == ("https://a.example/", 200, "<p>")
