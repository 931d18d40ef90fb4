"""Politeness as the server sees it, for every engine: gaps, widths, robots.txt, Crawl-delay and Retry-After.

On a loaded machine the server notes a request late, and so the gap after it short. How late at most is the one thing
here that the client says: as late as its answer began.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

import pytest
from server_books import CLOCK_SECONDS, by_host, least_gap, paths

import cormorant
from cormorant.messages import Request
from cormorant.scheduler.hosts import Hosts
from rude import Hit, Rude
from rude.crawling import ROBOTS

DELAY = 0.1
CRAWL_DELAY = 0.2  # what the host "delay" asks for
BUSY = "127.0.41.1"
PLAIN, SLOW, DOWN, NONE = (ROBOTS[name] for name in ("plain", "delay", "all", "missing"))


@pytest.fixture
def lags(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Return the seconds between a request and the beginning of its answer, by URL, filled as a run goes on."""
    noted: dict[str, float] = {}
    settle = Hosts.settle

    def settle_and_note(self: Hosts, host: Any, request: Request, outcome: cormorant.Outcome, now: float) -> None:
        noted[request.target] = outcome.timings.first_byte
        settle(self, host, request, outcome, now)

    monkeypatch.setattr(Hosts, "settle", settle_and_note)
    return noted


def check_gaps(books: dict[str, list[Hit]], wanted: dict[str, float], lags: dict[str, float]) -> None:
    """Fail if a party was asked again before its gap was over."""
    found = {party: least_gap(books[party], lags) for party in wanted}
    assert all(found[party] >= gap - CLOCK_SECONDS for party, gap in wanted.items()), f"{found}, wanted {wanted}"


def statuses(outcomes: Iterable[cormorant.Outcome]) -> list[str]:
    return sorted(str(outcome.kind or outcome.status) for outcome in outcomes)


def test_a_list_is_polite_to_every_host(rude: Rude, engine: str, lags: dict[str, float]) -> None:
    urls = [rude.url(path, host) for path in ("/ok/1", "/private/x", "/ok/2") for host in (PLAIN, SLOW, DOWN, NONE)]
    urls += [rude.url(f"/busy-once/{engine}/1", BUSY), rude.url("/ok/1", BUSY)]
    rude.clear_log()
    ends = statuses(cormorant.fetch(urls, engine=engine, robots=True, delay=DELAY, per_host=1, retries=1))
    assert ends == ["200"] * 10 + ["blocked"] * 4
    books = by_host(rude.log())
    check_gaps(books, {PLAIN: DELAY, SLOW: CRAWL_DELAY, NONE: DELAY, BUSY: DELAY}, lags)
    assert paths(books[PLAIN]) == ["/robots.txt", "/ok/1", "/ok/2"]
    assert paths(books[SLOW]) == ["/robots.txt", "/ok/1", "/private/x", "/ok/2"]
    assert paths(books[DOWN]) == ["/robots.txt"]
    assert rude.peak() == 1
    busy = books[BUSY]
    assert paths(busy)[:2] == ["/robots.txt", f"/busy-once/{engine}/1"]
    assert busy[2].t_ns - busy[1].t_ns >= 1e9  # Retry-After: 1, for the whole host


def test_a_crawl_is_polite_to_every_host(rude: Rude, engine: str, lags: dict[str, float]) -> None:
    seeds = [rude.url("/web/home", host) for host in (PLAIN, SLOW)]
    rude.clear_log()
    list(cormorant.crawl(seeds, engine=engine, delay=DELAY, depth=2, max_pages_per_host=5, retries=0))
    books = by_host(rude.log())
    check_gaps(books, {PLAIN: DELAY, SLOW: CRAWL_DELAY}, lags)
    for hits in books.values():
        assert paths(hits)[:2] == ["/robots.txt", "/web/home"]
        assert len(hits) == 6
        assert paths(hits).count("/robots.txt") == 1
    assert rude.peak() == 1


def test_at_most_per_host_at_once(rude: Rude, engine: str) -> None:
    hosts = ("127.0.41.2", "127.0.41.3")
    urls = [rude.url(f"/slow/0.15?{number}", host) for number in range(4) for host in hosts]
    rude.clear_log()
    width = 1 if engine == "serial" else 8
    assert statuses(cormorant.fetch(urls, engine=engine, per_host=2, concurrency=width)) == ["200"] * 8
    books = by_host(rude.log())
    widest = {host: max(hit.at_once for hit in books[host]) for host in hosts}
    assert widest == dict.fromkeys(hosts, 1 if engine == "serial" else 2)


