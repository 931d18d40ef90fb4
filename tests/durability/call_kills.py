"""Disturbs the command at the n-th system call that writes, for every n: kills it there, or has the call fail.

    python call_kills.py [--format warc.gz] [--step 1] [--first 1] [--error EIO] [--calls fsync,fdatasync] [--path NAME]

strace counts for each thread the calls of each name by themselves: so there is a point for each name and each n up to
what the busiest thread makes of it. `--path` counts those alone that are about one file of the output or of the job.
After each the command is run to its end, and the checker judges. With `--error` the call fails instead, and the run has
to say so by exit code 4. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from kill_loop import Trial, words_of  # noqa: E402 - found beside this file
from killing import ENDED, GROUP, KILLED, NOT_WRITTEN, PATIENCE_SECONDS, Run, Tally, one_run  # noqa: E402

STRACE = shutil.which("strace")
CALLS = "write,pwrite64,fsync,fdatasync,syncfs,ftruncate,mkdir,rename,unlink"
SMALL = ("--pages", "20", "--hosts", "4", "--delay", "0.3")  # five pages a host: long enough for two commits
Point = tuple[str, int]  # the name of a call, and which of them


@dataclasses.dataclass
class Disturbed:
    """What came of all of them."""

    points: int = 0
    runs: int = 0
    disturbed: int = 0
    fetched_again: int = 0
    most_fetched_again: int = 0
    exit_codes: dict[str, int] = dataclasses.field(default_factory=dict)
    faults: list[str] = dataclasses.field(default_factory=list)


class Calls:
    """Runs a trial under strace, in folders below `folder`."""

    def __init__(self, folder: Path, words: argparse.Namespace, calls: str = CALLS, path: str | None = None) -> None:
        self.folder, self.words, self.calls, self.path = folder, words, calls, path
        self.is_tidy = False

    def trial(self, name: str) -> Trial:
        """Make the folder of a trial."""
        folder = self.folder / name
        folder.mkdir()
        return Trial(folder, self.words)

    def traced(self, trial: Trial, inject: Sequence[str]) -> Run:
        """Run the command once under strace, with these words of it besides."""
        command = [str(STRACE), "-f", "-qq", "-o", str(trial.folder / "strace.log")]
        command += ["-e", f"trace={self.calls}"]
        if self.path is not None:
            command += [word for one in paths(trial, self.path) for word in ("-P", one)]
        run = one_run([*command, *inject, *next(trial.commands())], trial.folder, PATIENCE_SECONDS)
        assert run.code is not None, "it hangs"
        return run

    def points(self) -> list[Point]:
        """Return where a run that nobody disturbs can be disturbed: by the calls of the busiest thread."""
        trial = self.trial("counted")
        with trial.served():
            assert self.traced(trial, []).code == 1  # some pages are missing
        found = points_in((trial.folder / "strace.log").read_text())
        shutil.rmtree(trial.folder)
        return found

    def disturb(self, point: Point, inject: str) -> Tally:
        """Disturb a run at a point, then let the next one end; returns both, judged."""
        name, number = point
        trial = self.trial(f"{name}-{number}")
        with trial.served():
            tally = Tally([self.traced(trial, ["-e", f"inject={name}:{inject}:when={number}"])])
            tally.runs[0].how = GROUP  # as far as the bound goes
            if tally.runs[0].code not in (0, 1):
                tally.runs.append(one_run(next(trial.commands()), trial.folder, PATIENCE_SECONDS))
        (trial.folder / "strace.log").unlink()
        trial.judged(tally)
        if not tally.faults and self.is_tidy:
            shutil.rmtree(trial.folder)
        return tally


def points_in(log: str) -> list[Point]:
    """Return the points of a run by its log: as many of each call as one thread makes of it at most."""
    made = collections.Counter(re.findall(r"^(\d+) +(\w+)\(", log, re.MULTILINE))
    most: dict[str, int] = {}
    for (_, name), count in made.items():
        most[name] = max(count, most.get(name, 0))
    return [(name, number) for name, count in sorted(most.items()) for number in range(1, count + 1)]


def paths(trial: Trial, name: str) -> list[str]:
    """Return how strace may meet a file of the output or of the job."""
    return [f"{folder}/{name}" for folder in (trial.place, trial.output, trial.place / "job")]


def every(calls: Calls, points: Sequence[Point], inject: str, expected: Sequence[int], at_once: int = 1) -> Disturbed:
    """Disturb at each of `points`, so many at once; a run that was has one of the `expected` exit codes."""
    found = Disturbed(points=len(points))
    with ThreadPoolExecutor(at_once) as pool:
        for point, tally in zip(points, pool.map(lambda point: calls.disturb(point, inject), points), strict=True):
            assert tally.verdict is not None
            code = tally.runs[0].code
            found.exit_codes[str(code)] = found.exit_codes.get(str(code), 0) + 1
            found.runs += len(tally.runs)
            found.disturbed += len(tally.runs) > 1
            found.fetched_again += tally.verdict.fetched_again
            found.most_fetched_again = max(found.most_fetched_again, tally.verdict.fetched_again)
            faults = [*tally.faults, *([] if code in (*expected, *ENDED) else [f"I5: exit code {code}"])]
            found.faults += [f"{point}: {fault}" for fault in faults]
    return found


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--step", type=int, default=1)
    words.add_argument("--first", type=int, default=1)
    words.add_argument("--calls", default=CALLS)
    words.add_argument("--path", help="the name of a file: pages.jsonl, journal.sqlite-wal")
    words.add_argument("--at-once", type=int, default=1, help="how many runs beside each other")
    words.add_argument("--error", help="have the call fail by this: EIO, ENOSPC")
    asked, rest = words.parse_known_args()
    folder = Path(tempfile.mkdtemp(prefix="cormorant-calls-", dir="/var/tmp"))
    calls = Calls(folder, words_of([*SMALL, *rest]), asked.calls, asked.path)
    calls.is_tidy = True
    inject, expected = (f"error={asked.error}", [NOT_WRITTEN]) if asked.error else ("signal=KILL", KILLED)
    found = every(calls, calls.points()[asked.first - 1 :: asked.step], inject, expected, asked.at_once)
    print(json.dumps({"folder": str(folder), **dataclasses.asdict(found)}, indent=2))
    raise SystemExit(1 if found.faults else 0)


if __name__ == "__main__":
    main()
