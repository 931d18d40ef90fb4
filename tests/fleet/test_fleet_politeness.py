"""What servers meet of several workers, by their own clock: gaps, widths, and who asks."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import fleet_jobs
import fleet_names
import pytest
from server_books import CLOCK_SECONDS, by_host

import cormorant
from cormorant.fleet.shards import Split
from rude import Hit, Rude
from rude.crawling import ROBOTS

pytestmark = [pytest.mark.usefixtures("tidy"), pytest.mark.timeout(120)]

DELAY = 0.1
WIDTH = 2


def gaps(hits: Iterable[Hit]) -> list[float]:
    return [(later.t_ns - earlier.t_ns) / 1e9 for earlier, later in itertools.pairwise(hits)]


def test_four_workers_are_polite_to_every_host(rude: Rude) -> None:
    """How late the server notes a request is not known here, so gaps are summed over: k requests take k - 1 gaps."""
    hosts = {ROBOTS["delay"]: 0.2} | {f"127.0.42.{number}": DELAY for number in range(1, 9)}
    urls = [rude.url(f"/ok/{number}", host) for number in range(6) for host in hosts]
    rude.clear_log()
    words: dict[str, Any] = {"workers": 4, "delay": DELAY, "per_host": 1, "robots": True}
    assert all(one.ok for one in cormorant.fetch(urls, **words))
    books = by_host(rude.log())
    assert {host: len(hits) for host, hits in books.items()} == dict.fromkeys(hosts, 7)
    for host, hits in books.items():
        found = gaps(hits[1:])  # between robots.txt and the first page Crawl-delay is not known yet
        assert sum(found) >= len(found) * hosts[host] - 10 * CLOCK_SECONDS, (host, found)
        assert min(found) >= hosts[host] - 10 * CLOCK_SECONDS, (host, found)
    assert rude.peak() == 1


def test_a_host_is_asked_by_one_worker_alone_and_as_wide_as_it_may_be(rude: Rude) -> None:
    hosts = [f"127.0.42.{number}" for number in range(1, 7)]
    urls = [rude.url(f"/slow/0.1?{number}", host) for number in range(6) for host in hosts]
    rude.clear_log()
    pages = list(cormorant.fetch(urls, workers=4, per_host=WIDTH, parse=fleet_jobs.process_of))
    asked_by = {(page.url.split("/")[2], page.data) for page in pages}
    assert len(asked_by) == len(hosts)
    assert len({process for _, process in asked_by}) > 1
    assert {rude.peak(host.removeprefix("http://").rstrip("/")) for host in {rude.url("", one) for one in hosts}} == {2}


def test_names_at_one_address_are_asked_by_one_worker_which_keeps_to_its_budget(rude: Rude) -> None:
    port = rude.url("").rpartition(":")[2]
    names = [f"n{number}.example" for number in range(12)]
    for address in {fleet_names.address_of(name) for name in names}:
        if rude.url("", address) != f"http://{address}:{port}":
            pytest.skip("the port is taken there")
    split = Split("address", 16)
    assert any(split.of(f"http://{name}/") != split.of_address(fleet_names.address_of(name)) for name in names)
    urls = [f"http://{name}:{port}/ok/{number}" for number in range(3) for name in names]
    rude.clear_log()
    words: dict[str, Any] = {"workers": 4, "polite_by": "address", "split": "address", "delay": DELAY, "per_host": 1}
    pages = list(cormorant.fetch(urls, parse=fleet_names.process_of, **words))
    assert [page.ok for page in pages] == [True] * len(urls)
    assert Counter(page.url for page in pages) == Counter(urls)
    asked_by = {(fleet_names.address_of(page.url.split("/")[2].partition(":")[0]), page.data) for page in pages}
    assert len(asked_by) == fleet_names.ADDRESSES
    books = by_host(rude.log(), fleet_names.address_of)
    assert {address: len(hits) for address, hits in books.items()} == dict.fromkeys(books, 12)
    for hits in books.values():
        assert min(gaps(hits)) >= DELAY - 10 * CLOCK_SECONDS


def test_split_by_url_divides_what_a_host_gets(rude: Rude) -> None:
    """Each shard keeps the host's gap times the number of shards; starts of two shards may fall together."""
    host, shards = "127.0.42.9", 2
    urls = [rude.url(f"/ok/{number}", host) for number in range(10)]
    rude.clear_log()
    words: dict[str, Any] = {"workers": shards, "split": "url", "delay": DELAY, "per_host": 4}
    pages = list(cormorant.fetch(urls, parse=fleet_jobs.process_of, **words))
    asker = {page.url.partition(host)[2].partition("/")[2]: page.data for page in pages}
    by_asker: dict[int, list[Hit]] = {}
    for hit in rude.log():
        by_asker.setdefault(asker[hit.path[1:]], []).append(hit)
    assert len(by_asker) == shards
    for hits in by_asker.values():
        assert min(gaps(hits)) >= DELAY * shards - 10 * CLOCK_SECONDS


def test_split_by_url_never_asks_wider_than_one_worker(rude: Rude) -> None:
    host = "127.0.42.10"
    urls = [rude.url(f"/slow/0.1?{number}", host) for number in range(24)]
    rude.clear_log()
    assert all(one.ok for one in cormorant.fetch(urls, workers=2, split="url", per_host=4))
    assert 2 < rude.peak() <= 4
