"""Kills a command over and over, lets it end, and has the checker judge what is there.

    python kill_loop.py --rounds 100 [--pages 2000] [--engine greenlet] [--format jsonl] [--workers-too]

It serves a small site of its own (a process with a truth log), writes the list, and runs

    cormorant fetch -i urls.txt -o pages.FORMAT --job job -e ENGINE

killing its whole process group by SIGKILL after a random time, until it has been killed `rounds` times or has
ended; then it is run to its end. What is judged besides the checker: I5 the exit code is 0 or 1 and only at the end,
I6 no process and no file is left behind, I7 how long going on takes. Prints one JSON object.

`drive` takes any command, so it serves for others too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from checker import Verdict, check  # noqa: E402 - found beside this file

ENDED = (0, 1)  # exit codes of a run that has reached its end
PATIENCE_SECONDS = 120.0


@dataclasses.dataclass
class Tally:
    """What the loop did to a command, and what came of it."""

    kills: int = 0
    runs: int = 0
    seconds: float = 0.0
    exit_code: int | None = None
    left_behind: list[str] = dataclasses.field(default_factory=list)
    verdict: Verdict | None = None

    @property
    def faults(self) -> list[str]:
        """All that is wrong."""
        faults = list(self.verdict.faults) if self.verdict is not None else []
        if self.exit_code not in ENDED:
            faults.append(f"I5: exit code {self.exit_code}")
        return faults + [f"I6: left behind: {name}" for name in self.left_behind]


def drive(
    command: Sequence[str], folder: Path, rounds: int, draw: random.Random, longest: float, **popen: object
) -> Tally:
    """Kill `command` up to `rounds` times, each after up to `longest` seconds, then let it end. Raises on a hang."""
    tally, began = Tally(), time.monotonic()
    while True:
        patience = draw.uniform(0.0, longest) if tally.kills < rounds else PATIENCE_SECONDS
        code = one_run(command, folder, patience, **popen)
        tally.runs += 1
        if code is None and tally.kills >= rounds:
            raise AssertionError(f"{command[0]} did not end within {PATIENCE_SECONDS:g} s")
        if code is not None:
            tally.exit_code = code
            break
        tally.kills += 1
    tally.seconds = round(time.monotonic() - began, 1)
    return tally


def one_run(command: Sequence[str], folder: Path, patience: float, **popen: object) -> int | None:
    """Run the command in a process group of its own; returns its exit code, or None: it had to be killed."""
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
        return int(process.wait(timeout=patience))
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_until_gone(process.pid)


def wait_until_gone(group: int) -> None:
    """Wait for the last of a process group; whoever is still there after 5 s is an orphan."""
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.01)
    raise AssertionError(f"I6: process group {group} is still there")


def left_behind(job: Path) -> list[str]:
    """Return what a job that has ended should not have in its folder."""
    return sorted(one.name for one in job.iterdir() if one.name != "journal.sqlite")


@contextmanager
def serving(folder: Path, seed: int) -> Iterator[str]:
    """Serve the site, with its log in `folder`; yields its address, in the form `127.0.0.{host}:PORT`."""
    command = [sys.executable, str(HERE / "truth_site.py"), str(folder / "server.log"), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.{{host}}:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=20)
    words.add_argument("--pages", type=int, default=2_000)
    words.add_argument("--hosts", type=int, default=20)
    words.add_argument("--engine", action="append", help="more than one: in turn, one a run")
    words.add_argument("--format", default="jsonl")
    words.add_argument("--longest", type=float, default=3.0, help="seconds a run lives at most")
    words.add_argument("--bound", type=int, default=2_000, help="pages fetched again after one kill, at most")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("words", nargs="*", help="more words for cormorant")
    asked = words.parse_args()
    folder, draw = Path(tempfile.mkdtemp(prefix="cormorant-kills-", dir="/var/tmp")), random.Random(asked.seed)
    engines = asked.engine or ["greenlet"]
    output = folder / f"pages.{asked.format}"
    with serving(folder, asked.seed) as address:
        lines = [f"http://{address.format(host=1 + number % asked.hosts)}/{number}" for number in range(asked.pages)]
        (folder / "urls.txt").write_text("".join(f"{line}\n" for line in lines))
        command = ["sh", "-c", 'engine=$(shuf -n 1 -e $ENGINES); exec "$@" -e "$engine"', "sh", sys.executable]
        command += ["-m", "cormorant", "fetch", "-i", "urls.txt", "-o", output.name, "--job", "job", "--quiet"]
        tally = drive(
            [*command, *asked.words],
            folder,
            asked.rounds,
            draw,
            asked.longest,
            env={**os.environ, "ENGINES": " ".join(engines)},
        )
    tally.verdict = check(folder / "urls.txt", folder / "server.log", output, kills=tally.kills, bound=asked.bound)
    tally.left_behind = left_behind(folder / "job")
    print(json.dumps({"folder": str(folder), **dataclasses.asdict(tally), "faults": tally.faults}, indent=2))
    raise SystemExit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
