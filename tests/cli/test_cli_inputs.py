"""Lists are read lazily, by a thread, and a broken one loses nothing that was read."""

import gzip
import json
import os
import threading
import time

import pytest

from cormorant.cli import inputs
from cormorant.cli.inputs import Lines
from cormorant.cli.splitter import LONGEST_URL_LINE, Splitter, json_line, text_line, url_line
from cormorant.errors import UsageError


def read_all(lines, seconds=10.0):
    """Take everything, looking again where the reader is still waiting."""
    deadline = time.monotonic() + seconds
    found = []
    for line in lines:
        if line is not None:
            found.append(line)
        else:
            assert time.monotonic() < deadline, "the reader hangs"
            time.sleep(0.001)
    return found


def of(*sources, read=url_line, longest=LONGEST_URL_LINE, first=()):
    return Lines([str(source) for source in sources], read, longest, first=first)


def test_comments_and_blank_lines_are_skipped_but_counted(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_text("# mine\n\nhttp://a.example/\r\n   \n  http://b.example/  \n\t#x\nhttp://c.example/")
    assert read_all(of(path)) == [("http://a.example/", 3), ("http://b.example/", 5), ("http://c.example/", 7)]


def test_urls_come_before_files_and_files_in_order(tmp_path):
    paths = [tmp_path / "1.txt", tmp_path / "2.txt"]
    for path in paths:
        path.write_text(f"{path.name}\n")
    assert read_all(of(*paths, first=["x"])) == [("x", None), ("1.txt", 1), ("2.txt", 1)]


def test_no_files_end_at_once():
    lines = of(first=["x", "y"])
    assert lines.expected() == 2
    assert list(lines) == [("x", None), ("y", None)]


def test_gzip_with_two_members(tmp_path):
    path = tmp_path / "urls.txt.gz"
    path.write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n"))
    assert read_all(of(path)) == [("a", 1), ("bc", 2), ("d", 3)]


def test_zstd(tmp_path):
    zstd = pytest.importorskip("backports.zstd")
    path = tmp_path / "urls.txt.zst"
    path.write_bytes(zstd.compress(b"a\nb\n"))
    assert read_all(of(path)) == [("a", 1), ("b", 2)]


def test_a_cut_gzip_gives_what_came_before_and_goes_on_with_the_next(tmp_path):
    cut, whole = tmp_path / "cut.gz", tmp_path / "whole.txt"
    packed = gzip.compress(b"".join(b"%d\n" % number for number in range(100_000)))
    cut.write_bytes(packed[: len(packed) // 2])
    whole.write_text("last\n")
    lines = of(cut, whole)
    found = read_all(lines)
    assert found[:2] == [("0", 1), ("1", 2)]
    # A line that was cut is no line: every one is whole, and they are in order.
    assert [int(text) for text, _ in found[:-1]] == list(range(len(found) - 1))
    assert found[-1] == ("last", 1)
    assert ["cut.gz" in error for error in lines.errors] == [True]


def test_bytes_that_are_no_utf8_stay_in_their_own_line(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_bytes(b"http://a.example/\xff\nhttp://b.example/\n")
    assert read_all(of(path)) == [("http://a.example/\udcff", 1), ("http://b.example/", 2)]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_bytes(b"\xef\xbb\xbfhttp://a.example/\nhttp://b.example/\n")
    assert [text for text, _ in read_all(of(path))] == ["http://a.example/", "http://b.example/"]


def test_an_endless_line_keeps_its_beginning_only(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_bytes(b"x" * 1_000_000 + b"\nhttp://b.example/\n")
    (long, _), after = read_all(of(path))
    assert len(long) == LONGEST_URL_LINE + 1
    assert after == ("http://b.example/", 2)


def test_a_pipe_that_says_nothing_is_not_waited_for(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    lines = of(fifo)
    assert next(lines) is None
    with open(fifo, "wb", buffering=0) as writer:
        writer.write(b"http://a.ex")
        assert next(lines) is None
        writer.write(b"ample/\nhttp://b")
        line = None
        while line is None:
            line = next(lines)
        assert line == ("http://a.example/", 1)
        assert next(lines) is None
    assert read_all(lines) == [("http://b", 2)]


def test_memory_does_not_grow_with_the_list(tmp_path):
    """The reader stops when `BATCHES` batches wait, and goes on when one is taken."""
    path = tmp_path / "urls.txt"
    path.write_bytes(b"http://a.example/\n" * 500_000)
    lines = of(path)
    assert next(lines) is not None
    deadline = time.monotonic() + 5
    while lines._filled.qsize() < inputs.BATCHES and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert lines._filled.qsize() <= inputs.BATCHES
    assert len(read_all(lines)) == 499_999


def test_expected_is_judged_by_the_bytes_read(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_bytes(b"http://a.example/\n" * 200_000)
    lines = of(path)
    assert lines.expected() is None
    assert next(lines) is not None
    assert lines.expected() == pytest.approx(200_000, rel=0.01)
    read_all(lines)
    assert lines.expected() == 200_000


def test_expected_is_unknown_for_a_pipe(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    lines = of(fifo)
    with open(fifo, "wb", buffering=0) as writer:
        writer.write(b"a\n")
        while next(lines) is None:
            pass
        assert lines.expected() is None
    read_all(lines)
    assert lines.expected() == 1


def test_the_reader_is_no_thread_that_the_process_waits_for(tmp_path):
    before = threading.active_count()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    lines = of(fifo)
    assert threading.active_count() == before
    os.close(os.open(fifo, os.O_WRONLY))
    read_all(lines)


@pytest.mark.parametrize("name", ["missing.txt", "missing.gz", "folder", "nul\0.txt"])
def test_what_cannot_be_read_is_said_before_anything_starts(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot read the list"):
        of(tmp_path / name)


def test_stdin_only_once():
    with pytest.raises(UsageError, match="only once"):
        of("-", "-")


def test_items_of_text_keep_their_spaces_and_hashes(tmp_path):
    path = tmp_path / "items.txt"
    path.write_text(" a \n\n#b\r\n")
    assert read_all(of(path, read=text_line)) == [(" a ", 1), ("#b", 3)]


def test_items_of_json(tmp_path):
    path = tmp_path / "items.jsonl"
    values = [None, 1, "x", {"a": [1, 2]}, False]
    path.write_text("\n".join(json.dumps(value) for value in values))
    assert [value for value, _ in read_all(of(path, read=json_line))] == values


def test_a_line_that_is_no_json_ends_the_list_there(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text("1\n2\noops\n4\n")
    lines = of(path, read=json_line)
    assert read_all(lines) == [(1, 1), (2, 2)]
    assert len(lines.errors) == 1
    assert "line 3: not JSON" in lines.errors[0]


def test_lines_are_the_same_however_the_bytes_are_cut():
    data = b"one\n\ntwo two\r\nthree\n" + b"x" * 300 + b"\nlast"
    whole = data.split(b"\n")
    for size in range(1, len(data) + 1):
        splitter = Splitter(1000)
        found = [line for start in range(0, len(data), size) for line in splitter.feed(data[start : start + size])]
        assert found + splitter.end() == whole


def test_the_splitter_says_where_the_next_line_begins_and_cuts_long_ones_alike():
    data = b"one\n\ntwo two\r\nthree\n" + b"x" * 30 + b"\nfour\nlast"
    begins = [0, *(at + 1 for at, byte in enumerate(data) if byte == ord("\n"))]
    for size in range(1, len(data) + 1):
        splitter, found = Splitter(6, 1000), []
        for start in range(0, len(data), size):
            found += splitter.feed(data[start : start + size])
            assert splitter.offset == 1000 + begins[len(found)]
        assert found + splitter.end() == [line[:7] for line in data.split(b"\n")]
