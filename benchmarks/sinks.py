"""What a page costs in each sink: CPU, bytes on disk, and the longest time that `write` and `flush` held the caller.

    python benchmarks/sinks.py [--pages 20000] [--folder /tmp] [--save]

No network. Every measurement runs in a fresh process and writes to a new folder. `cpu_microseconds_per_page` is that of
the whole process (threads of compression with it) from the first `write` to the end of `close`; the pages are
made before. They are HTML of 10 KB, each different, of words (JSON Lines of them shrink by gzip to about a third).
`caller_cpu` is that of the thread that writes, the loop's own. The longest stalls are of pages of 1 MB, one every
30 ms and a flush after every fourth; a sink that is given pages faster than it can write them makes its caller wait
(`longest_write`, of pages of 10 KB without a pause). `sync` is measured on its own: it waits for the disk.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from run import HERE, PAGE_BYTES, machine, measure

from cormorant.messages import Page, Timings
from cormorant.sinks import open_sink

TARGETS = (
    *("x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.csv", "x.csv.gz", "x.warc", "x.warc.gz", "x.warc.zst"),
    *("x.parquet", "x.sqlite", "x/"),
)
PACKAGES = ("isal", "pyarrow", "fastwarc", "backports.zstd")
BIG_PAGES, BIG_BYTES = 200, 1024 * 1024
PAGES_A_SYNC = 500
PAUSE_SECONDS = 0.03
HEADERS = (
    ("Server", "nginx/1.29"),
    ("Date", "Wed, 25 Nov 2026 12:00:00 GMT"),
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Encoding", "gzip"),
    ("Content-Length", "3210"),
    ("ETag", '"6565-0"'),
)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--pages", type=int, default=20_000)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--folder", default=tempfile.gettempdir(), help="on the disk to be measured")
    words.add_argument("--save", action="store_true", help="write benchmarks/results/sinks-DATE.json")
    words.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.measure:
        print(json.dumps(measurement(asked.measure[0], int(asked.measure[1]), asked.measure[2])))
        return
    where = machine()
    rounds = [
        {target: measure("sinks.py", "--measure", target, str(asked.pages), asked.folder) for target in TARGETS}
        for _ in range(asked.rounds)
    ]
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": where | {"sink_packages": {name: version(name) for name in PACKAGES}},
        "load": {"pages": asked.pages, "page_bytes": PAGE_BYTES, "rounds": asked.rounds, "folder": asked.folder},
        "min_median_max": {target: summary([taken[target] for taken in rounds]) for target in TARGETS},
    }
    print(json.dumps(result, indent=2))
    if asked.save:
        place = HERE / "results" / f"sinks-{datetime.date.today()}.json"
        place.write_text(json.dumps(result, indent=2) + "\n")


def summary(taken: list[dict[str, object]]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for name in taken[0]:
        values = [float(str(figure[name])) for figure in taken]
        figures[name] = [round(value, 2) for value in (min(values), statistics.median(values), max(values))]
    return figures


def measurement(target: str, count: int, folder: str) -> dict[str, float]:
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        for name in ("small", "synced", "big"):
            (place / name).mkdir()
        small = small_pages(f"{place}/small/{target}", f"{place}/synced/{target}", count)
        return small | big_pages(f"{place}/big/{target}")
    finally:
        shutil.rmtree(place)


def small_pages(target: str, synced: str, count: int) -> dict[str, float]:
    """Write pages of 10 KB; flush after each 64, as a loop does that goes round."""
    numbers = random.Random(7)
    words = [numbers.randbytes(numbers.randint(1, 5)).hex() for _ in range(4_000)]
    pages = [page(number, words, numbers, PAGE_BYTES) for number in range(count)]
    sink = open_sink(target)
    longest = {"write": 0.0, "flush": 0.0}
    began, cpu, caller = time.perf_counter(), process_seconds(), time.thread_time()
    for number, each in enumerate(pages, 1):
        longest["write"] = max(longest["write"], seconds_of(sink.write, each))
        if not number % 64:
            longest["flush"] = max(longest["flush"], seconds_of(sink.flush))
    sink.close()
    cpu, caller, seconds = process_seconds() - cpu, time.thread_time() - caller, time.perf_counter() - began
    size = sum(path.stat().st_size for path in Path(target).parent.rglob("*") if path.is_file())
    syncs = sync_seconds(synced, pages)
    return {
        "cpu_microseconds_per_page": cpu / count * 1e6,
        "caller_cpu_microseconds_per_page": caller / count * 1e6,
        "megabytes_of_bodies_per_second": count * PAGE_BYTES / seconds / 1e6,
        "disk_bytes_per_page": size / count,
        "longest_write_milliseconds": longest["write"] * 1e3,
        "longest_flush_milliseconds": longest["flush"] * 1e3,
        "median_sync_milliseconds": statistics.median(syncs) * 1e3,
    }


def sync_seconds(target: str, pages: list[Page]) -> list[float]:
    """Sync after every 500 pages, as a job does."""
    sink = open_sink(target)
    taken = []
    for number, each in enumerate(pages[: 10 * PAGES_A_SYNC], 1):
        sink.write(each)
        if not number % PAGES_A_SYNC:
            taken.append(seconds_of(sink.sync))
    sink.close()
    return taken


def big_pages(target: str) -> dict[str, float]:
    """Write pages of 1 MB, with a flush after every fourth; returns the longest stalls."""
    numbers = random.Random(7)
    words = [numbers.randbytes(numbers.randint(1, 5)).hex() for _ in range(4_000)]
    pages = [page(number, words, numbers, BIG_BYTES) for number in range(8)]
    sink = open_sink(target)
    writes, flushes = [], []
    for number in range(BIG_PAGES):
        each = pages[number % len(pages)]
        each = Page(url=f"{each.url}{number}", status=200, headers=HEADERS, body=b"%09d" % number + each.body)
        time.sleep(PAUSE_SECONDS)
        writes.append(seconds_of(sink.write, each))
        if number % 4 == 3:
            flushes.append(seconds_of(sink.flush))
    sink.close()
    return {
        "stall_1mb_write_milliseconds": max(writes) * 1e3,
        "stall_1mb_write_median_milliseconds": statistics.median(writes) * 1e3,
        "stall_1mb_flush_milliseconds": max(flushes) * 1e3,
    }


def page(number: int, words: list[str], numbers: random.Random, size: int) -> Page:
    """Make a page of `size` bytes: words, some of them not ASCII, in paragraphs."""
    text = f"<!doctype html><title>Page {number}</title>" + "".join(
        f"<p>{' '.join(numbers.choices(words, k=40))} \u00e9</p>\n" for _ in range(size // 200)
    )
    url = f"https://www.h{number % 997}.example/articles/{number}"
    return Page(
        url=url,
        input=url,
        final_url=url,
        line=number,
        status=200,
        headers=HEADERS,
        body=text.encode()[: size - 2].ljust(size),
        fetched_at=1_764_072_000.5 + number,
        timings=Timings(dns=0.001, connect=0.002, tls=0.01, first_byte=0.05, body=0.01, total=0.073),
        ip="192.0.2.1",
        http_version="2",
    )


def seconds_of(call: object, *arguments: object) -> float:
    assert callable(call)
    began = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - began


def process_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    os.umask(0o077)
    main()
