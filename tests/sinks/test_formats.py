"""Other people's readers take every file of ours, and find in it what was fetched."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import pathlib
import sqlite3
import subprocess
import sys
from typing import Any

import pytest

from cormorant.errors import MissingPackage
from cormorant.messages import Failure, Found, Kind, Outcome, Page, Timings
from cormorant.sinks import open_sink, warc
from cormorant.sinks.csv import COLUMNS

BLNS = pathlib.Path(__file__).parents[3] / "shared" / "data" / "strings" / "blns.json"
URL = "https://a.example/b?c=1"
PAGE = Page(
    url="https://a.example/",
    final_url=URL,
    status=200,
    headers=(("Content-Type", "text/html; charset=utf-8"), ("Content-Encoding", "gzip"), ("Content-Length", "20")),
    body=b"<p>gr\xc3\xbc\xc3\x9fe",
    fetched_at=1_700_000_000.125,
    timings=Timings(total=0.25),
    ip="192.0.2.1",
    http_version="2",
    found=Found(depth=1, source="https://a.example/"),
    data={"title": "x"},
)
FAILURE = Failure(url="https://b.example/", kind=Kind.DNS, message="no such name", phase="dns")
CUT = Failure(url=URL, kind=Kind.TRUNCATED, message="cut", status=200, body=b"<p>gr")


def naughty_pages() -> list[Outcome]:
    if not BLNS.is_file():
        pytest.skip("../shared/data/strings is absent")
    return [
        Page(
            url=f"https://a.example/{text}",
            status=200,
            headers=((text, text), ("X-Naughty", text), ("Content-Type", "text/html; charset=utf-8")),
            body=text.encode(),
            data=text,
        )
        for text in json.loads(BLNS.read_text("utf-8"))
    ]


def written(path: pathlib.Path, outcomes: list[Outcome], **words: Any) -> pathlib.Path:
    with contextlib.closing(open_sink(path, **words)) as sink:
        for outcome in outcomes:
            sink.write(outcome)
            sink.flush()
    return path


def warc_records(path: pathlib.Path) -> list[Any]:
    from warcio.archiveiterator import ArchiveIterator

    with path.open("rb") as file:
        found = []
        for record in ArchiveIterator(file, check_digests="raise"):
            record.content = record.content_stream().read()
            found.append(record)
        return found


def header(record: Any, name: str) -> Any:
    return record.rec_headers.get_header(name)


# WARC


@pytest.mark.parametrize("name", ["x.warc", "x.warc.gz"])
def test_warcio_finds_the_records_of_every_outcome(name: str, tmp_path: pathlib.Path) -> None:
    records = warc_records(written(tmp_path / name, [PAGE, FAILURE, CUT]))
    assert [record.rec_type for record in records] == [
        "warcinfo",
        *("request", "response", "metadata"),
        "metadata",
        *("request", "response", "metadata"),
    ]
    information, request, response, metadata, failure, _, cut, _ = records
    assert header(information, "WARC-Filename") == name
    assert b"software: cormorant/" in information.content
    assert (request.http_headers.protocol, request.http_headers.statusline) == ("GET", "/b?c=1 HTTP/1.1")
    assert request.http_headers.get_header("Host") == "a.example"
    assert header(request, "WARC-Concurrent-To") == header(response, "WARC-Record-ID")
    assert header(response, "WARC-Target-URI") == URL
    assert header(response, "WARC-Date") == "2023-11-14T22:13:20.125Z"
    assert header(response, "WARC-IP-Address") == "192.0.2.1"
    assert header(response, "WARC-Protocol") == "h2"
    assert response.http_headers.get_statuscode() == "200"
    assert response.http_headers.headers == [
        ("Content-Type", "text/html; charset=utf-8"),
        ("X-Crawler-Content-Encoding", "gzip"),
        ("X-Crawler-Content-Length", "20"),
        ("Content-Length", str(len(PAGE.body))),
    ]
    assert response.content == PAGE.body
    assert header(metadata, "WARC-Concurrent-To") == header(response, "WARC-Record-ID")
    fields = dict(line.split(": ", 1) for line in metadata.content.decode().splitlines())
    assert (fields["fetchTimeMs"], fields["via"]) == ("250", "https://a.example/")
    assert json.loads(fields["outcome"])["data"] == {"title": "x"}
    assert json.loads(failure.content.decode().partition("outcome: ")[2])["kind"] == "dns"
    assert (header(cut, "WARC-Truncated"), cut.content) == ("disconnect", b"<p>gr")


@pytest.mark.parametrize("name", ["x.warc", "x.warc.gz"])
def test_warcio_checks_every_digest(name: str, tmp_path: pathlib.Path) -> None:
    path = written(tmp_path / name, [*naughty_pages(), PAGE, FAILURE, CUT, PAGE])
    warcio = pathlib.Path(sys.executable).with_name("warcio")
    done = subprocess.run([warcio, "check", "-v", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-500:]
    assert "failed" not in done.stdout
    assert done.stdout.count("digest pass") > 1000


@pytest.mark.parametrize("name", ["x.warc", "x.warc.gz", "x.warc.zst"])
def test_fastwarc_checks_every_digest(name: str, tmp_path: pathlib.Path) -> None:
    from fastwarc.warc import ArchiveIterator

    path = written(tmp_path / name, [*naughty_pages(), PAGE, FAILURE, CUT, PAGE])
    count = 0
    with path.open("rb") as file:
        for record in ArchiveIterator(file, parse_http=False):
            count += 1
            assert record.verify_block_digest()
    assert count > 1000
    with path.open("rb") as file:
        for record in ArchiveIterator(file, parse_http=True):
            if record.headers["WARC-Type"] == "response":
                assert record.http_headers.status_code == 200
                assert record.verify_payload_digest()


def test_a_member_a_record(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path / "x.warc.gz", [PAGE, FAILURE])
    packed, members = path.read_bytes(), []
    import zlib

    while packed:
        member = zlib.decompressobj(31)
        members.append(member.decompress(packed))
        packed = member.unused_data
    assert [member.split(b"\r\n")[1] for member in members] == [
        *(b"WARC-Type: warcinfo", b"WARC-Type: request", b"WARC-Type: response"),
        *(b"WARC-Type: metadata", b"WARC-Type: metadata"),
    ]


def test_nothing_in_a_page_adds_a_line_to_a_head(tmp_path: pathlib.Path) -> None:
    evil = "x\r\nWARC-Type: response\nX-Evil: 1\r\n\r\nbody"
    page = Page(
        url=f"https://a.example/{evil}",
        status=200,
        headers=((evil, evil),),
        ip=evil,
        found=Found(source=evil),
        body=b"b",
    )
    records = warc_records(written(tmp_path / "x.warc", [page]))
    assert [record.rec_type for record in records] == ["warcinfo", "request", "response", "metadata"]
    for record in records:
        assert header(record, "X-Evil") is None
    assert records[2].http_headers.get_header("X-Evil") is None
    assert records[2].content == b"b"
    assert len(records[3].content.splitlines()) == 3


def test_a_body_that_is_stored_already_is_a_revisit(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warc, "KNOWN_PAYLOADS", 2)
    pages: list[Outcome] = [
        Page(url=f"https://a.example/{number}", status=200, body=body, fetched_at=1_700_000_000.0 + number)
        for number, body in enumerate((b"one", b"two", b"one", b"", b"", b"three", b"two", b"one"))
    ]
    records = warc_records(written(tmp_path / "x.warc.gz", pages))
    answers = [record for record in records if record.rec_type in ("response", "revisit")]
    assert [record.rec_type for record in answers] == [
        *("response", "response", "revisit", "response", "response", "response", "response"),  # "two" was forgotten
        "response",  # and then "one", which "two" pushed out
    ]
    first, revisit = answers[0], answers[2]
    assert header(revisit, "WARC-Profile").endswith("/revisit/identical-payload-digest")
    assert header(revisit, "WARC-Refers-To") == header(first, "WARC-Record-ID")
    assert header(revisit, "WARC-Refers-To-Target-URI") == "https://a.example/0"
    assert header(revisit, "WARC-Refers-To-Date") == "2023-11-14T22:13:20.000Z"
    assert header(revisit, "WARC-Payload-Digest") == header(first, "WARC-Payload-Digest")
    assert revisit.content == b""
    with (tmp_path / header(revisit, "WARC-Refers-To-Filename")).open("rb") as file:
        file.seek(int(header(revisit, "WARC-Refers-To-File-Offset")))
        lines = gzip.GzipFile(fileobj=file).read(500).decode().split("\r\n")
    assert lines[:2] == ["WARC/1.1", "WARC-Type: response"]
    assert lines[2] == f"WARC-Record-ID: {header(revisit, 'WARC-Refers-To')}"


# Tables


def test_csv_reads_every_cell_and_no_formula_runs(tmp_path: pathlib.Path) -> None:
    pages = [*naughty_pages(), PAGE, FAILURE, CUT]
    dangerous = [Page(url=f"{first}1+1", status=200, body=f"{first}cmd".encode()) for first in "=+-@\t\r\n'"]
    path = written(tmp_path / "x.csv", [*pages, *dangerous])
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, strict=True))
    assert rows[0] == list(COLUMNS)
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert len(rows) == 1 + len(pages) + len(dangerous)
    for row in rows[1:]:
        for cell in row:
            assert not cell.startswith(tuple("=+-@\t\r\n"))
    by_name = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    for outcome, row in zip([*pages, *dangerous], by_name, strict=True):
        assert row["url"].removeprefix("'") == outcome.url
        if row["body"]:
            assert row["body"].removeprefix("'").encode() == outcome.body
    assert path.read_bytes().count(b"\r\n") >= len(rows)
    assert by_name[-len(dangerous)]["url"] == "'=1+1"


def test_csv_on_stdout_has_its_head(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with contextlib.closing(open_sink("-", "csv")) as sink:
        sink.write(PAGE)
    rows = list(csv.DictReader(io.StringIO(capfdbinary.readouterr().out.decode(), newline="")))
    assert [(row["url"], row["ok"], row["line"]) for row in rows] == [(PAGE.url, "true", "")]


def test_every_part_of_csv_has_its_head(tmp_path: pathlib.Path) -> None:
    written(tmp_path / "x.csv", [PAGE] * 20, rotate_bytes=1500)
    parts = sorted(tmp_path.iterdir())
    assert len(parts) > 3
    for part in parts:
        with part.open(newline="") as file:
            assert next(csv.reader(file)) == list(COLUMNS)


def test_pyarrow_reads_the_documented_schema(tmp_path: pathlib.Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pages = naughty_pages()
    file = pyarrow.parquet.ParquetFile(written(tmp_path / "x.parquet", [PAGE, FAILURE, CUT, *pages]))
    with file:
        table = file.read()
        assert file.metadata.row_group(0).column(7).compression == "ZSTD"
    assert table.num_rows == 3 + len(pages)
    assert str(table.schema.field("fetched_at").type) == "timestamp[ms, tz=UTC]"
    assert table.schema.field("body").type == pyarrow.binary()
    assert str(table.schema.field("headers").type) == "list<element: struct<name: string, value: string>>"
    first, second, *_ = table.slice(0, 3).to_pylist()
    assert first["body"] == PAGE.body
    assert first["timings"]["total"] == 0.25
    assert first["found"] == {"depth": 1, "source": "https://a.example/", "text": "", "lastmod": None}
    assert first["headers"][1] == {"name": "Content-Encoding", "value": "gzip"}
    assert json.loads(first["data"]) == {"title": "x"}
    assert (second["kind"], second["status"], second["body"], second["found"]) == ("dns", None, None, None)
    assert table["body"].to_pylist()[3:] == [page.body for page in pages]
    assert table["url"].to_pylist()[3:] == [page.url for page in pages]


def test_parquet_has_row_groups_by_bytes(tmp_path: pathlib.Path) -> None:
    import pyarrow.parquet

    from cormorant.sinks.parquet import GROUP_BYTES

    path = tmp_path / "x.parquet"
    with contextlib.closing(open_sink(path)) as sink:
        for number in range(50):
            sink.write(Page(url=f"u{number}", status=200, body=b"x" * (GROUP_BYTES // 20)))
    metadata = pyarrow.parquet.read_metadata(path)
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [20, 20, 10]


def test_sqlite_is_one_sound_table(tmp_path: pathlib.Path) -> None:
    pages = naughty_pages()
    path = written(tmp_path / "x.sqlite", [PAGE, FAILURE, *pages])
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (row,) = database.execute("SELECT status, ok, typeof(body), body, json(data) FROM outcomes WHERE id = 1")
        assert row == (200, 1, "blob", PAGE.body, '{"title":"x"}')
        (row,) = database.execute("SELECT kind, status, length(body) FROM outcomes WHERE id = 2")
        assert row == ("dns", None, 0)
        found = database.execute("SELECT url, body FROM outcomes WHERE id > 2 ORDER BY id").fetchall()
        assert found == [(page.url, page.body) for page in pages]
    assert [each.name for each in tmp_path.iterdir()] == ["x.sqlite"]


# Compression


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.csv.gz"])
def test_gzip_reads_all_members(name: str, tmp_path: pathlib.Path) -> None:
    path = written(tmp_path / name, [PAGE, FAILURE, CUT])
    lines = 3 if "jsonl" in name else 4
    assert path.read_bytes().count(b"\x1f\x8b\x08") == lines
    assert gzip.decompress(path.read_bytes()).count(b"\n") == lines


def test_gzip_without_its_fast_library_is_gzip_all_the_same(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    path = written(tmp_path / "x.jsonl.gz", [PAGE])
    assert json.loads(gzip.decompress(path.read_bytes()))["status"] == 200


@pytest.mark.parametrize(
    ("name", "package", "fix"),
    [
        ("x.parquet", "pyarrow", r"pip install 'cormorant\[parquet\]'"),
        ("x.jsonl.zst", "backports", "pip install backports.zstd"),
    ],
)
def test_a_missing_package_is_named_with_the_fix(
    name: str, package: str, fix: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if package == "backports" and sys.version_info >= (3, 14):
        pytest.skip("zstd is in the standard library")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=fix):
        open_sink(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_only_the_chosen_format_is_loaded(tmp_path: pathlib.Path) -> None:
    program = (
        "import sys; from cormorant.sinks import open_sink; from cormorant.messages import Page\n"
        "for name in ('x.jsonl', 'x.csv', 'x.warc', 'x/'):\n"
        "    sink = open_sink(f'{sys.argv[1]}/{name}'); sink.write(Page(url='u', status=200)); sink.close()\n"
        "print(*{'pyarrow', 'fastwarc', 'sqlite3', 'concurrent.futures'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, check=True, timeout=60)
    assert done.stdout.split() == []
