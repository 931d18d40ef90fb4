"""What the scheduler still knows of a host after it was idle, and whom it holds up; on a hand-moved clock."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

from simulated import Web, entries, leading, page

from cormorant.frontier.crawl import CrawlFrontier
from cormorant.frontier.memory import MemoryFrontier
from cormorant.interfaces import Entry
from cormorant.messages import Purpose, Request
from cormorant.policies.following import Following
from cormorant.policies.politeness import Politeness
from cormorant.policies.redirects import Redirects
from cormorant.policies.retries import Retries
from cormorant.policies.robots import Robots
from cormorant.policies.scope import Scope
from cormorant.scheduler.discovery import Discovery
from cormorant.scheduler.fetch import FetchScheduler
from cormorant.scheduler.hosts import REMEMBER_SECONDS
from cormorant.scheduler.settings import FetchPolicies


def policies(by: str = "host", most_delay: float = 30.0) -> FetchPolicies:
    return FetchPolicies(
        politeness=Politeness(per_host=1, by=by, most_delay=most_delay),
        retries=Retries(),
        redirects=Redirects(),
        seconds=30.0,
        headers=(),
        keep_duplicates=False,
        robots=Robots(),
        robots_token="cormorant",
    )


def test_a_crawl_delay_is_kept_to_after_hours_without_a_request() -> None:
    """robots.txt is known for a day; so long its host must be spared, though all else of it is forgotten."""

    def slow_input() -> Iterator[Entry | None]:
        yield from entries(["http://a.example/1", "http://a.example/2"])
        while web.now < 3 * REMEMBER_SECONDS:
            yield None
        yield from entries(["http://a.example/3", "http://a.example/4", "http://a.example/5"])

    def answer(request: Request) -> Any:
        return page(request, body=b"User-agent: *\nCrawl-delay: 20\n" if request.purpose is Purpose.ROBOTS else b"")

    web = Web(FetchScheduler(slow_input(), MemoryFrontier(), policies()), answer)
    web.run()
    times = web.starts()["http://a.example"]
    late = [later - earlier for earlier, later in itertools.pairwise(times) if earlier > 3 * REMEMBER_SECONDS]
    assert len(late) == 2
    assert min(late) >= 20.0
    assert sum(request.purpose is Purpose.ROBOTS for *_, request in web.books) == 1


def test_the_gap_that_robots_asks_for_begins_at_once() -> None:
    def answer(request: Request) -> Any:
        return page(request, body=b"User-agent: *\nCrawl-delay: 7\n" if request.purpose is Purpose.ROBOTS else b"")

    web = Web(FetchScheduler(entries(["http://a.example/1"]), MemoryFrontier(), policies()), answer).run()
    assert web.least_gap() >= 7.0


def test_a_neighbour_whose_robots_has_to_be_asked_for_again_holds_up_nobody() -> None:
    """One budget for two hosts of a domain: the one that is held gives its turn to the other."""

    def answer(request: Request) -> Any:
        is_down = request.purpose is Purpose.ROBOTS and "//down." in request.target and request.attempts < 3
        return page(request, 503 if is_down else 200)

    texts = ["http://down.a.example/", *(f"http://up.a.example/{number}" for number in range(5))]
    web = Web(FetchScheduler(entries(texts), MemoryFrontier(), policies("domain")), answer).run()
    assert max(web.starts()["http://up.a.example"]) < 1.0  # when robots.txt is asked for again
    assert len(web.ends) == 6


def test_a_sitemap_that_moved_keeps_to_the_robots_txt_of_where_it_went() -> None:
    def answer(request: Request) -> Any:
        if request.purpose is Purpose.SITEMAP:
            return page(request, 301, Location="http://b.example/private/map.xml")
        if request.purpose is Purpose.ROBOTS and "//b." in request.target:
            return page(request, body=b"User-agent: *\nDisallow: /private\n")
        return page(request, 404) if request.purpose is Purpose.ROBOTS else leading(request)

    frontier = CrawlFrontier()
    discovery = Discovery(Scope(), Following(sitemaps=True), frontier, (), 30.0)
    plan = FetchScheduler(entries(["http://a.example/"]), frontier, policies(), discovery, random.Random(1).random)
    web = Web(plan, answer).run()
    asked = [request.target for *_, request in web.books]
    assert "http://b.example/robots.txt" in asked
    assert "http://b.example/private/map.xml" not in asked
