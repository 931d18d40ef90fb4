"""The real command: killed, stopped, on a disk that is full, fails or is read only. Then it goes on, and is judged.

Long loops of the same are run by hand: `kill_loop.py`, `call_kills.py`, `power_cut.py`; their figures stand in
`docs/explanation/durability.md`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from call_kills import SMALL, STRACE, Calls, Point, every
from disks import can_cut, can_mount, memory_disk, remount
from full_disk import filled
from kill_loop import Trial, words_of
from killing import ENGINE_LOST, KILLED, NOT_WRITTEN, PATIENCE_SECONDS, SERVER, Run, Tally, has_children, one_run
from power_cut import cut_over_and_over

pytestmark = pytest.mark.timeout(600)  # a busy machine takes its time

SRC = Path(__file__).parents[2] / "src"
STEADY = ("--pages", "700", "--delay", "0.05", "--starting", "0")  # two seconds: long enough for a commit
AFTER_A_COMMIT = ("--shortest", "1.15", "--longest", "1.6")
AT_ONCE = 3

needs_strace = pytest.mark.skipif(STRACE is None, reason="needs strace: apt-get install strace")
needs_root = pytest.mark.skipif(not can_mount(), reason="needs root, to mount a small disk")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the command found, and Ctrl-C work in it where the tests themselves run in the background."""
    monkeypatch.setenv("PYTHONPATH", str(SRC))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def trial(folder: Path, *words: str, place: Path | None = None) -> Trial:
    return Trial(folder, words_of(words), place)


def under(*engines: str) -> list[str]:
    return [word for engine in engines for word in ("--engine", engine)]


def at_once(judge: Callable[..., list[str]], trials: Iterable[tuple[object, ...]]) -> dict[str, list[str]]:
    """Run trials beside each other, for most of the time they wait; returns what is wrong, by the trial."""
    trials = list(trials)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda words: judge(*words), trials)
        return {str(trial[:2]): faults for trial, faults in zip(trials, found, strict=True) if faults}


# --- killed at any instant ---

FORMATS: dict[str, list[str]] = {
    "jsonl": under("greenlet", "thread"),
    "jsonl.gz": under("thread", "gevent"),
    "csv": [*under("serial", "asyncio"), "--pages", "200"],
    "warc.gz": [*under("asyncio", "process"), "--width", "8"],
    "warc.zst": [*under("gevent", "greenlet"), "--rotate", "100K"],
    "parquet": [*under("thread", "asyncio"), "--rotate", "50K"],
    "sqlite": under("gevent", "greenlet"),
    "folder": under("thread", "asyncio"),
}


def killed_once(format: str, words: list[str], folder: Path) -> list[str]:
    folder.mkdir()
    run = trial(folder, *STEADY, *AFTER_A_COMMIT, "--rounds", "1", "--format", format, *words)
    tally = run.go(random.Random(format))
    return tally.faults if tally.kills == 1 else [f"killed {tally.kills} times"]


def test_nothing_is_lost_or_doubled_by_a_kill(tmp_path: Path) -> None:
    assert at_once(killed_once, [(format, words, tmp_path / format) for format, words in FORMATS.items()]) == {}


def test_a_crawl_meets_every_page_once_whatever_kills_it(tmp_path: Path) -> None:
    words = ["--crawl", *STEADY, "--rounds", "3", "--longest", "1.2", *under("greenlet", "asyncio", "thread")]
    tally = trial(tmp_path, *words).go(random.Random(3))
    assert tally.faults == []
    assert tally.kills >= 2
    assert tally.verdict is not None
    assert tally.verdict.records > 500


def test_workers_and_parents_may_be_killed_alone(tmp_path: Path) -> None:
    words = ["--pages", "400", "--rounds", "3", "--longest", "0.3", "--starting", "0", "--width", "6"]
    words += ["--workers-too"]
    tally = trial(tmp_path, *words, *under("process", "pool")).go(random.Random(4))
    assert tally.faults == []
    assert {run.how for run in tally.runs} >= {"parent", "child"}


@pytest.mark.parametrize("engine", ["process", "pool"])
def test_the_server_of_processes_may_be_killed(engine: str, tmp_path: Path) -> None:
    run = trial(tmp_path, "--pages", "300", "--width", "12", *under(engine))
    with run.served():
        first = one_run(next(run.commands()), tmp_path, 0.0, SERVER, more=PATIENCE_SECONDS, once=has_children(5))
        assert first.how == SERVER
        assert first.code == ENGINE_LOST or run.judged(Tally([first])).faults == []  # it has to say so, or to finish
        assert run.judged(Tally([first, run_once(run)])).faults == []


def test_a_stop_finishes_what_is_under_way_and_nothing_is_fetched_again(tmp_path: Path) -> None:
    words = ["--pages", "2500", "--rounds", "3", "--longest", "0.3", "--signal", "TERM", "--signal", "INT"]
    tally = trial(tmp_path, *words, *under("greenlet", "thread", "asyncio")).go(random.Random(5))
    assert tally.faults == []
    assert 7 in [run.code for run in tally.runs]


