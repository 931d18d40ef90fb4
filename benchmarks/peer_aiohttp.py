"""The peer: the same 10,000 pages over aiohttp + uvloop, bodies read, status looked at, nothing else.

python benchmarks/peer_aiohttp.py URL [PAGES] [CONCURRENCY]
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import sys
import time

import aiohttp
import uvloop


async def fetch_all(url: str, pages: int, width: int) -> tuple[int, int]:
    """Fetch with `width` tasks over one session, as aiohttp's documentation advises; returns pages and bytes."""
    numbers = iter(range(pages))
    good = size = 0
    connector = aiohttp.TCPConnector(limit=width)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def take() -> None:
            nonlocal good, size
            for number in numbers:
                async with session.get(f"{url}?{number}") as answer:
                    body = await answer.read()
                    good += answer.status < 400
                    size += len(body)

        await asyncio.gather(*(take() for _ in itertools.repeat(None, width)))
    return good, size


def main() -> None:
    url = sys.argv[1]
    pages, width = (int(word) for word in (*sys.argv[2:4], *("10000", "64")[len(sys.argv) - 2 :]))
    uvloop.run(fetch_all(url, width, width))  # warm-up
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    good, size = uvloop.run(fetch_all(url, pages, width))
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert good == pages, f"{pages - good} of {pages} failed"
    print(
        json.dumps(
            {
                "engine": "aiohttp + uvloop",
                "pages": pages,
                "concurrency": width,
                "body_bytes": size,
                "cpu_microseconds_per_page": round(cpu / pages * 1e6, 1),
                "pages_per_second": round(pages / wall),
                "peak_rss_bytes": after.ru_maxrss * 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