PARTIES = {
    "domain": {"a.x.localhost": "x", "b.x.localhost": "x", "c.y.localhost": "y", "127.0.41.4": "4", "127.0.41.5": "5"},
    "address": {"a.x.localhost": "1", "c.y.localhost": "1", "127.0.0.1": "1", "localhost": "1", "127.0.41.4": "4"},
}


@pytest.mark.parametrize("by", PARTIES)
def test_who_shares_a_budget(rude: Rude, engine: str, by: str, lags: dict[str, float]) -> None:
    urls = [rude.url(f"/ok/{number}", host) for number in range(2) for host in PARTIES[by]]
    rude.clear_log()
    assert statuses(cormorant.fetch(urls, engine=engine, polite_by=by, delay=DELAY, per_host=1)) == ["200"] * len(urls)
    books = by_host(rude.log(), PARTIES[by].__getitem__)
    check_gaps(books, dict.fromkeys(books, DELAY), lags)
    last = max(hits[-1].t_ns for hits in books.values())
    assert max(hits[0].t_ns for hits in books.values()) < last, "a party waited for another to be done"


def test_a_name_without_address_ends_as_it_does_without_politeness(rude: Rude, engine: str) -> None:
    urls = ["http://no-such-host.invalid/1", rude.url("/ok/1"), "http://no-such-host.invalid/2"]
    assert statuses(cormorant.fetch(urls, engine=engine, polite_by="address")) == ["200", "dns", "dns"]


def test_a_host_whose_robots_has_to_be_asked_for_again_holds_up_none_of_its_party(
    rude: Rude, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One budget for two hosts: while one is held, the other is asked."""
    monkeypatch.setattr("cormorant.policies.robots.AGAIN_SECONDS", (0.5,))
    down = ROBOTS["down-once"]
    urls = [rude.url("/ok/held", down), *(rude.url(f"/ok/{number}", PLAIN) for number in range(3))]
    rude.clear_log()
    # localhost and 127.0.0.1 are one address; here the party is made by hand, as two hosts of one address are rare.
    monkeypatch.setattr("cormorant.policies.politeness.Politeness.key", lambda *_: "one party")
    assert statuses(cormorant.fetch(urls, robots=True, per_host=1, retries=1)) == ["200"] * 4
    asked = [(hit.host.partition(":")[0], hit.path) for hit in rude.log()]
    assert asked[0] == (down, "/robots.txt")
    assert asked[-2:] == [(down, "/robots.txt"), (down, "/ok/held")], asked


def test_a_throttled_host_is_asked_less(rude: Rude, engine: str) -> None:
    """Two refusals: the width is halved and a gap comes in; other hosts go on."""
    host = "127.0.41.6"
    urls = [rude.url(f"/status/429?{number}", host) for number in range(4)]
    urls += [rude.url(f"/ok/{number}", "127.0.41.7") for number in range(20)]
    rude.clear_log()
    statuses(cormorant.fetch(urls, engine=engine, throttle=True, per_host=2))
    books = by_host(rude.log())
    assert books[host][-1].t_ns > books["127.0.41.7"][-1].t_ns
    assert books[host][3].t_ns - books[host][2].t_ns >= 0.45e9


@pytest.mark.parametrize("evented", ["greenlet", "gevent", "asyncio"])
def test_names_at_one_address_share_its_budget(
    rude: Rude, evented: str, lags: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a job blocks its thread libcurl looks names up itself, and these three are in no hosts file."""
    if evented == "gevent":
        pytest.importorskip("gevent")
    address = {"a.example": "127.0.0.1", "b.example": "127.0.0.1", "c.example": "127.0.41.4"}
    port = rude.url("").rpartition(":")[2]
    if rude.url("", "127.0.41.4") != f"http://127.0.41.4:{port}":
        pytest.skip("the port is taken there")

    def getaddrinfo(name: str, *_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address[name], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    urls = [f"http://{name}:{port}/ok/{number}" for number in range(3) for name in address]
    rude.clear_log()
    ends = cormorant.fetch(urls, engine=evented, polite_by="address", delay=DELAY, per_host=1, robots=True)
    assert statuses(ends) == ["200"] * 9
    books = by_host(rude.log(), address.__getitem__)
    check_gaps(books, dict.fromkeys(books, DELAY), lags)
    assert {name: len(hits) for name, hits in books.items()} == {"127.0.0.1": 8, "127.0.41.4": 4}
