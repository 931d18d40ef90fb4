"""Crawling with link extraction, beside Scrapy on the same site in the same minute.

    python benchmarks/crawl.py [--copies 10] [--rounds 5] [--scrapy PYTHON] [--save]

The site is the book shop (`bookshop.py`), ten times over: 2,001 pages of some 20 KB, served by nginx (Debian:
nginx-light) on loopback. Every contestant extracts all links of every page, follows those to books, and keeps none of
it; each runs in a fresh process pinned to one core (the site has the other). `--scrapy` names a Python that has Scrapy
(`pip install scrapy` in an environment of its own); without it cormorant runs alone.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bookshop import write
from run import HERE, machine, nginx_in

ENGINES = ("greenlet", "gevent", "asyncio")


def measure(python: str, *words: str) -> dict[str, float]:
    pin = ["taskset", "-c", "1"] if shutil.which("taskset") else []
    done = subprocess.run([*pin, python, *words], capture_output=True, text=True, check=False, cwd=HERE)
    assert done.returncode == 0, done.stderr
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    figures["pages_per_second"] = figures["pages"] / figures["wall_seconds"]
    figures["cpu_microseconds_per_page"] = figures["cpu_seconds"] / figures["pages"] * 1e6
    return figures


def spread(values: list[float]) -> list[float]:
    return [round(value, 3) for value in (min(values), statistics.median(values), max(values))]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--copies", type=int, default=10)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--scrapy", help="a Python that has Scrapy")
    words.add_argument("--save", action="store_true", help="write benchmarks/results/crawl-DATE.json")
    asked = words.parse_args()
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert program, "needs nginx (Debian: nginx-light)"
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), asked.copies)
        with nginx_in(folder, program, "location / {}") as site:
            contests = {engine: (sys.executable, "crawl_shop.py", engine, f"{site}/", "64") for engine in ENGINES}
            if asked.scrapy:
                contests["scrapy"] = (asked.scrapy, "peer_scrapy.py", f"{site}/", "64")
            taken: dict[str, list[dict[str, float]]] = {name: [] for name in contests}
            for number in range(asked.rounds + 1):  # the first warms caches up and is dropped
                for name, command in contests.items():
                    figures = measure(*command)
                    assert figures["pages"] == len(paths), (name, figures, len(paths))
                    if number:
                        taken[name].append(figures)
    keys = ("pages_per_second", "cpu_microseconds_per_page")
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load": {"pages": len(paths), "concurrency": 64, "rounds": asked.rounds},
        "min_median_max": {
            name: {key: spread([one[key] for one in all_]) for key in keys} for name, all_ in taken.items()
        },
    }
    if asked.scrapy:
        version = [asked.scrapy, "-c", "import scrapy, lxml.etree as e; print(scrapy.__version__, e.__version__)"]
        result["scrapy_and_lxml"] = subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip()
        result["times_scrapy"] = {
            name: spread([a[keys[0]] / b[keys[0]] for a, b in zip(all_, taken["scrapy"], strict=True)])
            for name, all_ in taken.items()
        }
    print(json.dumps(result, indent=2))
    if asked.save:
        place = HERE / "results" / f"crawl-{datetime.date.today()}.json"
        place.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
