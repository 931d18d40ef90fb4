"""What is seen and what waits: bytes a URL and a host in memory, by their own count and by the process's growth.

    python benchmarks/frontier.py [--urls 1000000,10000000] [--save]

No network. Every measurement runs in a fresh process. `rss` is the growth of the resident set, divided; it holds
what a run has once, too (blocks of the temporary files, a batch of calls), so it falls with size. The files' pages
in the kernel's cache are not in it, the names of the hosts are. Making the URLs is not timed.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import psutil
from run import HERE, machine, measure

from cormorant.frontier.crawl import CrawlFrontier
from cormorant.frontier.seen import SeenURLs
from cormorant.messages import Found, Request

BATCH = 10_000
LINKS_ON_EVERY_PAGE = 1_000
REPEATS = 200_000
HEADERS = (("User-Agent", "cormorant/0.1 (+https://example.org/bot)"), ("Accept", "*/*"))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--urls", default="1000000")
    words.add_argument("--save", action="store_true", help="write benchmarks/results/frontier-DATE.json")
    words.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.measure:
        print(json.dumps(MEASUREMENTS[asked.measure[0]](int(asked.measure[1]))))
        return
    where = machine()
    sizes = [int(size) for size in asked.urls.split(",")]
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": where,
        "measurements": {
            f"{size:,} URLs": {name: measure("frontier.py", "--measure", name, str(size)) for name in MEASUREMENTS}
            for size in sizes
        },
    }
    print(json.dumps(result, indent=2))
    if asked.save:
        place = HERE / "results" / f"frontier-{datetime.date.today()}.json"
        place.write_text(json.dumps(result, indent=2) + "\n")


def seen_urls(size: int) -> dict[str, float]:
    """Add new URLs, then repeat some: links of every page, and any page at all; with the recent texts and without."""
    figures: dict[str, float] = {}
    before, seen = resident(), SeenURLs()
    figures["new_per_second"] = timed(seen.add, map(url, range(size)), size)
    figures["table_bytes_per_url"] = round(seen.bytes_held / size, 2)
    figures["rss_bytes_per_url"] = round((resident() - before) / size, 2)
    figures["disk_bytes_per_url"] = round(seen.bytes_on_disk / size, 2)
    links = [url(number) for number in range(0, size, size // LINKS_ON_EVERY_PAGE)]
    numbers = random.Random(7)
    anywhere = [url(numbers.randrange(size)) for _ in range(REPEATS)]
    on_every_page = links * (REPEATS // len(links))
    figures["repeated_links_per_second"] = timed(seen.add, on_every_page, REPEATS)
    figures["repeated_anywhere_per_second"] = timed(seen.add, anywhere, REPEATS)
    figures["recent_texts"] = len(seen._younger) + len(seen._older)
    figures["recent_bytes"] = bytes_of(seen._younger) + bytes_of(seen._older)
    seen._generation = 0  # holds no texts from here on
    seen._younger, seen._older = set(), set()
    figures["repeated_links_per_second_without_recent"] = timed(seen.add, on_every_page, REPEATS)
    assert len(seen) == size
    return figures


def set_of_strings(size: int) -> dict[str, float]:
    """For comparison: what a plain set of the same URLs costs."""
    before, seen = resident(), set[str]()
    speed = timed(seen.add, map(url, range(size)), size)
    return {"new_per_second": speed, "rss_bytes_per_url": round((resident() - before) / size, 2)}


def hosts_of_one_url(size: int) -> dict[str, float]:
    return waiting(((f"https://www.h{number}.example", number, 1) for number in range(size)), size, size)


def hosts_of_four_urls(size: int) -> dict[str, float]:
    """Four URLs a host, at two depths, spread over the whole run."""
    hosts = size // 4
    calls = ((f"https://www.h{number % hosts}.example", number, number // (2 * hosts)) for number in range(4 * hosts))
    return waiting(calls, 4 * hosts, hosts)


def one_host(size: int) -> dict[str, float]:
    host = "https://www.h1.example"
    return waiting(((host, number, number % 3) for number in range(size)), size, 1)


def waiting(calls: Iterator[tuple[str, int, int]], size: int, hosts: int) -> dict[str, float]:
    """Let requests wait, then take some as a crawl does: one of this host, one of that."""
    before, frontier = resident(), CrawlFrontier()
    requests = ((host, request(host, number, depth)) for host, number, depth in calls)
    figures: dict[str, float] = {"added_per_second": timed(lambda call: frontier.add(*call), requests, size)}
    growth = resident() - before
    figures["rss_bytes_per_url"] = round(growth / size, 2)
    if hosts > 1:
        figures["rss_bytes_per_host"] = round(growth / hosts, 2)
    figures["disk_bytes_per_url"] = round(frontier._spool.bytes_on_disk / size, 2)
    numbers, taken = random.Random(7), min(size // 2, REPEATS)
    chosen = list(frontier._hosts)
    names = numbers.sample(chosen, taken) if len(chosen) >= taken else (chosen * taken)[:taken]
    figures["taken_per_second"] = timed(frontier.take, names, taken)
    assert len(frontier) == size - taken
    return figures


def url(number: int) -> str:
    return f"https://www.h{number % 997}.example/shop/articles/{number}?page={number % 7}"


def request(host: str, number: int, depth: int) -> Request:
    text = f"{host}/shop/articles/{number}?page={number % 7}"
    found = Found(depth=depth, source=f"{host}/shop/", text=f"Article {number}")
    return Request(url=text, target=text, input=text, headers=HEADERS, found=found)


def timed(call: Callable[..., object], arguments: Iterable[object], size: int) -> int:
    """Return calls a second; what makes the arguments is not counted."""
    seconds, source = 0.0, iter(arguments)
    for _ in range(0, size, BATCH):
        batch = list(itertools.islice(source, BATCH))
        began = time.perf_counter()
        for argument in batch:
            call(argument)
        seconds += time.perf_counter() - began
    return round(size / seconds)


def bytes_of(texts: set[str]) -> int:
    return sys.getsizeof(texts) + sum(map(sys.getsizeof, texts))


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


MEASUREMENTS: dict[str, Callable[[int], dict[str, float]]] = {
    "seen_urls": seen_urls,
    "set_of_strings": set_of_strings,
    "hosts_of_one_url": hosts_of_one_url,
    "hosts_of_four_urls": hosts_of_four_urls,
    "one_host": one_host,
}

if __name__ == "__main__":
    main()
