"""A fleet of a thousand shards over a million hosts: memory, messages, skew, and what a link costs on its way.

    python benchmarks/fleet_simulation.py [--shards 100] [--hosts 100000] [--sample 10] [--save]
    python benchmarks/fleet_simulation.py --shards 1000 --hosts 1000000 --sample 20 --save

No network: schedulers, journals (on files in $TMPDIR, /var/tmp), mail and its encoding are the real ones; answers are
made up. How hosts and pages fall to shards, and shards to workers, is counted for all of them. What a shard holds
and says is measured on a sample, in a fresh process: its own hosts are its seeds, each page has `LINKS` links, of
which `FOREIGN` of ten lead to any host (most to large ones), and as many links as it hands over come in from others. So
it stands for the others, and totals are multiplied, not measured. Sizes of hosts are Zipf's: the host of rank r has
1/r of the pages of the first, at least one. `bytes_per_page` is what a worker says, and hears; the driver passes each
message on, so it moves twice as much. Making links, answers and incoming batches is not counted.
`rss` is the growth of the resident set. A shard commits after each `PAGES_A_COMMIT` pages; the fewer, the
smaller the batches: that is what messages a page depend on.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import datetime
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from run import HERE, machine, measure

from cormorant.fleet import words
from cormorant.fleet.mail import LIST, Item, batch
from cormorant.fleet.shards import Split, dealt
from cormorant.fleet.share import Share
from cormorant.interfaces import Entry, Frontier, Neighbours
from cormorant.jobs import Job
from cormorant.messages import Done, Fetch, Found, Harvest, Lead, LineOver, LinkOver, Page, Request
from cormorant.policies.following import Following
from cormorant.policies.politeness import Politeness
from cormorant.policies.redirects import Redirects
from cormorant.policies.retries import Retries
from cormorant.policies.scope import Scope
from cormorant.scheduler.discovery import Discovery
from cormorant.scheduler.fetch import FetchScheduler
from cormorant.scheduler.settings import FetchPolicies

HEADERS = (("User-Agent", "cormorant/0.1 (+https://example.org/bot)"), ("Accept", "*/*"))
WORKERS = 64
PAGES_A_HOST = 100  # in the mean
LINKS, FOREIGN = 10, 2
PAGES_A_COMMIT = (10, 100, 1_000)
COMMITS = 10
DELAY_SECONDS = 1.0
A_DAY = 86_400  # pages that a host gives in a day at that delay
LINKS_TIMED = 50_000


def main() -> None:
    words_ = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words_.add_argument("--shards", type=int, default=100)
    words_.add_argument("--hosts", type=int, default=100_000)
    words_.add_argument("--sample", type=int, default=10, help="shards that are measured")
    words_.add_argument("--save", action="store_true", help="write benchmarks/results/fleet-simulation-DATE.json")
    words_.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    asked = words_.parse_args()
    if asked.measure:
        name, *numbers = asked.measure
        print(json.dumps(MEASUREMENTS[name](*map(int, numbers))))
        return
    where = machine()
    shape = [str(asked.shards), str(asked.hosts), str(asked.sample)]
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": where,
        "skew": measured("skew", *shape, "0"),
        "memory": measured("memory", *shape, "0"),
        "messages": {f"{pages} pages a commit": measured("messages", *shape, str(pages)) for pages in PAGES_A_COMMIT},
        "cpu_us_per_link": {f"{size} links a batch": measured("cost", *shape, str(size)) for size in (1, 10, 1_000)},
    }
    print(json.dumps(result, indent=2))
    if asked.save:
        place = HERE / "results" / f"fleet-simulation-{datetime.date.today()}.json"
        place.write_text(json.dumps(result, indent=2) + "\n")


def measured(*words_: str) -> dict[str, object]:
    return measure("fleet_simulation.py", "--measure", *words_)


# --- the web ---


class Hosts:
    """All hosts, by rank: their shards, and how many pages they have."""

    def __init__(self, shards: int, count: int) -> None:
        self.split = Split("host", shards)
        self.shard = [self.split.of(f"https://www.h{rank}.example/") for rank in range(count)]
        largest = PAGES_A_HOST * count / sum(1 / rank for rank in range(1, count + 1))
        self.pages = [max(1, round(largest / rank)) for rank in range(1, count + 1)]
        self._sums = list(itertools.accumulate(self.pages))
        self.of_shard: dict[int, list[int]] = {shard: [] for shard in range(shards)}
        for rank, shard in enumerate(self.shard):
            self.of_shard[shard].append(rank)

    def any_page(self, draw: random.Random) -> str:
        """Return any page of the web, each as likely."""
        number = draw.randrange(self._sums[-1])
        return self.page(bisect.bisect_right(self._sums, number), draw)

    def page(self, rank: int, draw: random.Random) -> str:
        """Return any page of a host."""
        return f"https://www.h{rank}.example/shop/articles/{draw.randrange(self.pages[rank])}"


def skew(shards: int, count: int, sample: int, _: int) -> dict[str, object]:
    """Count what falls to each shard, and to each worker."""
    began = time.process_time()
    hosts = Hosts(shards, count)
    seconds = time.process_time() - began
    owners = dealt(range(shards), range(WORKERS))
    figures: dict[str, object] = {
        "shards": shards,
        "hosts": count,
        "pages": sum(hosts.pages),
        "pages_of_largest_host": hosts.pages[0],
        "to_know_a_host_s_shard_cpu_us": round(seconds / count * 1e6, 2),
    }
    within_a_day = [min(pages, A_DAY) for pages in hosts.pages]
    for name, weights in (("hosts", [1] * count), ("pages", hosts.pages), ("pages_within_a_day", within_a_day)):
        by_shard, by_worker = Counter[int](), Counter[int]()
        for shard, weight in zip(hosts.shard, weights, strict=True):
            by_shard[shard] += weight
            by_worker[owners[shard]] += weight
        figures[f"{name}_largest_shard_by_mean"] = by_mean(by_shard, shards)
        figures[f"{name}_largest_of_{WORKERS}_workers_by_mean"] = by_mean(by_worker, WORKERS)
    return figures


def by_mean(sizes: Counter[int], count: int) -> float:
    return round(max(sizes.values()) * count / sizes.total(), 3)


# --- shards ---


def made(entries: Iterator[Entry | None], frontier: Frontier, neighbours: Neighbours) -> FetchScheduler:
    """Return a crawl's scheduler as a worker makes it."""
    policies = FetchPolicies(
        politeness=Politeness(per_host=1, delay=DELAY_SECONDS),
        retries=Retries(),
        redirects=Redirects(),
        seconds=30.0,
        headers=HEADERS,
        keep_duplicates=False,
    )
    discovery = Discovery(Scope(reach="any"), Following(sitemaps=False), frontier, HEADERS, 30.0, neighbours)
    return FetchScheduler(entries, frontier, policies, discovery, neighbours=neighbours)


