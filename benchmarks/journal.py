"""What a job's journal costs: a commit in CPU a page, a URL in bytes on disk and in memory, going on in seconds.

    python benchmarks/journal.py [--urls 1000000,10000000] [--save]

No network. Every measurement runs in a fresh process, on files in $TMPDIR (/var/tmp). A page's cost is all that the
journal adds to it: settling it, its share of a commit (by default 1,000 pages), and `fsync`; `commit_longest_ms` is
the longest time the loop stood still for one. `rss` is the growth of the resident set, divided. Making URLs and
requests is not counted. Resuming is measured with the file in the kernel's cache.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from run import HERE, machine

from cormorant import urls
from cormorant.frontier.job_state import read_state
from cormorant.frontier.job_store import FILE, Store
from cormorant.frontier.journal import Journal
from cormorant.interfaces import Committed, Part
from cormorant.messages import Found, Page, Request

BATCH = 10_000
LOOK_AHEAD = 10_000
HEADERS = (("User-Agent", "cormorant/0.1 (+https://example.org/bot)"), ("Accept", "*/*"))
HOSTS = 997
LINKS = 10  # new ones a page of a crawl leads to


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--urls", default="1000000")
    words.add_argument("--save", action="store_true", help="write benchmarks/results/journal-DATE.json")
    words.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.measure:
        name, what, size, folder = asked.measure
        print(json.dumps(MEASUREMENTS[name][what == "resume"](int(size), Path(folder))))
        return
    where = machine()
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": where,
        "measurements": {
            f"{int(size):,} URLs": {name: both(name, int(size)) for name in measured(int(size))}
            for size in asked.urls.split(",")
        },
    }
    print(json.dumps(result, indent=2))
    if asked.save:
        place = HERE / "results" / f"journal-{datetime.date.today()}.json"
        place.write_text(json.dumps(result, indent=2) + "\n")


def measured(size: int) -> list[str]:
    """Name what is measured at a size: beyond a million only what grows fastest, for it takes minutes."""
    return list(MEASUREMENTS) if size <= 1_000_000 else ["a_crawl"]


def both(name: str, size: int) -> dict[str, object]:
    """Measure a run, and in another process how it goes on."""
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        for what in ("run", "resume"):
            command = [sys.executable, str(HERE / "journal.py"), "--measure", name, what, str(size), folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            figures |= json.loads(done.stdout)
    return figures


def url(number: int) -> str:
    return f"https://www.h{number % HOSTS}.example/shop/articles/{number}?page={number % 7}"


class Watched:
    """A journal whose calls are timed, in CPU and by the clock."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.before = resident()
        self.journal = Journal(self.store, HEADERS, 30.0)
        self.cpu = self.adding = self.commits = 0.0
        self.longest = 0.0
        self.count = 0
        self.bytes = 0

    def add(self, requests: list[Request]) -> None:
        """Offer requests as a scheduler does."""
        began = time.process_time()
        for request in requests:
            if self.journal.is_new(request.url):
                self.journal.add(urls.origin(request.url), request)
        self.adding += time.process_time() - began

    def end(self, pages: int, hosts: Iterator[str]) -> None:
        """Take so many and settle them."""
        began = time.process_time()
        for _ in range(pages):
            request = self.journal.take(next(hosts))
            self.journal.settle(request, Page(url=request.url, status=200))
        self.cpu += time.process_time() - began

    def commit(self, pages: int, position: int) -> None:
        """Commit what has ended, with counters as a worker has them."""
        self.bytes += 10_000 * pages
        committed = Committed((Part("pages.jsonl", self.bytes, False),))
        counters = {"outcomes": {"ok": position, "failed": {"timeout": 3}}, "scheduler": {"offered": position}}
        cpu, began = time.process_time(), time.perf_counter()
        self.journal.commit(pages, committed, {"source": 0, "line": position}, counters)
        self.commits += time.process_time() - cpu
        self.longest = max(self.longest, time.perf_counter() - began)
        self.count += 1

    def figures(self, size: int, pages: int) -> dict[str, float]:
        """Close the journal; return what it cost."""
        grown = resident() - self.before
        self.store.close()
        return {
            "add_cpu_us_per_url": round(self.adding / size * 1e6, 2),
            "take_and_settle_cpu_us_per_page": round(self.cpu / pages * 1e6, 2),
            "commit_cpu_us_per_page": round(self.commits / pages * 1e6, 2),
            "commit_mean_ms": round(self.commits / self.count * 1e3, 2),
            "commit_longest_ms": round(self.longest * 1e3, 1),
            "commits": self.count,
            "disk_bytes_per_url": round((self.store.path.parent / FILE).stat().st_size / size, 1),
            "rss_bytes_per_url": round(grown / size, 2),
        }


def a_list(size: int, folder: Path, every: int = 1_000) -> dict[str, float]:
    """Fetch a list as it stands: 10,000 lines ahead are waiting, a commit every 1,000 pages."""
    watched, hosts = Watched(folder), in_turn()
    for begin in range(0, size, every):
        watched.add([request(number) for number in range(begin, min(begin + every, size))])
        ready = begin >= LOOK_AHEAD
        if ready:
            watched.end(every, hosts)
        watched.commit(every if ready else 0, begin)
    return watched.figures(size, watched_pages(size, every))


def watched_pages(size: int, every: int) -> int:
    return max(0, size - LOOK_AHEAD) // every * every


def a_list_committed_often(size: int, folder: Path) -> dict[str, float]:
    """Commit every 100 pages, a fetch that goes slowly."""
    return a_list(size, folder, 100)


def a_crawl(size: int, folder: Path) -> dict[str, float]:
    """Find ten new URLs on each page: one of ten is fetched, the others wait."""
    watched, hosts, pages = Watched(folder), in_turn(), 1_000
    for begin in range(0, size, pages * LINKS):
        watched.add([request(number, True) for number in range(begin, min(begin + pages * LINKS, size))])
        watched.end(pages, hosts)
        watched.commit(pages, begin)
    return watched.figures(size, size // LINKS)


def in_turn() -> Iterator[str]:
    number = 0
    while True:
        yield urls.origin(url(number))
        number += 1


def request(number: int, is_found: bool = False) -> Request:
    text = url(number)
    found = None
    if is_found:
        source = f"https://www.h{number % HOSTS}.example/shop/list/{number // LINKS}"
        found = Found(depth=number % 3, source=source, text=f"Article {number}")
    line = None if is_found else number + 1
    return Request(url=text, target=text, input=text, line=line, headers=HEADERS, found=found)


def resume(size: int, folder: Path) -> dict[str, float]:
    """Open what a run has left, and look at its state."""
    before, began, cpu = resident(), time.perf_counter(), time.process_time()
    store = Store(folder)
    journal = Journal(store, HEADERS, 30.0)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    grown = resident() - before
    began = time.perf_counter()
    state = read_state(store)
    assert state.left == journal.left == len(journal)
    assert len(journal._seen) == state.left + state.done
    return {
        "resume_seconds": round(seconds, 2),
        "resume_cpu_seconds": round(cpu_seconds, 2),
        "resume_rss_bytes_per_url": round(grown / len(journal._seen), 2),
        "waiting_at_resume": len(journal),
        "state_seconds": round(time.perf_counter() - began, 2),
    }


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


MEASUREMENTS = {
    "a_list": (a_list, resume),
    "a_list_committed_often": (a_list_committed_often, resume),
    "a_crawl": (a_crawl, resume),
}

if __name__ == "__main__":
    main()
