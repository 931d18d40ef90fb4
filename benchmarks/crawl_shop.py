"""One crawl of the book shop by cormorant, alone in its process; prints its figures as JSON. Called by `crawl.py`."""

from __future__ import annotations

import json
import resource
import sys
import time

from bookshop import BOOKS

import cormorant


def main(engine: str, url: str, width: str) -> None:
    began, pages, failed = time.perf_counter(), 0, 0
    outcomes = cormorant.crawl(
        [url], engine=engine, concurrency=int(width), per_host=int(width), delay=0, robots=False, include=BOOKS
    )
    for page in outcomes:
        pages += page.ok
        failed += not page.ok
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    wall = time.perf_counter() - began
    print(json.dumps({"pages": pages, "failed": failed, "cpu_seconds": cpu, "wall_seconds": wall}))


if __name__ == "__main__":
    main(*sys.argv[1:])
