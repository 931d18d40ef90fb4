"""What was committed is there, exactly once, after anything: a torn tail, a kill, a full disk, a sync that failed.

A run ends, its output is damaged as a crash would, and the next run goes on from what was committed last.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from cormorant.errors import OutputError, UsageError
from cormorant.interfaces import Committed, DurableSink, Part
from cormorant.messages import Failure, Kind, Outcome, Page
from cormorant.reading import read
from cormorant.sinks import files, folder_files, make_room, open_sink
from cormorant.sinks.jsonl import JsonLines

APPENDED = ("x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.csv", "x.csv.gz", "x.warc", "x.warc.gz", "x.warc.zst")
ROTATED = (*APPENDED, "x.parquet", "x.sqlite")
ALL = (*ROTATED, "x/")


def page(number: int, size: int = 30) -> Page:
    url = f"https://a.example/{number}"
    body = random.Random(number % 10).randbytes(size)  # some come again: the WARC has revisits
    return Page(url=url, input=url, final_url=url, status=200, body=body, line=number)


def outcomes(first: int, end: int, size: int = 30) -> list[Outcome]:
    return [
        page(number, size)
        if number % 7
        else Failure(url=f"u{number}", input="u", final_url="u", kind=Kind.DNS, message="no such name")
        for number in range(first, end)
    ]


def write(sink: DurableSink, some: list[Outcome]) -> None:
    for outcome in some:
        sink.write(outcome)


def synced(sink: DurableSink, complete: bool = False) -> Committed:
    committed = sink.sync(complete)
    assert committed is not None
    return committed


def target_in(path: pathlib.Path, name: str) -> str:
    return f"{path}/{name}"


def rotation_of(name: str) -> dict[str, Any]:
    """Have Parquet complete a file at every sync, as the others commit at every sync."""
    return {"rotate_bytes": 1} if name == "x.parquet" else {}


@pytest.mark.parametrize("name", ALL)
def test_a_sync_says_what_is_there(name: str, tmp_path: pathlib.Path) -> None:
    target = target_in(tmp_path, name)
    with contextlib.closing(open_sink(target, **rotation_of(name))) as sink:
        write(sink, outcomes(0, 5))
        committed = synced(sink)
        assert list(read(target)) == outcomes(0, 5)
        folder = pathlib.Path(target) if name == "x/" else tmp_path
        for part in committed.parts:
            assert part.length == (5 if name == "x.sqlite" else (folder / part.name).stat().st_size)
        assert msgspec.json.decode(msgspec.json.encode(committed), type=Committed) == committed
        write(sink, outcomes(5, 6))
        assert synced(sink) != committed


@pytest.mark.parametrize("name", ALL)
def test_syncing_and_closing_more_than_once_changes_nothing(name: str, tmp_path: pathlib.Path) -> None:
    target = target_in(tmp_path, name)
    sink = open_sink(target)
    write(sink, outcomes(0, 5))
    assert synced(sink, complete=True) == synced(sink, complete=True)
    sink.close()
    sink.close()
    assert list(read(target)) == outcomes(0, 5)
    with pytest.raises(OutputError, match="closed"):
        sink.sync()


@pytest.mark.parametrize("name", APPENDED)
def test_a_tail_torn_at_any_byte_is_cut_back(name: str, tmp_path: pathlib.Path) -> None:
    target = target_in(tmp_path, name)
    sink = open_sink(target)
    write(sink, outcomes(0, 3))
    committed = synced(sink)
    write(sink, outcomes(3, 4))
    sink.close()
    whole = pathlib.Path(target).read_bytes()
    (part,) = committed.parts
    assert part.length < len(whole)
    for end in range(part.length, len(whole) + 1):
        pathlib.Path(target).write_bytes(whole[:end])
        sink = open_sink(target, resume=committed)
        assert list(read(target)) == outcomes(0, 3)
        write(sink, outcomes(4, 6))
        sink.close()
        assert list(read(target)) == [*outcomes(0, 3), *outcomes(4, 6)]


@pytest.mark.parametrize("name", ALL)
def test_rubbish_behind_what_was_committed_goes_away(name: str, tmp_path: pathlib.Path) -> None:
    target = target_in(tmp_path, name)
    sink = open_sink(target, **rotation_of(name))
    write(sink, outcomes(0, 3))
    committed = synced(sink)
    write(sink, outcomes(3, 30))
    sink.close()
    if name in APPENDED:
        with open(target, "ab") as file:
            file.write(b"\0rubbish" * 1000)
    sink = open_sink(target, resume=committed)
    write(sink, outcomes(50, 52))
    assert synced(sink, complete=True).parts[: len(committed.parts) - 1] == committed.parts[:-1]
    sink.close()
    assert list(read(target)) == [*outcomes(0, 3), *outcomes(50, 52)]
    if name == "x/":
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1 + 4


@pytest.mark.parametrize("name", ALL)
def test_going_on_from_nothing_begins_again(name: str, tmp_path: pathlib.Path) -> None:
    target = target_in(tmp_path, name)
    sink = open_sink(target)
    write(sink, outcomes(0, 3))
    sink.close()
    sink = open_sink(target, resume=Committed(()))
    write(sink, outcomes(1, 4))
    sink.close()
    assert list(read(target)) == outcomes(1, 4)


@pytest.mark.parametrize("name", ["x.jsonl", "x.warc.gz"])
def test_an_output_of_the_same_length_that_is_not_ours_is_refused_and_not_touched(
    name: str, tmp_path: pathlib.Path
) -> None:
    target = tmp_path / name
    sink = open_sink(target)
    write(sink, outcomes(0, 3))
    committed = synced(sink)
    sink.close()
    others = bytes(byte ^ 1 for byte in target.read_bytes()) + b"longer"
    target.write_bytes(others)
    with pytest.raises(OutputError, match="and it holds others, so it was changed by somebody else"):
        open_sink(target, resume=committed)
    assert target.read_bytes() == others


def test_an_output_that_is_being_written_is_refused_and_not_touched(tmp_path: pathlib.Path) -> None:
    sink = open_sink(tmp_path / "x.jsonl", rotate_bytes=1_000)
    write(sink, outcomes(0, 9))
    sink.flush()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) > 1
    for again in (
        lambda: open_sink(tmp_path / "x.jsonl", overwrite=True),
        lambda: make_room(str(tmp_path / "x.jsonl"), None, True),
    ):
        with pytest.raises(UsageError, match="is being written by another run; wait for its end"):
            again()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    sink.close()
    open_sink(tmp_path / "x.jsonl", overwrite=True).close()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("damage", ["shorter", "missing"])
def test_an_output_changed_by_somebody_else_is_refused(name: str, damage: str, tmp_path: pathlib.Path) -> None:
    target = target_in(tmp_path, name)
    sink = open_sink(target)
    write(sink, outcomes(0, 3))
    committed = synced(sink, complete=True)
    sink.close()
    file = pathlib.Path(target, "index.jsonl") if name == "x/" else pathlib.Path(target)
    if damage == "missing":
        file.unlink()
    elif name == "x.sqlite":
        committed = Committed((Part("x.sqlite", 4, False),))
    else:
        os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(OutputError, match=r"cannot go on with .*x.* committed and it (?:holds|is not there).* changed"):
        open_sink(target, resume=committed)


def test_another_output_is_no_output_to_go_on_with(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OutputError, match=r"the job wrote y\.jsonl; name the same output"):
        open_sink(target_in(tmp_path, "x.jsonl"), resume=Committed((Part("y.jsonl", 0, False),)))


@pytest.mark.parametrize("name", ROTATED)
def test_only_files_of_our_own_names_are_removed(name: str, tmp_path: pathlib.Path) -> None:
    target = target_in(tmp_path, name)
    stem, suffix = name[:1], name[1:]
    ours = [f"{stem}-00007{suffix}", f"{name}.partial"]
    others = [
        f"{stem}-7{suffix}",
        f"{stem}-20261125{suffix}",
        f"{stem}y{suffix}",
        f"{stem}-00007{suffix}~",
        f"z{name}",
        f"{stem}-00007.txt",
        "x",
    ]
    sink = open_sink(target)
    write(sink, outcomes(0, 3))
    committed = synced(sink, complete=True)
    sink.close()
    for other in ours + others:
        (tmp_path / other).write_bytes(b"")
    open_sink(target, resume=committed).close()
    assert {path.name for path in tmp_path.iterdir()} == {name, *others}
    (tmp_path / ours[0]).write_bytes(b"")
    with pytest.raises(UsageError, match="--overwrite"):
        open_sink(target)
    open_sink(target, overwrite=True).close()
    assert {path.name for path in tmp_path.iterdir()} == {name, *others}
    assert list(read(target)) == []


@pytest.mark.parametrize("name", ROTATED)
def test_an_output_of_many_parts(name: str, tmp_path: pathlib.Path) -> None:
    target = target_in(tmp_path, name)
    sink = open_sink(target, rotate_bytes=20_000)
    for number in range(100):
        write(sink, outcomes(number, number + 1, 1000))
        sink.flush()
    committed = synced(sink, complete=True)
    sink.close()
    names = [part.name for part in committed.parts]
    assert names[:3] == [name, f"x-00001{name[1:]}", f"x-00002{name[1:]}"]
    assert {path.name for path in tmp_path.iterdir()} >= set(names)
    assert all(part.is_sealed for part in committed.parts[:-1])
    for part in committed.parts[:-1]:
        assert 20_000 <= (tmp_path / part.name).stat().st_size < 45_000
    assert list(read(target)) == outcomes(0, 100, 1000)
    if not name.startswith("x.warc"):  # whose revisits name other parts; they are beside it, so it works too
        assert [outcome for part in names[1:] for outcome in read(tmp_path / part)] == outcomes(0, 100, 1000)[
            len(list(read_alone(tmp_path, name))) :
        ]


def read_alone(folder: pathlib.Path, name: str) -> Iterator[Outcome]:
    """Read the first part without the others."""
    alone = folder / "alone"
    alone.mkdir()
    shutil.copy(folder / name, alone / name)
    yield from read(alone / name)


def test_a_folder_has_no_parts(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="has no parts"):
        open_sink(target_in(tmp_path, "x/"), rotate_bytes=1000)


@pytest.mark.parametrize("size", [0, -1])
def test_parts_have_a_size(size: int, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="rotate_bytes"):
        open_sink(target_in(tmp_path, "x.jsonl"), rotate_bytes=size)


def test_parquet_counts_when_it_is_complete(tmp_path: pathlib.Path) -> None:
    target = target_in(tmp_path, "x.parquet")
    sink = open_sink(target, rotate_bytes=5000)
    assert sink.sync() == Committed(())
    write(sink, outcomes(0, 2))
    assert sink.sync() is None
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet.partial"]
    write(sink, outcomes(2, 9))
    (part,) = synced(sink).parts
    assert list(read(target)) == outcomes(0, 9)
    assert synced(sink).parts == (part,)
    write(sink, outcomes(9, 10))
    assert sink.sync() is None
    assert [each.name for each in synced(sink, complete=True).parts] == ["x.parquet", "x-00001.parquet"]
    sink.close()
    assert {path.name for path in tmp_path.iterdir()} == {"x.parquet", "x-00001.parquet"}


@pytest.mark.parametrize("name", ALL)
def test_a_sync_that_failed_is_never_trusted_again(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    target = target_in(tmp_path, name)
    sink = open_sink(target, **rotation_of(name))
    write(sink, outcomes(0, 5))
    committed = synced(sink)
    write(sink, outcomes(5, 8))
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(OutputError, match=r"cannot write .*x.*: Input/output error"):
            sink.sync()
    for call in (sink.sync, sink.flush, lambda: sink.write(page(9))):  # though the disk is well again
        with pytest.raises(OutputError, match="Input/output error"):
            call()
    sink.close()
    sink = open_sink(target, resume=committed)
    sink.close()
    assert list(read(target)) == outcomes(0, 5)


@pytest.mark.parametrize("reports", [True, False], ids=["syncfs", "file by file"])
def test_a_folder_whose_bodies_are_not_safe_is_not_trusted(
    reports: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> int:
        if reports:
            return -1
        raise OutputError("cannot write x: Input/output error")

    monkeypatch.setattr(folder_files, "_syncfs", lambda: fail if reports else None)
    sink = open_sink(target_in(tmp_path, "x/"))
    write(sink, outcomes(1, 4))
    with monkeypatch.context() as broken:
        if not reports:
            broken.setattr(files, "sync_path", fail)
        with pytest.raises(OutputError, match="cannot write"):
            sink.sync()
    with pytest.raises(OutputError, match="cannot write"):
        sink.sync()
    sink.close()


def test_a_folder_is_synced_file_by_file_where_there_is_no_syncfs(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(folder_files, "_syncfs", lambda: None)
    monkeypatch.setattr(files, "sync_path", lambda path: asked.append(pathlib.Path(path).name))
    sink = open_sink(target_in(tmp_path, "x/"))
    for number in (1, 2):
        write(sink, outcomes(number, number + 1))
        sink.sync()
    sink.close()
    assert len([name for name in asked if name.endswith(".bin")]) == 2
    assert asked.count("a.example") == 2


def test_a_stream_cannot_be_synced() -> None:
    sink = JsonLines("/dev/null")
    with pytest.raises(UsageError, match=r"/dev/null is a stream.*name a file"):
        sink.sync()
    sink.close()


@pytest.mark.parametrize("words", [{"rotate_bytes": 5}, {"resume": Committed(())}], ids=["rotate", "resume"])
def test_a_stream_has_no_parts_and_no_past(words: dict[str, Any]) -> None:
    for name in ("-", "/dev/null"):
        with pytest.raises(UsageError, match="is a stream, which has no parts and cannot be resumed; name a file"):
            open_sink(name, "jsonl", **words)


KILLED = """
import os, signal, sys
import msgspec
sys.path.insert(0, sys.argv[1])
from test_durability import outcomes, rotation_of, write
from cormorant.interfaces import Committed
from cormorant.sinks import open_sink
target, first, more, rotate = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
resume = msgspec.json.decode(sys.argv[6], type=Committed | None)
sink = open_sink(target, rotate_bytes=rotate or None, resume=resume)
committed = None
for number in range(first, first + 40):
    write(sink, outcomes(number, number + 1, 700))
    if number % 9 == 0:
        answer = sink.sync()
        if answer is not None:
            sys.stdout.write(msgspec.json.encode([number + 1, answer]).decode() + "\\n")
            sys.stdout.flush()
    if number == first + more:
        if more % 2:
            sink.flush()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ALL)
