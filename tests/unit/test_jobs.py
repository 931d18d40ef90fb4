"""The folder of a job: who has it, what it remembers, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cormorant import jobs
from cormorant.errors import OutputError, UsageError
from cormorant.frontier import job_lock
from cormorant.frontier.job_lists import ListFacts, Position
from cormorant.frontier.job_lock import Locked, Owner
from cormorant.interfaces import Committed, Part
from cormorant.jobs import CUT, DEALT, FIXED, Job
from cormorant.messages import Failure, Kind, Page, Request

HOST = "https://a.example"
OPTIONS = {"command": "fetch", "input": ["urls.txt"], "output": "pages.jsonl", "engine": "greenlet", "timeout": 30.0}
HOLDER = """
import sys
from cormorant.jobs import Job
job = Job.open(sys.argv[1], {"command": "fetch"})
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "job"


@pytest.fixture
def urls_txt(tmp_path: Path) -> str:
    path = tmp_path / "urls.txt"
    path.write_text("".join(f"{HOST}/{number}\n" for number in range(20_000)))
    return str(path)


def opened(folder: Path, lists: tuple[str, ...] = (), accept: bool = False, **changes: object) -> Job:
    return Job.open(folder, OPTIONS | changes, lists, accept_changed_list=accept)


def begun(folder: Path, lists: tuple[str, ...] = (), **changes: object) -> None:
    """Leave a job that has found something."""
    job = opened(folder, lists, **changes)
    job.frontier((), 30.0).is_new(f"{HOST}/1")
    job.commit(0, None, None, {})
    job.close()


# --- beginning and going on ---


def test_a_new_job_goes_on_as_it_was_left(folder: Path) -> None:
    job = opened(folder)
    assert (job.is_new, job.position, job.committed, job.seconds) == (True, Position(), None, 0.0)
    assert job.begin_output() == Committed(())
    frontier = job.frontier((), 30.0)
    assert frontier.is_new(f"{HOST}/1")
    frontier.add(HOST, Request(url=f"{HOST}/1", target=f"{HOST}/1"))
    done = Committed((Part("pages.jsonl", 7, False),))
    job.commit(
        0, done, Position(source=1, line=2, offset=3, offset_line=1), {"scheduler": {"offered": 2}, "seconds": 4}
    )
    job.close()
    again = opened(folder)
    assert (again.is_new, again.committed, again.seconds) == (False, done, 4.0)
    assert again.position == Position(source=1, line=2, offset=3, offset_line=1)
    assert again.counters("scheduler") == {"offered": 2}
    assert again.frontier((), 30.0).take(HOST).url == f"{HOST}/1"
    again.close()


def test_an_output_that_was_begun_is_ours_even_without_a_byte(folder: Path) -> None:
    job = opened(folder)
    job.begin_output()
    job.close()
    job = opened(folder)
    assert job.committed == Committed(())
    job.close()


def test_only_the_journal_is_left_and_it_is_private(folder: Path) -> None:
    job = opened(folder)
    job.frontier((), 30.0)
    job.commit(0, None, None, {})
    assert {one.name for one in folder.iterdir()} >= {"lock", "journal.sqlite", "progress.json"}
    job.close()
    job.close()
    assert [one.name for one in folder.iterdir()] == ["journal.sqlite"]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_job_goes_on_as_it_was_begun_but_for_what_changes(folder: Path, urls_txt: str) -> None:
    begun(folder, (urls_txt,))
    job = Job.resume(folder, {"engine": "asyncio"})
    assert job.options == OPTIONS | {"engine": "asyncio"}
    job.close()
    with pytest.raises(UsageError, match="output other"):
        Job.resume(folder, {"output": "other"})


