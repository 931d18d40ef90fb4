"""Runs a command over and over, and ends it before it has ended: by SIGKILL to all of it or to a part, or by a signal.

`drive` takes any command; what it does is drawn, so a seed gives the same ends again. Judged here is what processes
do: I5 the exit code tells the truth, I6 nobody is left, I7 how long going on takes.
"""

from __future__ import annotations

import bisect
import collections
import contextlib
import dataclasses
import itertools
import os
import random
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import psutil
from checker import Verdict, read_log

ENDED = (0, 1, 3)  # exit codes of a run that has reached its end
NOT_WRITTEN, ENGINE_LOST, STOPPED = 4, 5, 7
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
BEFORE_THE_RUN = (130, -signal.SIGINT, -signal.SIGTERM)  # of a signal that came while the command was still starting
LOG = "server.log"  # beside the list: it grows when something is asked for
PATIENCE_SECONDS = 120.0
LOOK_EVERY_SECONDS = 0.01
ORPHAN_SECONDS = 5.0

# How a run is ended. The server is the process of multiprocessing that starts the others.
GROUP, PARENT, CHILD, SERVER, TERM, INT = "group", "parent", "child", "server", "TERM", "INT"
STOPS = {TERM: signal.SIGTERM, INT: signal.SIGINT}


Condition = Callable[[int], bool]  # of the process with this pid


@dataclasses.dataclass
class Run:
    """One run: when it began (ns), how it was ended if it was, its exit code, and whether it asked for anything."""

    began_at: int
    how: str | None = None
    code: int | None = None
    asked: bool = False

    @property
    def was_killed(self) -> bool:
        """Whether a process of it was."""
        return self.how in (GROUP, PARENT, CHILD, SERVER)

    @property
    def has_ended(self) -> bool:
        """Whether it has reached its end. Python itself ends by 1 where a signal comes while it is starting."""
        return self.code in ENDED and (self.how not in STOPS or self.asked)

    @property
    def fault(self) -> str | None:
        """What is wrong with its exit code, if it has one."""
        good = {None, *ENDED}
        if self.how in STOPS:
            good |= {STOPPED, *BEFORE_THE_RUN}
        if self.how in (CHILD, SERVER):
            good |= {ENGINE_LOST}
        if self.how == GROUP:
            good |= {NOT_WRITTEN, *KILLED}  # of a disk that is full or fails, or by somebody else
        return None if self.code in good else f"I5: exit code {self.code} (disturbed by {self.how})"


@dataclasses.dataclass
class Tally:
    """What was done to a command, and what came of it."""

    runs: list[Run] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    left_behind: list[str] = dataclasses.field(default_factory=list)
    verdict: Verdict | None = None

    @property
    def kills(self) -> int:
        """How many runs lost a process."""
        return sum(run.was_killed for run in self.runs)

    @property
    def exit_code(self) -> int | None:
        """How the last run ended."""
        return self.runs[-1].code

    @property
    def faults(self) -> list[str]:
        """All that is wrong."""
        faults = list(self.verdict.faults) if self.verdict is not None else []
        faults += [run.fault for run in self.runs if run.fault is not None]
        if self.exit_code not in ENDED:
            faults.append(f"I5: exit code {self.exit_code}")
        return faults + [f"I6: left behind: {name}" for name in self.left_behind]

    def going_on(self, log: Path) -> list[float]:
        """Return for each run that asked for anything the seconds from its start to its first request (I7)."""
        instants = [one.at for one in read_log(log)]
        ends = [run.began_at for run in self.runs[1:]] + [time.monotonic_ns()]
        found = []
        for run, end in zip(self.runs, ends, strict=True):
            first = next((at for at in instants if run.began_at <= at < end), None)
            if first is not None:
                found.append((first - run.began_at) / 1e9)
        return found

    def again(self, log: Path) -> list[int]:
        """Return for each run how many of its requests were for URLs that a run before had asked for."""
        begun = [run.began_at for run in self.runs]
        known: dict[str, int] = {}
        found = [0] * len(self.runs)
        for one in read_log(log):
            run = bisect.bisect(begun, one.at) - 1
            found[run] += known.setdefault(one.url, run) < run
        return found

    def told(self, log: Path) -> dict[str, object]:
        """Return it as JSON values."""
        seconds = self.going_on(log)
        return {
            "runs": len(self.runs),
            "kills": self.kills,
            "asked_before": sum(run.asked for run in self.runs[:-1]),
            "disturbed": dict(collections.Counter(run.how for run in self.runs if run.how)),
            "exit_codes": dict(collections.Counter(str(run.code) for run in self.runs)),
            "seconds": self.seconds,
            "going_on_median_seconds": round(statistics.median(seconds), 2) if seconds else None,
            "going_on_longest_seconds": round(max(seconds), 2) if seconds else None,
            "most_fetched_again": max(self.again(log)),
            "verdict": None if self.verdict is None else dataclasses.asdict(self.verdict),
            "faults": self.faults,
        }