def opened(folder: Path, number: int, split: Split) -> Share:
    """Return a shard that begins."""
    job = Job.open(folder / str(number), {"command": "shard"}, is_lasting=True)
    return Share(number, job, split, made, job.frontier(HEADERS, 30.0))


def seed(share: Share, hosts: Hosts) -> None:
    """Give a shard the front pages of its hosts, and have it read and commit them."""
    ranks = hosts.of_shard[share.number]
    lines: list[Item] = [LineOver(f"https://www.h{rank}.example/".encode(), rank) for rank in ranks]
    share.take(batch(LIST, share.number, 0, lines))
    share.lines.total = len(lines)
    while not share.scheduler.input_ended:
        share.scheduler._read_seeds(-1.0)  # reads on, and starts nothing: nobody may be asked yet
    share.commits.last()


def memory(shards: int, count: int, sample: int, _: int) -> dict[str, object]:
    """Hold a sample of shards: empty, with a request waiting for each host, and with each host known to be asked."""
    hosts = Hosts(shards, count)
    numbers = range(min(sample, shards))
    held = sum(len(hosts.of_shard[number]) for number in numbers)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        with contextlib.closing(opened(Path(folder), shards, hosts.split)) as first:
            first.commits.last()  # what the process has once
        before = resident()
        some = [opened(Path(folder), number, hosts.split) for number in numbers]
        empty = resident()
        for share in some:
            seed(share, hosts)
        full = resident()
        for share in some:
            share.close()
    fixed, of_host = (empty - before) / len(some), (full - empty) / held
    return {
        "shards_measured": len(some),
        "hosts_measured": held,
        "rss_bytes_per_shard_without_hosts": round(fixed),
        "rss_bytes_per_host": round(of_host),
        "rss_bytes_per_shard": round((full - before) / len(some)),
        f"rss_mb_per_worker_of_{WORKERS}": round((full - before) / len(some) * shards / WORKERS / 1e6, 1),
        "rss_mb_of_all_shards": round((full - before) / len(some) * shards / 1e6),
    }


