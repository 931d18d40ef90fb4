"""Jobs that are killed: at any instant, at every write and sync, on a full disk, by a disk that fails.

What is judged is what stands on the disk afterwards (`checker.py`): every line once, every page that was met in a
record, nothing twice, and not more fetched again than was under way.
"""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from call_kills import Point, points_in
from checker import Allowed, Verdict, check, met_in
from kill_loop import left_behind
from killing import PATIENCE_SECONDS, always, drive, one_run
from little import COMMIT_EVERY, LAZY_SYNCS, WIDTH, LittleRun, number_in, reachable, write_list
from strangers import read

from cormorant.jobs import Job

LITTLE = Path(__file__).parent / "little.py"
STRACE = shutil.which("strace")
TRIED = 2  # a page is asked for again by its retry, or as a sitemap
BOUND = 3 * (WIDTH + COMMIT_EVERY * LAZY_SYNCS)  # requests for what is under way or not committed: hops, retries


def judge(folder: Path, size: int, seeds: list[int], kills: int) -> Verdict:
    """Check a run that has ended, against its list, its log and the web itself."""
    output = folder / "out.jsonl"
    allowed = Allowed(kills=kills, bound=BOUND, tried=TRIED)
    verdict = check(folder / "urls.txt", folder / "server.log", output, allowed)
    assert not verdict.faults
    assert met(output) == reachable(size, seeds)
    state = Job.look(folder / "job")
    assert (state.done, state.left) == (verdict.records, 0)
    assert left_behind(folder / "job") == []
    return verdict


def met(output: Path) -> set[int]:
    """Return the pages that stand in the records: by URL, as the end of a redirect, or on its way."""
    return {number_in(url) for url in met_in(read(output)) if url.startswith("https://h")}


@pytest.mark.parametrize("lazy", [False, True], ids=["eager sink", "lazy sink"])
@pytest.mark.parametrize("trial", range(8))
def test_a_run_that_is_left_at_any_step_ends_as_one_that_is_not(trial: int, lazy: bool, tmp_path: Path) -> None:
    size, draw, crashes = 150, random.Random(trial), 0
    seeds = write_list(tmp_path, size)
    while True:
        run = LittleRun(tmp_path, size=size, seed=draw.randrange(1 << 30), lazy=lazy)
        last = draw.choice((5, 30, 100, 200, 1 << 30))
        has_ended = all(step < last for step, _ in enumerate(run.go()))
        run.close()  # nothing is written here: what is not committed is gone
        if has_ended:
            break
        crashes += 1
    judge(tmp_path, size, seeds, crashes)


def kill_at_random(folder: Path, rounds: int, size: int, lazy: bool, longest: float) -> None:
    seeds = write_list(folder, size)
    command = [sys.executable, str(LITTLE), str(folder), "--size", str(size), *(["--lazy"] if lazy else [])]
    tally = drive(always(command), folder, rounds, random.Random(rounds), longest)
    assert tally.exit_code == 0
    judge(folder, size, seeds, tally.kills)


@pytest.mark.parametrize("lazy", [False, True], ids=["eager sink", "lazy sink"])
def test_a_run_killed_at_random_instants_loses_and_doubles_nothing(lazy: bool, tmp_path: Path) -> None:
    kill_at_random(tmp_path, 8, 1_000, lazy, 0.8)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("lazy", [False, True], ids=["eager sink", "lazy sink"])
def test_a_run_killed_many_times(lazy: bool, tmp_path: Path) -> None:
    kill_at_random(tmp_path, int(os.environ.get("CORMORANT_KILLS", "25")), 4_000, lazy, 1.0)


# --- at every system call ---

CALLS = "write,pwrite64,fsync,fdatasync,ftruncate,unlink,rename"
needs_strace = pytest.mark.skipif(STRACE is None, reason="needs strace: apt-get install strace")


