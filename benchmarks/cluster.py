"""What Ray costs beside local processes: pages a second, CPU a page, start-up, memory; in fresh processes, in turn.

    python benchmarks/cluster.py [--rounds 3] [--pages 20000] [--save]

The origin, the pages and the two ways out (`caller`: handed to the caller; `parts`: written by the workers as JSON
Lines) are those of `fleet.py`. Ray is started here, anew for each measurement (`--cluster local`). A rate is taken
between the first page that the driver knows to be done and the last: so start-up is not in it, and stands beside it
(`seconds_to_first`, import of Ray included). `ray_cpu_share` is what Ray's own processes take meanwhile, of a core;
`pss_mb` is the memory of all processes at the end, shared pages divided.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
from run import HERE, machine, measure, nginx

from fleet import CONCURRENCY, HOSTS, urls

LOOK_SECONDS = 0.01
WAYS = ("caller", "parts")
PLACES = ("processes", "ray")


@dataclasses.dataclass
class Sight:
    """What was used until an instant: CPU seconds by who used it."""

    at: float
    done: int
    driver: float
    workers: float
    ray: float

    @classmethod
    def of(cls, fleet: Any, done: int) -> Sight:
        """Look now."""
        return cls(time.perf_counter(), done, time.process_time(), fleet.cpu_seconds, _ray_seconds())


def _ray_seconds() -> float:
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            name = process.cmdline()[:1]
            if name and ("/ray/" in name[0] or (name[0].startswith("ray::") and "Seat" not in name[0])):
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.Error:
            continue  # it has ended meanwhile
    return total


def _memory() -> float:
    total = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return round(total / 1e6)


class Watch:
    """Looks on in a thread: what had been used at the first page, and at the last."""

    def __init__(self, fleet: Any, pages: int) -> None:
        self._fleet, self._pages = fleet, pages
        self.first: Sight | None = None
        self.last: Sight | None = None
        self.memory = 0.0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while self.last is None:
            done = self._fleet.statistics().done
            if done and self.first is None:
                self.first = Sight.of(self._fleet, done)
            if done == self._pages:
                self.last = Sight.of(self._fleet, done)
                self.memory = _memory()
            time.sleep(LOOK_SECONDS)

    def figures(self, began: float) -> dict[str, Any]:
        """Return what a page cost, once all are done."""
        self._thread.join()
        first, last = self.first, self.last
        assert first is not None
        assert last is not None
        pages, seconds = last.done - first.done, last.at - first.at
        return {
            "seconds_to_first": round(first.at - began, 2),
            "pages_per_second": round(pages / seconds),
            "worker_microseconds_per_page": round((last.workers - first.workers) / pages * 1e6, 1),
            "driver_microseconds_per_page": round((last.driver - first.driver) / pages * 1e6, 1),
            "ray_cpu_share": round((last.ray - first.ray) / seconds, 3),
            "pss_mb": self.memory,
        }


def one(base: str, place: str, workers: int, way: str, pages: int) -> dict[str, Any]:
    """Run one contestant in this process, and return its figures."""
    from cormorant.api import _fetch_worker, _Out
    from cormorant.fleet.wanted import Wanted

    wanted = Wanted(workers=workers, cluster="local" if place == "ray" else None)
    options = {"concurrency": CONCURRENCY, "per_host": 0}
    with tempfile.TemporaryDirectory() as folder:
        out = _Out(os.path.join(folder, "pages.jsonl") if way == "parts" else None, None, False)
        fleet: Any = _fetch_worker(urls(base, pages), None, out, None, None, options, wanted)
        if way == "parts":
            fleet._plan = dataclasses.replace(fleet._plan, streams=False)  # as the command line does
        began = time.perf_counter()
        watch = Watch(fleet, pages)
        for _ in fleet.run():
            pass
        whole = time.perf_counter() - began
        assert fleet.statistics().ok == pages
        return watch.figures(began) | {"seconds_in_all": round(whole, 2)}


def contestants() -> Iterator[tuple[str, str, str]]:
    for way in WAYS:
        for workers in ("1", "2"):
            for place in PLACES:
                yield place, workers, way


def rounds(base: str, many: int, pages: int) -> dict[str, list[dict[str, Any]]]:
    taken: dict[str, list[dict[str, Any]]] = {}
    for _ in range(many):
        for place, workers, way in contestants():
            figures = measure("cluster.py", "--one", base, place, workers, way, str(pages))
            taken.setdefault(f"{place} {workers} {way}", []).append(figures)
    return taken


def medians(taken: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return {
        who: {name: statistics.median(figures[name] for figures in all_figures) for name in all_figures[0]}
        for who, all_figures in taken.items()
    }


def beside_processes(taken: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return Ray's rate against that of processes, round by round: median, least, most."""
    found = {}
    for way in WAYS:
        for workers in ("1", "2"):
            pairs = zip(taken[f"ray {workers} {way}"], taken[f"processes {workers} {way}"], strict=True)
            ratios = sorted(ray["pages_per_second"] / local["pages_per_second"] for ray, local in pairs)
            found[f"{workers} {way}"] = [round(one, 2) for one in (statistics.median(ratios), ratios[0], ratios[-1])]
    return found


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        base, place, workers, way, pages = sys.argv[2:]
        print(json.dumps(one(base, place, int(workers), way, int(pages))))
        return
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--pages", type=int, default=20_000)
    words.add_argument("--save", action="store_true", help="write benchmarks/results/cluster-DATE.json")
    asked = words.parse_args()
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert program is not None, "nginx is wanted as the origin"
    where = machine()
    with nginx(program) as base:
        taken = rounds(base, asked.rounds, asked.pages)
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": where,
        "load": {"pages": asked.pages, "hosts": HOSTS, "concurrency": CONCURRENCY},
        "ray_rate_beside_processes": beside_processes(taken),
        "medians": medians(taken),
        "rounds": taken,
        "load_after": os.getloadavg(),
    }
    print(json.dumps({name: value for name, value in result.items() if name != "rounds"}, indent=2))
    if asked.save:
        place = HERE / "results" / f"cluster-{datetime.date.today()}.json"
        place.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
