"""What the watchdog costs: CPU per page with `watchdog=0.1` beside the same run without, in pairs of fresh processes.

    python benchmarks/watchdog.py [--pairs 10] [--pages 40000] [--save]

The order within a pair alternates, so that a drift of the machine's speed hits both sides alike; the median of the
pairs' ratios is quoted.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import statistics
import sys

from run import HERE, embedded_site, machine, measure, nginx

ENGINES = ("greenlet", "gevent", "asyncio")
LIMIT_SECONDS = "0.1"


def cpu(engine: str, url: str, pages: int, *watchdog: str) -> float:
    return float(str(measure("fetch_10k.py", engine, url, str(pages), "64", *watchdog)["cpu_microseconds_per_page"]))


def pairs(engine: str, url: str, many: int, pages: int) -> list[tuple[float, float]]:
    taken = []
    for number in range(many + 1):  # the first warms caches up and is dropped
        sides: list[tuple[str, ...]] = [(), (LIMIT_SECONDS,)]
        if number % 2:
            sides.reverse()
        figures = {side: cpu(engine, url, pages, *side) for side in sides}
        if number:
            taken.append((figures[()], figures[LIMIT_SECONDS,]))
    return taken


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--pairs", type=int, default=10)
    words.add_argument("--pages", type=int, default=40_000)
    words.add_argument("--save", action="store_true", help="write benchmarks/results/watchdog-DATE.json")
    asked = words.parse_args()
    where, program = machine(), shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    with nginx(program) if program else embedded_site() as url:
        taken = {engine: pairs(engine, url, asked.pairs, asked.pages) for engine in ENGINES}
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "origin": "nginx" if program else "embedded site",
        "machine": where,
        "load": {"pages": asked.pages, "concurrency": 64, "watchdog_seconds": float(LIMIT_SECONDS)},
        "cpu_microseconds_per_page": {
            engine: {
                "without": statistics.median(without for without, _ in both),
                "with": statistics.median(watched for _, watched in both),
                "ratio_median": round(statistics.median(watched / without for without, watched in both), 4),
                "ratios": [round(watched / without, 4) for without, watched in both],
            }
            for engine, both in taken.items()
        },
    }
    print(json.dumps(result, indent=2))
    if asked.save:
        place = HERE / "results" / f"watchdog-{datetime.date.today()}.json"
        place.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
