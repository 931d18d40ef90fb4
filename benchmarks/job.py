"""What `--job` adds to a page: the same command with and without it, in turn, each in a fresh process.

    python benchmarks/job.py [--pages 20000] [--rounds 5] [--formats jsonl,warc.gz] [--save]

The whole command is measured (start-up too): CPU of the process, pages a second, and with a job the bytes of its
journal for a page. Origin, pages and widths are those of `run.py`; files lie in /var/tmp, whose disk has to sync.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import HERE, embedded_site, machine, nginx

Figures = dict[str, float]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--pages", type=int, default=20_000)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--engine", default="greenlet")
    words.add_argument("--formats", default="jsonl,warc.gz")
    words.add_argument("--save", action="store_true", help="write benchmarks/results/job-DATE.json")
    asked = words.parse_args()
    where, program = machine(), shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    with nginx(program) if program else embedded_site() as url, tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        urls = Path(folder) / "urls.txt"
        urls.write_text("".join(f"{url}?{number}\n" for number in range(asked.pages)))
        compared = {
            suffix: summary([pair(urls, suffix, asked.engine, asked.pages) for _ in range(asked.rounds + 1)][1:])
            for suffix in asked.formats.split(",")
        }
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "origin": "nginx" if program else "embedded site",
        "machine": where,
        "load": {"pages": asked.pages, "engine": asked.engine, "rounds": asked.rounds},
        "min_median_max": compared,
    }
    print(json.dumps(result, indent=2))
    if asked.save:
        (HERE / "results" / f"job-{datetime.date.today()}.json").write_text(json.dumps(result, indent=2) + "\n")


def pair(urls: Path, suffix: str, engine: str, pages: int) -> tuple[Figures, Figures]:
    """Run the command without a job, and with one."""
    with tempfile.TemporaryDirectory(dir=urls.parent) as folder:
        plain = ["fetch", "-i", str(urls), "-e", engine, "--per-host", "0", "-q", "-o"]
        without = figures([*plain, f"{folder}/plain.{suffix}"], pages)
        kept = figures([*plain, f"{folder}/kept.{suffix}", "--job", f"{folder}/job"], pages)
        kept["journal_bytes_per_page"] = os.path.getsize(f"{folder}/job/journal.sqlite") / pages
    return without, kept


def figures(words: list[str], pages: int) -> Figures:
    """Run `cormorant` with these words; return what it cost for a page."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "cormorant", *words], check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_microseconds_per_page": cpu / pages * 1e6, "pages_per_second": pages / wall}


def summary(pairs: list[tuple[Figures, Figures]]) -> dict[str, object]:
    """Return minimum, median and maximum of the figures, and of what the job adds within a pair."""
    cpu = "cpu_microseconds_per_page"
    return {
        "without": {name: spread([one[name] for one, _ in pairs]) for name in pairs[0][0]},
        "with_job": {name: spread([other[name] for _, other in pairs]) for name in pairs[0][1]},
        "added_cpu_microseconds_per_page": spread([other[cpu] - one[cpu] for one, other in pairs]),
        "ratio_of_cpu": spread([other[cpu] / one[cpu] for one, other in pairs]),
    }


def spread(values: list[float]) -> list[float]:
    return [round(value, 3) for value in (min(values), statistics.median(values), max(values))]


if __name__ == "__main__":
    main()