def traced(folder: Path, size: int, *inject: str) -> int | None:
    """Run the little run under strace; returns its exit code."""
    command = [str(STRACE), "-f", "-qq", "-o", str(folder / "strace.log"), "-e", f"trace={CALLS}"]
    for one in inject:
        command += ["-e", f"inject={one}"]
    run = one_run(
        [*command, sys.executable, str(LITTLE), str(folder), "--size", str(size), "--seed", "5"],
        folder,
        PATIENCE_SECONDS,
    )
    assert run.how is None, "it hangs"
    return run.code


def points(folder: Path, size: int) -> list[Point]:
    """Return where a run that nobody disturbs can be killed."""
    folder.mkdir()
    write_list(folder, size)
    assert traced(folder, size) == 0
    found = points_in((folder / "strace.log").read_text())
    assert len(found) > 50
    return found


def go_on(folder: Path, size: int) -> int | None:
    return one_run([sys.executable, str(LITTLE), str(folder), "--size", str(size)], folder, PATIENCE_SECONDS).code


def kill_at_calls(tmp_path: Path, size: int, step: int, first: int) -> None:
    for name, number in points(tmp_path / "counted", size)[first::step]:
        folder = tmp_path / f"{name}-{number}"
        folder.mkdir()
        seeds = write_list(folder, size)
        assert traced(folder, size, f"{name}:signal=KILL:when={number}") != 0
        assert go_on(folder, size) == 0
        judge(folder, size, seeds, 1)
        shutil.rmtree(folder)


@needs_strace
def test_a_run_killed_at_some_system_calls(tmp_path: Path) -> None:
    kill_at_calls(tmp_path, 40, 29, 3)


@needs_strace
@pytest.mark.skipif("CORMORANT_ALL_CALLS" not in os.environ, reason="takes minutes: set CORMORANT_ALL_CALLS=1")
@pytest.mark.timeout(1800)
def test_a_run_killed_at_every_system_call(tmp_path: Path) -> None:
    kill_at_calls(tmp_path, 40, 1, 0)


@needs_strace
@pytest.mark.parametrize("number", [1, 5, 7, 9])  # 2 and 6 are of the folder, which we sync ourselves too
def test_a_sync_that_fails_stops_the_run_and_names_the_file(number: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = disturb_by(folder, f"fdatasync:error=EIO:when={number}")
    assert code == 4
    assert re.search(r"cannot \w+ .*journal\.sqlite: disk I/O error; see to the disk", (tmp_path / "said").read_text())


def disturb_by(folder: Path, inject: str) -> int | None:
    """Disturb a run, keep what it said beside its folder, and judge the next one."""
    folder.mkdir()
    seeds = write_list(folder, 60)
    code = traced(folder, 60, inject)
    shutil.copy(folder / "stderr.log", folder.parent / "said")
    assert go_on(folder, 60) == 0
    judge(folder, 60, seeds, 1)
    return code


# --- on a full disk ---

ON_TMPFS = """
set -e
mount -t tmpfs -o size={size} none {folder}
cp {list} {folder}/urls.txt
code=0; {command} 2> {said} || code=$?
mount -o remount,size=64m {folder}
{command}
cp -r {folder} {result}
exit $code
"""


@pytest.mark.parametrize("size", ["24k", "60k", "100k", "160k"])
def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(size: str, tmp_path: Path) -> None:
    folder, pages = tmp_path / "small", 800
    folder.mkdir()
    seeds = write_list(tmp_path, pages)
    script = ON_TMPFS.format(
        size=size,
        folder=folder,
        list=tmp_path / "urls.txt",
        said=tmp_path / "said",
        result=tmp_path / "result",
        command=f"{sys.executable} {LITTLE} {folder} --size {pages}",
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    if "Operation not permitted" in done.stderr or "unshare: " in done.stderr:
        pytest.skip("needs root, to mount a small file system")
    assert done.returncode == 4, done.stderr
    said = (tmp_path / "said").read_text()
    journal = r"little: cannot \w+ \S*(journal\.sqlite|lock): .*(full|No space left on device); make room"
    assert re.search(rf"{journal}|{re.escape(os.strerror(errno.ENOSPC))}$", said, re.MULTILINE)  # or of the little sink
    judge(tmp_path / "result", pages, seeds, 1)
