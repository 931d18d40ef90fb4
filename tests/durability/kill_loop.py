"""Kills the command over and over, lets it end, and has the checker judge what is there.

    python kill_loop.py --rounds 100 [--pages 2000] [--engine greenlet --engine process] [--format warc.gz]
                        [--crawl] [--workers-too] [--signal TERM] [--delay 1] [--rotate 1M]

It serves a small site of its own (a process with a truth log), writes the list, and runs

    cormorant fetch -i urls.txt -o pages.FORMAT --job job -e ENGINE

killing its whole process group by SIGKILL after a random time, until it has been killed `rounds` times or has ended;
then it is run to its end. Each run has the next of the engines. `--workers-too`: of three kills one is of a child
process alone, after which the run has to go on or to say that it lost its engine, and one of the parent alone, after
which the children have to go. `--signal`: no kill, but one signal, after which what is under way is finished. Judged
besides: I9 the job's own counters are those of the output. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from checker import Allowed, check  # noqa: E402 - found beside this file
from killing import CHILD, GROUP, LOG, PARENT, Tally, drive  # noqa: E402
from strangers import parts_of  # noqa: E402
from truth_site import Web  # noqa: E402

ONE_IN = 50  # lines that are no URL, and as many that were listed before
ATTEMPTS = 2
# What is stated in src/cormorant/commits.py, in requests: a page may redirect once, and each hop may be made twice.
REQUESTS_A_PAGE = 2 * ATTEMPTS
PAGES_A_KILL = {"parquet": 20_000, None: 1_000}  # and twice what may be under way
GAP_SLACK_SECONDS = 0.15  # of a gap, as the server sees it: a request is a while on its way, on a busy machine


class Trial:
    """A site, a list, and the command over it, in a folder. Output and job are in `place`, which may be elsewhere."""

    def __init__(self, folder: Path, words: argparse.Namespace, place: Path | None = None) -> None:
        self.folder, self.words, self.place = folder, words, place or folder
        self.output = self.place / output_name(words.format)
        self.web = Web(words.seed, words.pages if words.crawl else 0, words.hosts)
        self.reachable: frozenset[str] | None = None

    @contextmanager
    def served(self) -> Iterator[None]:
        """Serve the site, and write the list, or the seeds of the crawl."""
        with serving(self.folder, self.web) as address:
            urls = [self.web.url(address, number) for number in range(1 if self.words.crawl else self.words.pages)]
            if self.words.crawl:
                urls += [self.web.url(address, 17 % self.words.pages)]
                self.reachable = frozenset(self.web.reachable(urls))
            lines = []
            for number, url in enumerate(urls):
                lines += [f"no url {number}"] * (number % ONE_IN == 1) + [urls[number // 2]] * (number % ONE_IN == 2)
                lines.append(url)
            (self.folder / "urls.txt").write_text("".join(f"{line}\n" for line in lines))
            yield

    def commands(self) -> Iterator[Sequence[str]]:
        """Yield the command, under one engine after the other."""
        words = self.words
        command = [sys.executable, "-m", "cormorant", "crawl" if words.crawl else "fetch", "-i", "urls.txt"]
        command += ["-o", f"{self.place}/{output_name(words.format)}", "--job", f"{self.place}/job", "--quiet"]
        command += ["--retries", str(ATTEMPTS - 1), "--breaker", "0", "-c", str(words.width), "--per-host", "0"]
        command += ["--delay", f"{words.delay}"]
        command += ["--scope", "any"] if words.crawl else []
        command += ["--rotate", words.rotate] if words.rotate else []
        return itertools.cycle([*command, "-e", engine, *words.words] for engine in words.engine or ["greenlet"])

    def go(self, draw: random.Random) -> Tally:
        """Disturb it as often as is wanted, let it end, and judge."""
        words = self.words
        with self.served():
            tally = drive(
                self.commands(),
                self.folder,
                words.rounds,
                draw,
                words.longest,
                shortest=words.shortest,
                starting=words.starting,
                hows=words.hows,
            )
        return self.judged(tally)

    def judged(self, tally: Tally) -> Tally:
        """Judge what stands on the disk after the last run."""
        words = self.words
        tally.left_behind = [*left_behind(self.place / "job"), *strangers_in(self.place, self.output)]
        pages = PAGES_A_KILL.get(words.format, PAGES_A_KILL[None]) + 2 * words.width
        allowed = Allowed(
            kills=tally.kills,
            bound=words.bound or REQUESTS_A_PAGE * pages,
            gap=max(0.0, words.delay - GAP_SLACK_SECONDS),
            tried=ATTEMPTS,
            reachable=self.reachable,
        )
        tally.verdict = check(self.folder / "urls.txt", self.folder / LOG, self.output, allowed)
        tally.verdict.faults += self.miscounted(tally.verdict.records)
        return tally

    def miscounted(self, records: int) -> list[str]:
        """Return what is wrong with the job's own counters (I9)."""
        command = [sys.executable, "-m", "cormorant", "job", f"{self.place}/job", "--json"]
        told = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if told.returncode != 0:
            return [f"I9: {told.stderr}"]
        state = json.loads(told.stdout)
        right = (state["done"], state["left"], state["is_list_read"]) == (records, 0, True)
        return [] if right else [f"I9: of {records} records the job says {told.stdout}"]


