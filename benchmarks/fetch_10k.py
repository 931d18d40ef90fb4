"""CPU a page under one engine: 10,000 pages of 10 KB, 64 in flight, every page a full outcome in the caller's hands.

    python benchmarks/fetch_10k.py ENGINE URL [PAGES] [CONCURRENCY] [WATCHDOG_SECONDS (0: none)] [metered]

Prints one JSON object: CPU microseconds a page (user + system, this process and its children), pages a second,
peak memory. Imports are not counted; everything from the first URL to the last outcome is.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from cormorant.api import fetch
from cormorant.opening import open_fetch
from cormorant.options import Options


def cpu_seconds() -> float:
    """Return user and system seconds of this process and of its ended children."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def main() -> None:
    engine, url = sys.argv[1], sys.argv[2]
    pages, width = (int(word) for word in (*sys.argv[3:5], *("10000", "64")[len(sys.argv[:5]) - 3 :]))
    watchdog = float(sys.argv[5]) or None if len(sys.argv) > 5 else None
    urls = (f"{url}?{number}" for number in range(pages))
    warm_up = (f"{url}?warm-up-{number}" for number in range(width))
    assert all(page.ok for page in fetch(warm_up, engine=engine, concurrency=width))
    start, before = time.perf_counter(), cpu_seconds()
    good = size = 0
    entries = ((text, number) for number, text in enumerate(urls))
    worker = open_fetch(entries, Options(engine=engine, concurrency=width, per_host=0, watchdog=watchdog))
    if sys.argv[6:] == ["metered"]:
        from cormorant.lab.observing import JobTimes

        worker.observe(JobTimes())
    for page in worker.run():
        good += page.ok
        size += len(page.body)
    wall, cpu = time.perf_counter() - start, cpu_seconds() - before
    assert good == pages, f"{pages - good} of {pages} failed"
    print(
        json.dumps(
            {
                "engine": engine,
                "pages": pages,
                "concurrency": width,
                "body_bytes": size,
                "cpu_microseconds_per_page": round(cpu / pages * 1e6, 1),
                "pages_per_second": round(pages / wall),
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