def test_there_is_no_job_where_none_was_begun(tmp_path: Path) -> None:
    for what in (Job.look, lambda folder: Job.resume(folder, {}), lambda folder: Job.retry(folder, ["dns"])):
        with pytest.raises(UsageError, match="holds no job; begin one: cormorant fetch"):
            what(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


# --- what may change ---


@pytest.mark.parametrize("word", CUT)
def test_how_a_fleets_job_is_cut_cannot_change(word: str, folder: Path) -> None:
    cut = {"shards": 8, "split": "host"}
    job = opened(folder, **cut)
    job.remember({DEALT: {}})
    job.close()
    with pytest.raises(UsageError, match=rf"was begun with {word} .*, and now it is {word} 9: the job was cut so"):
        opened(folder, **cut | {word: 9})
    job = opened(folder)
    assert {name: job.options[name] for name in CUT} == cut, "what is not said again is as before"
    job.close()


def test_a_job_of_one_worker_cannot_be_cut(folder: Path) -> None:
    begun(folder)
    with pytest.raises(UsageError, match="was begun by one worker, and its journal cannot be cut: leave workers"):
        opened(folder, shards=8)
    job = opened(folder)
    with pytest.raises(UsageError, match="was begun by one worker"):
        job.cut(8)
    job.close()


@pytest.mark.parametrize("word", sorted(FIXED.keys() - set(CUT)))
def test_what_decides_what_is_fetched_cannot_change(word: str, folder: Path) -> None:
    begun(folder)
    with pytest.raises(UsageError, match=rf"was begun with {word.replace('_', '-')} .*, and now it is .* other: "):
        opened(folder, **{word: "other"})
    opened(folder).close()  # nothing was changed, and the lock is free


def test_as_long_as_nothing_was_done_everything_may_change(folder: Path) -> None:
    job = opened(folder)
    job.begin_output()
    job.close()
    job = opened(folder, output="other.jsonl", input=["others.txt"])
    assert job.committed is None  # nothing is known of what stands there
    assert job.options["input"] == ["others.txt"]
    job.close()


@pytest.mark.parametrize("word", ["engine", "concurrency", "timeout", "delay", "retries", "user_agent", "header"])
def test_how_it_is_fetched_may_change(word: str, folder: Path) -> None:
    opened(folder).close()
    job = opened(folder, **{word: "other"})
    assert job.options[word] == "other"
    job.close()


def test_pairs_are_the_same_whether_tuples_or_lists(folder: Path) -> None:
    begun(folder, include=("a", "b"))
    opened(folder, include=["a", "b"]).close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.write_text("x\n"), "had [0-9,]+ bytes and has 2 since the job was begun"),
        (lambda path: path.write_bytes(b"X" + path.read_bytes()[1:]), "holds other lines"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2] + b"X\n"), "holds other lines"),
        (lambda path: os.utime(path, (1, 1)), "was written to since the job was begun"),
    ],
    ids=["size", "beginning", "end", "time"],
)
def test_a_list_that_changed_is_refused_unless_accepted(change, said: str, folder: Path, urls_txt: str) -> None:
    begun(folder, (urls_txt,))
    change(Path(urls_txt))
    for _ in range(2):
        with pytest.raises(UsageError, match=f"the list .*urls.txt {said}.*--accept-changed-list"):
            opened(folder, (urls_txt,))
    job = opened(folder, (urls_txt,), accept=True)
    job.frontier((), 30.0)
    job.commit(0, None, None, {})  # from now on it is the list
    job.close()
    opened(folder, (urls_txt,)).close()


def test_a_list_that_cannot_be_read_twice_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot go on with what came from stdin; save the list to a file"):
        opened(folder, ("-",))
    os.mkfifo(tmp_path / "pipe")
    descriptor = os.open(tmp_path / "pipe", os.O_RDWR)
    with pytest.raises(UsageError, match=r"cannot read .*pipe a second time"):
        opened(folder, (str(tmp_path / "pipe"),))
    os.close(descriptor)
    with pytest.raises(UsageError, match=r"cannot read the list .*missing: No such file"):
        opened(folder, (str(tmp_path / "missing"),))
    assert not folder.exists()


def test_a_list_is_known_by_where_it_is(urls_txt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ListFacts.of(urls_txt)
    monkeypatch.chdir(Path(urls_txt).parent)
    assert ListFacts.of("urls.txt") == before


# --- one at a time ---


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the job."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_and_told_who_has_it(folder: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(
        Locked, match=rf"in use by another run \(process {holder.pid} on .*\); wait for it, or .*kill {holder.pid}"
    ):
        Job.open(folder, {"command": "fetch"})
    with pytest.raises(Locked):
        Job.retry(folder, ["dns"])