def output_name(format: str) -> str:
    return "pages/" if format == "folder" else f"pages.{format}"


def left_behind(job: Path) -> list[str]:
    """Return what a job that has ended should not have in its folder."""
    return sorted(one.name for one in job.iterdir() if one.name != "journal.sqlite")


def strangers_in(folder: Path, output: Path) -> list[str]:
    """Return what lies in the folder of a trial and belongs to none of its parts."""
    known = {"urls.txt", LOG, "stderr.log", "job", "lost+found", ".synced", output.name}
    known |= set() if output.is_dir() else {part.name for part in parts_of(output)}
    return sorted(one.name for one in folder.iterdir() if one.name not in known)


@contextmanager
def serving(folder: Path, web: Web) -> Iterator[str]:
    """Serve the site, with its log in `folder`; yields the address of one of its hosts."""
    command = [sys.executable, str(HERE / "truth_site.py"), str(folder / LOG), str(web.seed)]
    command += ["--linked", str(web.linked), "--hosts", str(web.hosts)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def words_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the words of a trial."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=20)
    words.add_argument("--pages", type=int, default=2_000)
    words.add_argument("--hosts", type=int, default=20)
    words.add_argument("--engine", action="append", help="more than one: in turn, one a run")
    words.add_argument("--format", default="jsonl", help="a suffix without its point, or folder")
    words.add_argument("--crawl", action="store_true", help="from a page to those it links to")
    words.add_argument("--workers-too", action="store_true")
    words.add_argument("--signal", action="append", choices=("TERM", "INT"), default=[])
    words.add_argument("--delay", type=float, default=0.0, help="seconds between two requests to a host")
    words.add_argument("--width", type=int, default=64, help="pages under way at once")
    words.add_argument("--rotate", help="the size of a part")
    words.add_argument("--longest", type=float, default=3.0, help="seconds a run lives at most, from its first request")
    words.add_argument("--shortest", type=float, default=0.0, help="and at least")
    words.add_argument("--starting", type=float, default=0.25, help="the share of runs whose seconds begin with them")
    words.add_argument("--bound", type=int, help="requests that one kill may cost, where it is not the stated bound")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("words", nargs="*", help="more words for cormorant")
    asked = words.parse_args(arguments)
    asked.hows = asked.signal or ([GROUP, PARENT, CHILD] if asked.workers_too else [GROUP])
    return asked


def main() -> None:
    asked = words_of()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored, and children inherit it
    folder = Path(tempfile.mkdtemp(prefix="cormorant-kills-", dir="/var/tmp"))
    tally = Trial(folder, asked).go(random.Random(asked.seed))
    print(json.dumps({"folder": str(folder), **tally.told(folder / LOG)}, indent=2))
    raise SystemExit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