def test_a_host_is_spared_over_restarts(tmp_path: Path) -> None:
    words = ["--pages", "30", "--hosts", "30", "--delay", "2", "--rounds", "1", "--longest", "0", "--starting", "0"]
    tally = trial(tmp_path, *words).go(random.Random(6))
    assert tally.faults == []
    assert tally.kills == 1


# --- at a system call ---


POINTS: list[tuple[str, Point]] = [
    ("jsonl", ("pwrite64", 30)),
    ("jsonl", ("fdatasync", 4)),
    ("warc.gz", ("write", 5)),
    ("sqlite", ("pwrite64", 60)),
    ("folder", ("syncfs", 1)),
    ("parquet", ("rename", 2)),
]


def killed_at(format: str, point: Point, folder: Path) -> list[str]:
    folder.mkdir()
    rotation = ["--rotate", "8K"] if format == "parquet" else []
    found = every(Calls(folder, words_of([*SMALL, "--format", format, *rotation])), [point], "signal=KILL", KILLED)
    return found.faults if found.disturbed else ["it was not killed"]


@needs_strace
def test_it_may_be_killed_at_any_system_call(tmp_path: Path) -> None:
    trials = [(format, point, tmp_path / str(number)) for number, (format, point) in enumerate(POINTS)]
    assert at_once(killed_at, trials) == {}


# --- a disk that fails ---


def failed_at(path: str, format: str, call: str, folder: Path) -> list[str]:
    """Have the first sync of a file fail; return what is wrong with what the run says, and with what comes of it."""
    folder.mkdir()
    name, number = point = (call, 1)
    tally = Calls(folder, words_of([*SMALL, "--format", format]), call, path).disturb(point, "error=EIO")
    said = (folder / f"{name}-{number}" / "stderr.log").read_text()
    faults = tally.faults
    if [run.code for run in tally.runs] != [NOT_WRITTEN, 1]:
        faults.append(f"exit codes {[run.code for run in tally.runs]}")
    file = re.escape(path.removesuffix("-wal").removesuffix(".partial"))
    if not re.search(rf"cannot write \S*{file}: (disk I/O error|{os.strerror(errno.EIO)})", said):
        faults.append(f"it says {said!r}")
    return faults


@needs_strace
def test_a_sync_that_fails_is_told_and_not_trusted(tmp_path: Path) -> None:
    trials = [
        ("pages.jsonl", "jsonl", "fdatasync", tmp_path / "1"),
        ("journal.sqlite-wal", "warc.gz", "fdatasync", tmp_path / "2"),
        ("pages.parquet.partial", "parquet", "fsync", tmp_path / "3"),
    ]
    assert at_once(failed_at, trials) == {}


@needs_root
@pytest.mark.parametrize(("format", "size"), [("warc.gz", "200k"), ("sqlite", "700k")])
def test_a_full_disk_is_told_and_room_lets_it_go_on(format: str, size: str, tmp_path: Path) -> None:
    assert filled(tmp_path, words_of(["--pages", "500", "--format", format]), size).faults == []


def run_once(run: Trial) -> Run:
    return one_run(next(run.commands()), run.folder, PATIENCE_SECONDS)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Have nothing written to a folder: root can only be kept from it by the disk itself."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    if not can_mount():
        pytest.skip("needs to mount a small disk, where it runs as root")
    with memory_disk(folder, "8m"):
        remount(folder, "ro")
        yield
        remount(folder, "rw")


@pytest.mark.parametrize("what", ["output", "job"])
def test_a_folder_that_cannot_be_written_is_told(what: str, tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir()
    run = trial(tmp_path, "--pages", "60")
    command = [
        word.replace(f"{tmp_path}/{'job' if what == 'job' else 'pages'}", f"{shut}/x") for word in next(run.commands())
    ]
    with run.served(), read_only(shut):
        assert one_run(command, tmp_path, PATIENCE_SECONDS).code == NOT_WRITTEN
        assert f"{shut}/x" in (tmp_path / "stderr.log").read_text()


# --- a power cut ---


@pytest.mark.skipif(not can_cut(), reason="needs root, ext4 and a loop device")
def test_a_power_cut_loses_nothing(tmp_path: Path) -> None:
    assert at_once(cut_twice, [(format, tmp_path / format) for format in ("warc.gz", "sqlite", "parquet")]) == {}


def cut_twice(format: str, folder: Path) -> list[str]:
    folder.mkdir()
    rotation = ["--rotate", "20K"] if format == "parquet" else []
    words = [*STEADY, *AFTER_A_COMMIT, "--rounds", "2", "--pages", "1300", "--format", format, *rotation]
    tally = cut_over_and_over(folder, words_of(words), random.Random(8))
    return tally.faults if tally.kills == 2 else [f"cut {tally.kills} times"]