def test_the_lock_of_a_killed_run_is_taken_over(folder: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert (folder / "lock").exists()
    job = Job.open(folder, {"command": "fetch"})
    assert job.killed_before is not None
    assert f"process {holder.pid} " in job.killed_before
    job.close()
    job = Job.open(folder, {"command": "fetch"})
    assert job.killed_before is None
    job.close()


def test_what_stands_in_the_lock_decides_nothing(folder: Path) -> None:
    """Our own pid, in another life of the machine: no reason to refuse. Nonsense neither."""
    for text in (json.dumps({"pid": os.getpid(), "boot": "x", "machine": "y", "since": 0.0}), "nonsense", ""):
        folder.mkdir(exist_ok=True)
        (folder / "lock").write_text(text)
        opened(folder).close()


def test_a_lock_that_its_owner_removes_meanwhile_is_not_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    flock, removed = job_lock.fcntl.flock, list[int]()

    def slow(descriptor: int, how: int) -> None:
        if not removed:
            removed.append(descriptor)
            (folder / "lock").unlink()
        flock(descriptor, how)

    monkeypatch.setattr(job_lock.fcntl, "flock", slow)
    lock = job_lock.Lock(folder)
    assert (folder / "lock").exists()
    with pytest.raises(Locked):
        job_lock.Lock(folder)
    lock.release()


def test_a_file_system_that_cannot_lock_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(job_lock.fcntl, "flock", no_locks)
    with pytest.raises(
        OutputError, match=r"cannot lock .*lock: No locks available; put the job's folder on a local disk"
    ):
        opened(folder)


def test_an_owner_is_a_process_in_one_life_of_a_machine() -> None:
    here = Owner.here()
    assert here.pid == os.getpid()
    if sys.platform == "linux":
        assert len(here.boot) == 36
    assert str(here).startswith(f"process {os.getpid()} on {here.machine}, since 20")


# --- folders that are none ---


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(UsageError, match="is not empty and holds no job; name a new folder"):
        opened(tmp_path)
    with pytest.raises(UsageError, match="is a file; name a folder"):
        opened(tmp_path / "letters.txt")


def test_a_folder_that_cannot_be_made_or_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        OutputError, match=r"cannot make the job folder /proc/job: .*; make its parent writable, or name"
    ):
        opened(Path("/proc/job"))
    folder = tmp_path / "job"
    opened(folder).close()
    real = os.open

    def read_only(path, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(30, "Read-only file system")
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(
        OutputError, match=r"cannot write .*lock: Read-only file system; make the job's folder writable"
    ):
        opened(folder)


def test_a_job_that_cannot_be_opened_lets_go_of_its_lock(folder: Path) -> None:
    folder.mkdir()
    (folder / "journal.sqlite").write_bytes(b"nonsense" * 1_000)
    with pytest.raises(UsageError, match="is no journal of cormorant"):
        opened(folder)
    assert not (folder / "lock").exists()


# --- how it stands, and trying again ---


def failing(folder: Path) -> Job:
    job = opened(folder)
    frontier = job.frontier((), 30.0)
    for number, kind in enumerate((None, Kind.TIMEOUT, Kind.DNS)):
        url = f"{HOST}/{number}"
        frontier.is_new(url)
        frontier.add(HOST, Request(url=url, target=url))
        request = frontier.take(HOST)
        outcome = Page(url=url, status=200) if kind is None else Failure(url=url, kind=kind, message="")
        frontier.settle(request, outcome)
    counters = {"outcomes": {"ok": 1, "http_errors": 0, "failed": {"timeout": 1, "dns": 1}}, "seconds": 1.5}
    job.commit(3, Committed((Part("x", 1, False),)), None, counters)
    return job


def test_a_job_is_looked_at_while_it_runs_and_afterwards(folder: Path) -> None:
    job = failing(folder)
    state = Job.look(folder)
    assert state.running is not None
    assert f"process {os.getpid()}" in state.running
    job.close()
    after = Job.look(folder)
    assert after.running is None
    assert (
        (state.done, state.failed, state.rate)
        == (after.done, after.failed, after.rate)
        == (
            3,
            {"timeout": 1, "dns": 1},
            2.0,
        )
    )
    assert [host.host for host in after.hosts] == [HOST]


def test_a_running_job_that_has_not_said_anything_is_locked(folder: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(Locked):
        Job.look(folder)


def test_progress_is_told_at_most_once_a_second(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now[0])
    job = opened(folder)
    job.frontier((), 30.0)
    told = []
    for seconds in (0.0, 0.5, 0.6):
        now[0] += seconds
        job.commit(0, None, None, {"seconds": now[0]})
        told.append(json.loads((folder / "progress.json").read_bytes())["seconds"])
    assert told == [100.0, 100.0, 101.1]
    job.close()


def test_kinds_of_failures_are_tried_again(folder: Path) -> None:
    failing(folder).close()
    with pytest.raises(UsageError, match="'okay' cannot be tried again; give some of http_error, dns, "):
        Job.retry(folder, ["okay"])
    assert Job.retry(folder, ["timeout", "connect"]) == {"timeout": 1}
    state = Job.look(folder)
    assert (state.done, state.left) == (2, 1)
    job = opened(folder)
    assert job.counters("outcomes")["failed"] == {"dns": 1}
    assert job.frontier((), 30.0).take(HOST).url == f"{HOST}/1"
    job.close()


def test_a_job_says_how_it_stands(folder: Path) -> None:
    job = opened(folder)
    assert repr(job) == f"<Job {folder} new None>"
    job.close()