def test_killed_and_killed_again_nothing_is_lost_or_doubled(name: str, tmp_path: pathlib.Path) -> None:
    target = target_in(tmp_path, name)
    rotate = {"x/": 0, "x.parquet": 9_000}.get(name, 15_000)
    first, committed = 0, None
    numbers = random.Random(name)
    for _ in range(3):
        words = [str(pathlib.Path(__file__).parent), target, str(first), str(numbers.randrange(20, 39)), str(rotate)]
        done = subprocess.run(
            [sys.executable, "-c", KILLED, *words, msgspec.json.encode(committed).decode()],
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == -9, done.stderr.decode()
        for line in done.stdout.splitlines():
            first, committed = msgspec.json.decode(line, type=tuple[int, Committed])
    assert committed is not None
    assert first > 30
    open_sink(target, resume=committed).close()
    assert list(read(target)) == outcomes(0, first, 700)


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Mount a tmpfs of 600 KB; root alone may."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no small disk without root: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("name", ALL)
def test_a_full_disk_stops_cleanly_and_the_rest_fits_once_there_is_room(name: str, small_disk: pathlib.Path) -> None:
    target = target_in(small_disk, name)
    sink = open_sink(target, **rotation_of(name))
    first, committed = 0, None

    def fill() -> None:
        nonlocal first, committed
        for number in range(100):
            outcome = page(number, 1).__class__(
                url=f"u{number}", status=200, body=random.Random(number).randbytes(20_000)
            )
            sink.write(outcome)
            if number % 3 == 2:
                first, committed = number + 1, synced(sink)

    with pytest.raises(OutputError, match=rf"cannot write {small_disk}/x.*(No space left on device|disk is full)"):
        fill()
    with pytest.raises(OutputError):
        sink.sync()
    sink.close()
    assert committed is not None
    assert first >= 6
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    with contextlib.closing(open_sink(target, resume=committed)) as sink:
        for number in range(first, 100):
            sink.write(Page(url=f"u{number}", status=200, body=random.Random(number).randbytes(20_000)))
    found = list(read(target))
    assert [outcome.url for outcome in found] == [f"u{number}" for number in range(100)]
    assert [outcome.body for outcome in found] == [random.Random(number).randbytes(20_000) for number in range(100)]


def test_what_a_full_disk_cut_is_taken_back_to_a_whole_record(small_disk: pathlib.Path) -> None:
    sink = open_sink(f"{small_disk}/x.jsonl")
    with pytest.raises(OutputError, match="No space left"):
        write(sink, outcomes(1, 2000, 2000))
    sink.close()
    lines = (small_disk / "x.jsonl").read_bytes()
    assert lines.endswith(b"\n")
    assert all(json.loads(line) for line in lines.splitlines())
    assert len(lines) > 500_000