def drive(
    commands: Iterable[Sequence[str]],
    folder: Path,
    rounds: int,
    draw: random.Random,
    longest: float,
    *,
    shortest: float = 0.0,
    starting: float = 0.25,
    hows: Sequence[str] = (GROUP,),
    **popen: object,
) -> Tally:
    """Disturb up to `rounds` runs, then let one end. Raises on a hang.

    Each run is the next of `commands`, and ended in one of `hows` after `shortest` to `longest` seconds; of a share of
    `starting` these begin with it, so that it may be starting still, of the others with their first request.
    """
    tally, began = Tally(), time.monotonic()
    for command in commands:
        disturbed = sum(run.how is not None for run in tally.runs)
        patience = draw.uniform(shortest, longest) if disturbed < rounds else PATIENCE_SECONDS
        once = asks(folder / LOG) if disturbed < rounds and draw.random() >= starting else None
        how, more = draw.choice(hows), draw.uniform(0.0, longest)
        run = one_run(command, folder, patience, how, more=more, once=once, **popen)
        tally.runs.append(run)
        if run.code is None and disturbed >= rounds:
            raise AssertionError(f"{command[0]} did not end within {PATIENCE_SECONDS:g} s")
        if run.has_ended or run.fault is not None:
            break
    tally.seconds = round(time.monotonic() - began, 1)
    return tally


def always(command: Sequence[str]) -> Iterator[Sequence[str]]:
    """Return the same command for every run."""
    return itertools.repeat(command)


def one_run(
    command: Sequence[str],
    folder: Path,
    patience: float,
    how: str = GROUP,
    *,
    more: float = 0.0,
    once: Condition | None = None,
    first: Callable[[], object] | None = None,
    **popen: object,
) -> Run:
    """Run the command in a process group of its own; disturb it after `patience` seconds if it is still there then.

    The seconds begin `once` something holds of the process. `first` is called before it is disturbed. One that loses a
    child goes on for up to `more` seconds. Whatever is left is killed then, and its code is None.
    """
    run, has_asked = Run(time.monotonic_ns()), asks(folder / LOG)
    with (folder / "stderr.log").open("ab") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            **popen,  # type: ignore[call-overload]
        )
    try:
        if once is not None:
            wait_for(once, process)
        run.code = process.wait(patience)
    except subprocess.TimeoutExpired:
        run.how = how
        if first is not None:
            first()
        run.code = disturbed(process, how, more)
    finally:
        if how != PARENT or run.how is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_until_gone(process.pid)
    run.asked = has_asked(process.pid)
    return run


def wait_for(condition: Condition, process: subprocess.Popen[bytes]) -> None:
    """Wait until something holds of a process, or it has ended."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition(process.pid) and process.poll() is None and time.monotonic() < until:
        time.sleep(LOOK_EVERY_SECONDS)


def asks(log: Path) -> Condition:
    """Return what holds of a process as soon as something was asked for: answers to a run before do not count."""
    size = size_of(log)

    def has_asked(_: int) -> bool:
        if size_of(log) == size:
            return False
        with log.open("rb") as file:
            file.seek(size)
            return any(line.count(b" ") == 1 for line in file)

    return has_asked


def has_children(count: int) -> Condition:
    """Return what holds of a process that has started so many others."""
    return lambda pid: len(psutil.Process(pid).children(recursive=True)) >= count


def size_of(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def disturbed(process: subprocess.Popen[bytes], how: str, more: float) -> int | None:
    """Disturb a process; returns its exit code if it ends by itself."""
    if how == PARENT:
        process.kill()
    elif how in (CHILD, SERVER):
        kill_a_child(process.pid, "forkserver" if how == SERVER else "")
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(more)
    elif how in STOPS:
        with contextlib.suppress(ProcessLookupError):
            if how == INT:
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
            else:
                process.terminate()
        return process.wait(PATIENCE_SECONDS)
    return None


def kill_a_child(pid: int, word: str) -> None:
    """Kill one of the processes that a process has started, and those have, with `word` in its command line."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children(recursive=True)
        chosen = [child for child in children if word in " ".join(child.cmdline())]
        if chosen:
            (chosen[0] if word else random.choice(chosen)).kill()  # the others inherit the server's command line


def wait_until_gone(group: int) -> None:
    """Wait for the last of a process group; whoever is still there after `ORPHAN_SECONDS` is an orphan."""
    until = time.monotonic() + ORPHAN_SECONDS
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(LOOK_EVERY_SECONDS)
    os.killpg(group, signal.SIGKILL)
    raise AssertionError(f"I6: process group {group} is still there")