class Crawled:
    """One shard that crawls, with others around it that hand over as much to it as it does to them."""

    def __init__(self, folder: Path, number: int, hosts: Hosts, pages: int) -> None:
        self.share, self._hosts, self._pages = opened(folder, number, hosts.split), hosts, pages
        self._draw = random.Random(number)
        self._incoming: Counter[int] = Counter()
        self.said: Counter[str] = Counter()
        seed(self.share, hosts)
        self.share.to_say, self.share.to_acknowledge = [], []
        self.now = time.monotonic() + DELAY_SECONDS

    def commit(self) -> None:
        """Fetch so many pages, hear as much from others as they hear, commit, and say what there is to say."""
        for _ in range(self._pages):
            self._fetch()
        self.share.scheduler.outcomes()
        self.share.commits._waiting = self._pages
        self.share.commits.last()
        new, self.share.to_say = self.share.to_say, []
        for one in new:
            self._say("batches", words.Say(one))
            self.said["links"] += one.count
            self.share.outbox.heard(one.dest, one.first + one.count)
            self._hear(one.dest, one.count)
        self.share.commits.last()
        for source, until in self.share.to_acknowledge:
            self._say("acknowledgements", words.Heard(source, self.share.number, until))
        self.share.to_acknowledge = []

    def _fetch(self) -> None:
        step = self.share.scheduler.next(self.now)
        while not isinstance(step, Fetch):
            self.now += DELAY_SECONDS
            step = self.share.scheduler.next(self.now)
        request: Request = step.argument
        rank = int(request.target.partition("www.h")[2].partition(".")[0])
        leads = [
            Lead(url=self._hosts.any_page(self._draw) if at < FOREIGN else self._hosts.page(rank, self._draw))
            for at in range(LINKS)
        ]
        page = Page(url=request.url, status=200, final_url=request.target)
        self.share.scheduler.settle(Done(ticket=step.ticket, value=Harvest(outcome=page, leads=tuple(leads))), self.now)
        self.said["pages"] += 1

    def _hear(self, source: int, count: int) -> None:
        ranks = self._hosts.of_shard[self.share.number]
        some: list[Item] = [link(self._hosts.page(self._draw.choice(ranks), self._draw)) for _ in range(count)]
        self.share.take(batch(source, self.share.number, self._incoming[source], some))
        self._incoming[source] += count

    def _say(self, what: str, word: words.FromWorker) -> None:
        self.said[what] += 1
        self.said["bytes"] += len(words.encode(word))


def link(url: str) -> LinkOver:
    return LinkOver(Lead(url=url, text="An article"), Found(depth=2, source="https://www.h7.example/shop/", text="A"))


def messages(shards: int, count: int, sample: int, pages: int) -> dict[str, object]:
    """Crawl with a sample of shards, one after another; count what they say."""
    hosts, said = Hosts(shards, count), Counter[str]()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        for number in range(min(sample, shards)):
            crawled = Crawled(Path(folder), number, hosts, pages)
            for _ in range(COMMITS):
                crawled.commit()
            said += crawled.said
            crawled.share.close()
    return {
        "pages_measured": said["pages"],
        **{
            f"{what}_per_page": round(said[what] / said["pages"], 3)
            for what in ("links", "batches", "acknowledgements")
        },
        "bytes_per_page": round(said["bytes"] / said["pages"]),
        "links_per_batch": round(said["links"] / said["batches"], 2),
    }


def cost(shards: int, count: int, sample: int, size: int) -> dict[str, object]:
    """Hand links over from one shard to another by way of a driver, in batches of one size; time each station."""
    split, spent = Split("host", shards), Counter[str]()
    links = LINKS_TIMED if size > 1 else LINKS_TIMED // 10
    dest = split.of("https://www.h0.example/")
    ranks = [rank for rank in range(20 * shards) if split.of(f"https://www.h{rank}.example/") == dest]
    items = [link(f"https://www.h{ranks[at % len(ranks)]}.example/shop/articles/{at}") for at in range(links)]
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        sender = opened(Path(folder), (dest + 1) % shards, split)
        receiver = opened(Path(folder), dest, split)
        receiver.lines.total = 0
        receiver.scheduler.next(time.monotonic())
        for begin in range(0, links, size):
            one_batch(sender, receiver, items[begin : begin + size], spent)
        found = len(receiver.scheduler._frontier)
        sender.close()
        receiver.close()
    assert found == links
    return {name: round(seconds / links * 1e6, 2) for name, seconds in spent.items()}


def one_batch(sender: Share, receiver: Share, items: list[LinkOver], spent: Counter[str]) -> None:
    """Bring links from shard to shard, and the acknowledgement back."""
    began = time.process_time()
    for item in items:
        if not sender.owns(item.lead.url):
            sender.hand_over(item)
    began = lap(spent, "sender", began)
    sender.commits.last()
    began = lap(spent, "sender_commit", began)
    said = [words.encode(words.Say(one)) for one in sender.to_say]
    sender.to_say = []
    began = lap(spent, "sender", began)
    passed_on = [words.encode(words.decode_from_worker(one)) for one in said]
    began = lap(spent, "driver", began)
    for message in passed_on:
        word = words.decode_to_worker(message)
        assert isinstance(word, words.Say)
        receiver.take(word.batch)
    began = lap(spent, "receiver", began)
    receiver.commits.last()
    began = lap(spent, "receiver_commit", began)
    for source, until in receiver.to_acknowledge:
        sender.outbox.heard(receiver.number, until)
        assert source == sender.number
    receiver.to_acknowledge = []
    lap(spent, "sender", began)


def lap(spent: Counter[str], name: str, began: float) -> float:
    now = time.process_time()
    spent[name] += now - began  # type: ignore[assignment]
    return now


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


MEASUREMENTS: dict[str, Any] = {"skew": skew, "memory": memory, "messages": messages, "cost": cost}

if __name__ == "__main__":
    main()
