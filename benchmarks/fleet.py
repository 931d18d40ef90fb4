"""What workers bring, and cost: pages a second and CPU a page with 0 (no fleet), 1 and 2 workers, in fresh processes.

    python benchmarks/fleet.py [--rounds 3] [--pages 20000] [--save]

10 KB pages of 128 hosts, 64 in flight a worker, plain and with a parse function that computes for five milliseconds;
outcomes handed to the caller (`caller`), or written by the workers as JSON Lines (`parts`). Everything from the first
URL to the last outcome counts, with the start of the workers. `pinned`: one worker on one core, the origin on another.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from run import HERE, machine, measure, nginx

HOSTS = 128  # by their hash 66 are of one worker, 62 of the other: nobody can be faster than 1.94 times
CONCURRENCY = 64
STEPS = 750  # over a digest, in a loop of Python: about five milliseconds, as a parser takes for a page of 100 KB


def heavy(page: Any) -> str:
    """Compute for about five milliseconds, holding the interpreter: what a parser in Python does."""
    digest = hashlib.blake2b(page.body).digest()
    total = 0
    for number in range(STEPS):
        for byte in digest:
            total = (total * 31 + byte + number) % 1_000_003
    return f"{total:x}"


def urls(base: str, pages: int) -> list[str]:
    port = base.split(":")[2]
    return [f"http://h{number % HOSTS}.localhost:{port}?{number}" for number in range(pages)]


def one(base: str, workers: int, way: str, parse: str, pages: int) -> dict[str, Any]:
    """Run one contestant in this process, and return its figures."""
    from cormorant.fleet.launch import open_fleet
    from cormorant.fleet.wanted import Output, Wanted
    from cormorant.frontier.job_lists import Position
    from cormorant.listed import Listed
    from cormorant.opening import open_fetch
    from cormorant.options import Options
    from cormorant.sinks import open_sink

    function = heavy if parse == "heavy" else None
    options = {"concurrency": CONCURRENCY, "per_host": 0}
    entries = Listed(urls(base, pages), Position())
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "pages.jsonl") if way == "parts" else None
        began, cpu_before = time.perf_counter(), _cpu()
        run: Any
        if workers:
            wanted, output = Wanted(workers=workers), Output(target=target)
            run = open_fleet(entries, options, wanted, output, is_crawl=False, parse=function, streams=target is None)
        else:
            run = open_fetch(entries, Options.of(options), function, None if target is None else open_sink(target))
        first: float | None = None
        for _ in run.run():
            first = first or time.perf_counter()
        ended = time.perf_counter()
        books = run.statistics()
    assert books.ok == pages, f"{pages - books.ok} of {pages} failed"
    here = _cpu() - cpu_before
    elsewhere = run.cpu_seconds if workers else 0.0
    return {
        "seconds": round(ended - began, 3),
        "seconds_to_first": None if first is None else round(first - began, 3),
        "pages_per_second": round(pages / (ended - began)),
        "cpu_microseconds_per_page": round((here + elsewhere) / pages * 1e6, 1),
        "driver_microseconds_per_page": round(here / pages * 1e6, 1) if workers else None,
    }


def _cpu() -> float:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def contestants() -> Iterator[tuple[str, str, str]]:
    for parse in ("plain", "heavy"):
        for way in ("caller", "parts"):
            for workers in ("0", "1", "2"):
                yield workers, way, parse


def rounds(base: str, many: int, pages: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    taken: dict[str, list[dict[str, Any]]] = {}
    for _ in range(many):
        for workers, way, parse in contestants():
            figures = measure("fleet.py", "--one", base, workers, way, parse, str(pages[parse]))
            taken.setdefault(f"{parse} {way} {workers}", []).append(figures)
    return taken


def pinned(program: str, many: int, pages: int) -> list[dict[str, Any]]:
    """Measure one worker on core 0 while the origin has core 1: `taskset` of the children of each."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return []
    os.sched_setaffinity(0, {cores[1]})
    try:
        with nginx(program) as base:
            os.sched_setaffinity(0, {cores[0]})
            return [measure("fleet.py", "--one", base, "0", "caller", "plain", str(pages)) for _ in range(many)]
    finally:
        os.sched_setaffinity(0, set(cores))


def summary(taken: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    names = ("pages_per_second", "cpu_microseconds_per_page", "driver_microseconds_per_page", "seconds_to_first")
    return {
        who: {
            name: statistics.median(found)
            for name in names
            if (found := [figures[name] for figures in all_figures if figures[name] is not None])
        }
        for who, all_figures in taken.items()
    }


def speed_up(taken: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return two workers against one, round by round."""
    found = {}
    for parse in ("plain", "heavy"):
        for way in ("caller", "parts"):
            pairs = zip(taken[f"{parse} {way} 2"], taken[f"{parse} {way} 1"], strict=True)
            ratios = [two["pages_per_second"] / alone["pages_per_second"] for two, alone in pairs]
            found[f"{parse} {way}"] = {
                "median": round(statistics.median(ratios), 2),
                "least": round(min(ratios), 2),
                "most": round(max(ratios), 2),
            }
    return found


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        base, workers, way, parse, pages = sys.argv[2:]
        print(json.dumps(one(base, int(workers), way, parse, int(pages))))
        return
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--pages", type=int, default=20_000)
    words.add_argument("--heavy-pages", type=int, default=2_500)
    words.add_argument("--save", action="store_true", help="write benchmarks/results/fleet-DATE.json")
    asked = words.parse_args()
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert program is not None, "nginx is wanted as the origin"
    where = machine()
    with nginx(program) as base:
        taken = rounds(base, asked.rounds, {"plain": asked.pages, "heavy": asked.heavy_pages})
    alone = pinned(program, asked.rounds, asked.pages)
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": where,
        "load": {"pages": asked.pages, "heavy_pages": asked.heavy_pages, "hosts": HOSTS, "concurrency": CONCURRENCY},
        "two_workers_against_one": speed_up(taken),
        "medians": summary(taken | {"plain caller 0, origin on its own core": alone}),
        "rounds": taken,
        "load_after": os.getloadavg(),
    }
    print(json.dumps({name: value for name, value in result.items() if name != "rounds"}, indent=2))
    if asked.save:
        place = HERE / "results" / f"fleet-{datetime.date.today()}.json"
        place.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
