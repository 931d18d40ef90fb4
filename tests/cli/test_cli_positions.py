"""A list that was left somewhere is read on from there, each line once."""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from cormorant.cli import inputs, sources
from cormorant.cli.inputs import BYTE_ORDER_MARK, Lines
from cormorant.cli.splitter import LONGEST_URL_LINE, SKIP, json_line, url_line
from cormorant.errors import UsageError
from cormorant.frontier.job_lists import Position

LONGEST = 9  # bytes, where long lines are tried
PATIENCE_SECONDS = 10.0


def take(lines: Lines, count: int | None = None) -> list[inputs.Line]:
    """Take `count` lines, or all, looking again where the reader is still waiting."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    found: list[inputs.Line] = []
    while count is None or len(found) < count:
        try:
            line = next(lines)
        except StopIteration:
            break
        if line is not None:
            found.append(line)
        else:
            assert time.monotonic() < deadline, "the reader hangs"
            time.sleep(0.0005)
    return found


def of(*names: Path, start: Position = inputs.BEGINNING, read: Any = url_line, first: Any = ()) -> Lines:
    return Lines([str(name) for name in names], read, LONGEST_URL_LINE, first=first, start=start)


def stored(position: Position) -> Position:
    """What the journal makes of it."""
    return msgspec.json.decode(msgspec.json.encode(position), type=Position)


def left_at(count: int, *names: Path, **how: Any) -> Position:
    """Where a run stands that took `count` lines; the rest is taken too, so that its thread ends."""
    lines = of(*names, **how)
    take(lines, count)
    position = lines.position
    take(lines)
    return stored(position)


# --- any list, any stop ---

LINES = st.one_of(
    st.sampled_from(
        [b"", b"#", b"# no", b" ", b"\r", BYTE_ORDER_MARK + b"a", b"bc\r", b" d ", b"#" * LONGEST, b"\xff"]
    ),
    st.sampled_from([LONGEST - 1, LONGEST, LONGEST + 1, LONGEST + 2, 3 * LONGEST]).map(lambda size: b"x" * size),
    st.binary(max_size=4).map(lambda some: some.replace(b"\n", b"")),
)
CONTENTS = st.builds(
    lambda mark, lines, end: mark + b"\n".join(lines) + end,
    st.sampled_from([b"", BYTE_ORDER_MARK]),
    st.lists(LINES, max_size=25),
    st.sampled_from([b"", b"\n", b"\n# the end", b"\n\n\r\n"]),
)
LISTS = st.lists(st.tuples(CONTENTS, st.sampled_from([".txt", ".txt", ".gz"])), max_size=3)
CHUNKS = st.integers(1, 40) | st.just(1000)


def should_be(contents: list[bytes], values: list[str]) -> list[tuple[inputs.Line, Position]]:
    """Every line, and the position behind it but for `offset`: read whole, without chunks, threads or batches."""
    found: list[tuple[inputs.Line, Position]] = [
        ((value, None), Position(given=count, handed=count)) for count, value in enumerate(values, 1)
    ]
    for source, content in enumerate(contents):
        for number, raw in enumerate(content.removeprefix(BYTE_ORDER_MARK).split(b"\n"), 1):
            marked = number == 1 and content.startswith(BYTE_ORDER_MARK)
            value = url_line(raw[: LONGEST + 1 - len(BYTE_ORDER_MARK) * marked])
            if value is not SKIP:
                at = Position(source=source, line=number, given=len(values), handed=len(found) + 1)
                found.append(((value, number), at))
    return found


@contextlib.contextmanager
def written(lists: list[tuple[bytes, str]]) -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, f"{number}{suffix}") for number, (_, suffix) in enumerate(lists)]
        for name, (content, suffix) in zip(names, lists, strict=True):
            Path(name).write_bytes(gzip.compress(content, 0) if suffix == ".gz" else content)
        yield names


def check_offset(position: Position, content: bytes, is_plain: bool, chunk: int) -> None:
    """A line begins there, and not further before than a chunk and the line that it broke."""
    read = content[: position.offset]
    assert (position.offset > 0) <= is_plain
    assert read == b"" or read.endswith(b"\n")
    assert position.offset_line == read.count(b"\n") <= position.line
    if is_plain and position.line:
        begun = content.split(b"\n")[position.offset_line : position.line]
        assert len(b"\n".join(begun[1:])) <= chunk


@settings(max_examples=300, deadline=None)
@given(LISTS, st.lists(st.sampled_from(["u", "v"]), max_size=2), CHUNKS, CHUNKS, st.floats(0, 1), st.floats(0, 1))
def test_what_was_handed_over_and_what_is_read_on_from_there_are_the_list(
    lists: list[tuple[bytes, str]], values: list[str], chunk: int, other_chunk: int, first: float, second: float
) -> None:
    contents = [content for content, _ in lists]
    whole = should_be(contents, values)
    stops = sorted([round(first * len(whole)), round(second * len(whole)), len(whole)])
    event(f"{len(lists)} lists, stopped {'inside' if 0 < stops[0] < len(whole) else 'at an end'}")
    position, before = Position(), 0
    with written(lists) as names:
        for stop, size in zip(stops, [chunk, other_chunk, chunk], strict=True):
            with patch.object(inputs, "CHUNK_BYTES", size):
                lines = Lines(names, url_line, LONGEST, first=values, start=position)
                assert lines.position == position
                for at in range(before, stop):
                    assert take(lines, 1) == [whole[at][0]]
                    found = lines.position
                    assert msgspec.structs.replace(found, offset=0, offset_line=0) == whole[at][1]
                    if at >= len(values):
                        check_offset(found, contents[found.source], lists[found.source][1] != ".gz", size)
                position, before = stored(lines.position), stop
                # What a run that goes on after being asked, and one that begins there, read of the rest.
                assert take(lines) == [line for line, _ in whole[stop:]]
                assert lines.expected() == len(whole)
        assert take(Lines(names, url_line, LONGEST, first=values, start=position)) == []


# --- what is not read again ---


def test_lists_before_the_position_are_not_even_opened(tmp_path: Path) -> None:
    before, after = tmp_path / "1.txt", tmp_path / "2.txt"
    before.write_text("a\n")
    after.write_text("b\nc\n")
    position = left_at(2, before, after)
    before.unlink()
    assert take(of(before, after, start=position)) == [("c", 2)]
    with pytest.raises(UsageError, match=r"1\.txt"):
        of(before, after, start=Position())


def test_a_plain_list_is_entered_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "urls.txt"
    path.write_bytes(b"".join(b"http://a.example/%d\n" % number for number in range(50_000)))
    position = left_at(40_000, path)
    read = []

    class Counted:
        def __init__(self, stream: sources.Stream) -> None:
            self.stream = stream

        def read1(self, size: int) -> bytes:
            read.append(chunk := self.stream.read1(size))
            return chunk

    @contextlib.contextmanager
    def opened(source: str, offset: int = 0) -> Iterator[Any]:
        with sources.opened(source, offset) as (stream, where):
            yield Counted(stream), where

    monkeypatch.setattr(inputs, "opened", opened)
    assert len(take(of(path, start=position))) == 10_000
    left = sum(len(b"http://a.example/%d\n" % number) for number in range(40_000, 50_000))
    assert left <= sum(map(len, read)) <= left + inputs.CHUNK_BYTES


def test_lines_left_out_are_not_made_sense_of_again(tmp_path: Path) -> None:
    for name, content in [("items.jsonl", b"1\n2\n3\n"), ("items.gz", gzip.compress(b"1\n2\n3\n"))]:
        path, seen = tmp_path / name, []
        path.write_bytes(content)
        position = left_at(2, path)
        assert take(of(path, start=position, read=lambda raw, seen=seen: seen.append(raw))) == [(None, 3)]
        assert seen == [b"3"]


def test_a_zstd_list_is_read_on_by_the_number_of_its_line(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    path = tmp_path / "urls.txt.zst"
    path.write_bytes(zstd.compress(b"# mine\n" + b"".join(b"%d\n" % number for number in range(50_000))))
    position = left_at(30_000, path)
    assert (position.line, position.offset, position.offset_line) == (30_001, 0, 0)
    assert take(of(path, start=position), 1) == [("30000", 30_002)]


# --- the end, and what is no end ---


@pytest.mark.parametrize("end", ["\n", ""])
def test_what_the_last_list_has_grown_by_is_read(tmp_path: Path, end: str) -> None:
    path = tmp_path / "urls.txt"
    path.write_text(f"a\n#\n\nb{end}")
    position = left_at(9, path)
    lines = of(path, start=position)
    assert take(lines) == []
    assert (lines.has_ended, lines.expected(), lines.position) == (True, 2, position)
    path.write_text("a\n#\n\nb\nc\n")
    assert take(of(path, start=position)) == [("c", 5)]


def test_comments_at_the_end_are_no_lines_that_are_left(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text("a\n" + "# nothing\n" * 50_000)
    lines = of(path, start=left_at(1, path))
    assert take(lines) == []
    assert (lines.has_ended, lines.expected(), lines.errors) == (True, 1, [])


def test_values_alone_are_handed_over_once() -> None:
    lines = of(first=["a", "b", "c"])
    assert take(lines, 2) == [("a", None), ("b", None)]
    assert lines.position == Position(given=2, handed=2)
    again = of(first=["a", "b", "c"], start=lines.position)
    assert (take(again), again.expected(), again.position) == ([("c", None)], 3, Position(given=3, handed=3))


@pytest.mark.parametrize("suffix", [".jsonl", ".gz"])
def test_where_a_list_broke_off_it_is_tried_again(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"items{suffix}"

    def write(third: bytes) -> None:
        content = b"1\n\n" + third + b"\n4\n"
        path.write_bytes(gzip.compress(content) if suffix == ".gz" else content)

    write(b"oops")
    position = left_at(9, path, read=json_line)
    lines = of(path, read=json_line, start=position)
    assert (take(lines), lines.position) == ([], position)
    assert ["line 3: not JSON" in error for error in lines.errors] == [True]
    write(b"3")
    assert take(of(path, read=json_line, start=position)) == [(3, 3), (4, 4)]


# --- how many there will be ---


def test_expected_is_about_the_whole_list_from_the_first_line_on(tmp_path: Path) -> None:
    paths = [tmp_path / "1.txt", tmp_path / "2.txt"]
    for path in paths:
        path.write_bytes(b"http://a.example/\n" * 100_000)
    lines = of(*paths, first=["x"] * 10, start=left_at(150_000, *paths, first=["x"] * 10))
    assert lines.expected() is None
    take(lines, 1)
    assert lines.expected() == pytest.approx(200_010, rel=0.001)
    take(lines)
    assert lines.expected() == 200_010
