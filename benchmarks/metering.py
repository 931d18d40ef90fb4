"""What the lab's meters cost: the same pages with and without the observer, in pairs of fresh processes.

    python benchmarks/metering.py [--pairs 10] [--pages 20000] [--save]

The order within a pair alternates, so that a drift of the machine's speed hits both sides alike; medians of the
pairs' ratios are quoted.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import statistics
import sys

from run import HERE, embedded_site, machine, measure, nginx

ENGINES = ("greenlet", "asyncio", "thread")


def pairs(engine: str, url: str, many: int, pages: int) -> list[dict[str, dict[str, object]]]:
    taken = []
    for number in range(many + 1):  # the first warms caches up and is dropped
        sides = ["without", "with"] if number % 2 else ["with", "without"]
        words = ("fetch_10k.py", engine, url, str(pages), "64", "0")
        figures = {side: measure(*words, *(["metered"] if side == "with" else [])) for side in sides}
        if number:
            taken.append(figures)
    return taken


def ratio(taken: list[dict[str, dict[str, object]]], measure: str) -> dict[str, float]:
    def values(side: str) -> list[float]:
        return [float(str(pair[side][measure])) for pair in taken]

    ratios = [metered / plain for metered, plain in zip(values("with"), values("without"), strict=True)]
    return {
        "without": statistics.median(values("without")),
        "with": statistics.median(values("with")),
        "ratio_median": round(statistics.median(ratios), 4),
        "ratio_min": round(min(ratios), 4),
        "ratio_max": round(max(ratios), 4),
    }


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--pairs", type=int, default=10)
    words.add_argument("--pages", type=int, default=20_000)
    words.add_argument("--save", action="store_true", help="write benchmarks/results/metering-DATE.json")
    asked = words.parse_args()
    where, program = machine(), shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    with nginx(program) if program else embedded_site() as url:
        taken = {engine: pairs(engine, url, asked.pairs, asked.pages) for engine in ENGINES}
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "origin": "nginx" if program else "embedded site",
        "machine": where,
        "load": {"pages": asked.pages, "concurrency": 64, "pairs": asked.pairs},
        "pages_per_second": {engine: ratio(both, "pages_per_second") for engine, both in taken.items()},
        "cpu_microseconds_per_page": {
            engine: ratio(both, "cpu_microseconds_per_page") for engine, both in taken.items()
        },
    }
    print(json.dumps(result, indent=2))
    if asked.save:
        place = HERE / "results" / f"metering-{datetime.date.today()}.json"
        place.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
