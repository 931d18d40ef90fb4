"""The scheduler as a crawler, on a clock moved by hand: politeness, robots, bounds, retries; nothing is lost."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import Web, broken, entries, leading, page

from cormorant.frontier.crawl import CrawlFrontier
from cormorant.frontier.memory import MemoryFrontier
from cormorant.messages import Failure, Kind, LeftOut, Purpose, Request
from cormorant.policies.breaker import Breaker
from cormorant.policies.following import Following
from cormorant.policies.politeness import Politeness
from cormorant.policies.redirects import Redirects
from cormorant.policies.retries import Retries
from cormorant.policies.robots import Robots
from cormorant.policies.scope import Scope
from cormorant.policies.throttle import Throttle
from cormorant.scheduler import discovery
from cormorant.scheduler import hosts as registry
from cormorant.scheduler import robots as gate
from cormorant.scheduler.discovery import Discovery
from cormorant.scheduler.fetch import FetchScheduler
from cormorant.scheduler.settings import FetchPolicies


def policies(**changed: Any) -> FetchPolicies:
    """Return polite policies, with changes."""
    politeness = {name: changed.pop(name) for name in ("per_host", "delay", "jitter", "by") if name in changed}
    kept: dict[str, Any] = {
        "politeness": Politeness(**({"per_host": 1} | politeness)),
        "retries": Retries(),
        "redirects": Redirects(),
        "seconds": 30.0,
        "headers": (),
        "keep_duplicates": False,
        "robots_token": "cormorant",
    }
    return FetchPolicies(**(kept | changed))


def crawl(
    seeds: list[str], scope: Scope | None = None, following: Following | None = None, seed: int = 1, **changed: Any
) -> FetchScheduler:
    """Return a crawl from `seeds`."""
    frontier = CrawlFrontier()
    found = Discovery(scope or Scope(), following or Following(), frontier, (), 30.0)
    draw = random.Random(seed).random
    return FetchScheduler(entries(seeds), frontier, policies(**changed), found, draw)


def listed(texts: list[str], **changed: Any) -> FetchScheduler:
    """Return a plain list."""
    return FetchScheduler(entries(texts), MemoryFrontier(), policies(**changed), draw=random.Random(1).random)


def tree(request: Request) -> Any:
    """Answer as a site of three levels: /, /0 to /3, /0/0 to /3/3."""
    path = request.target.partition("//")[2].partition("/")[2].strip("/")
    if path.count("/") or path == "robots.txt":
        return page(request, 404 if path == "robots.txt" else 200)
    base = f"http://a.example/{path}".rstrip("/")
    return leading(request, *(f"{base}/{number}" for number in range(4)))


# --- politeness ---


def test_a_day_of_thousands_of_hosts_passes_in_moments() -> None:
    hosts = 2_000
    texts = [f"http://h{host}.example/{number}" for number in range(12) for host in range(hosts)]
    began = time.process_time()
    web = Web(listed(texts, delay=7_200.0), page).run()
    assert web.now == pytest.approx(11 * 7_200.0 + 0.1)  # 22 hours
    assert web.least_gap() >= 7_200.0
    assert len(web.ends) == len(texts)
    assert time.process_time() - began < 30  # a scan of the hosts for each start would take minutes


def test_one_slow_host_holds_back_no_other() -> None:
    texts = [f"http://slow.example/{number}" for number in range(50)]
    texts += [f"http://h{host}.example/" for host in range(100)]
    web = Web(listed(texts, delay=10.0), page, lambda request: 600.0 if "slow" in request.target else 0.1).run()
    others = [end for _, end, host, _ in web.books if "slow" not in host]
    assert max(others) < 1.0


def test_hosts_of_one_domain_share_a_budget() -> None:
    texts = [f"http://h{host}.example.co.uk/{number}" for number in range(3) for host in range(5)]
    web = Web(listed([*texts, "http://other.co.uk/"], delay=2.0, by="domain"), page).run()
    family = {"http://other.co.uk": "other"}
    assert web.least_gap(lambda host: family.get(host, "example.co.uk")) >= 2.0
    assert web.starts()["http://other.co.uk"] == [0.0]


def test_hosts_at_one_address_share_a_budget_from_their_first_page_on() -> None:
    texts = [f"http://h{host}.example/{number}" for number in range(3) for host in range(6)]
    address = {f"http://h{host}.example": f"10.0.0.{host % 2}" for host in range(6)}

    def answer(request: Request) -> Any:
        name = request.target.removesuffix("/")
        if request.purpose is Purpose.ADDRESS:
            return page(request).__class__(url=request.url, status=200, ip=address[name])
        return page(request)

    web = Web(listed(texts, delay=3.0, by="address"), answer).run()
    assert web.least_gap(address.__getitem__) >= 3.0
    assert web.most_at_once(address.__getitem__) == 1
    assert len(web.ends) == len(texts)
    assert sum(request.purpose is Purpose.ADDRESS for *_, request in web.books) == 6


def test_a_host_with_work_is_not_looked_up_again_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "KNOWN_ADDRESSES", 1)

    def answer(request: Request) -> Any:
        if request.purpose is Purpose.ADDRESS:
            return msgspec.structs.replace(page(request), ip="10.0.0.1")
        return page(request)

    texts = [f"http://h{host}.example/{number}" for number in range(3) for host in range(6)]
    web = Web(listed(texts, delay=3.0, per_host=2, by="address"), answer, lambda request: 4.0).run()
    assert sum(request.purpose is Purpose.ADDRESS for *_, request in web.books) == 6
    assert web.most_at_once(lambda host: "10.0.0.1") == 2
    assert len(web.ends) == len(texts)


def test_a_name_without_an_address_has_a_budget_of_its_own() -> None:
    def answer(request: Request) -> Any:
        return broken(request, Kind.DNS, "no such name")

    web = Web(listed(["http://a.example/1", "http://a.example/2"], by="address"), answer).run()
    assert [outcome.kind for outcome in web.ends] == [Kind.DNS, Kind.DNS]


@pytest.mark.parametrize(("asked", "kept"), [("7", 7.0), ("3600", 30.0), ("0.001", 1.0), ("-1", 1.0), ("abc", 1.0)])
def test_a_crawl_delay_is_kept_and_clamped(asked: str, kept: float) -> None:
    robots = f"User-agent: *\nCrawl-delay: {asked}\n".encode()

    def answer(request: Request) -> Any:
        return page(request, body=robots) if request.purpose is Purpose.ROBOTS else page(request)

    web = Web(listed([f"http://a.example/{n}" for n in range(4)], delay=1.0, robots=Robots()), answer).run()
    pages = web.starts(pages_alone=True)["http://a.example"]
    assert [round(later - earlier, 3) for earlier, later in itertools.pairwise(pages)] == [kept] * 3


def test_retry_after_spares_the_whole_host_and_no_other() -> None:
    def answer(request: Request) -> Any:
        first = request.target == "http://a.example/0" and request.attempts == 1
        return page(request, 429, Retry_After="40") if first else page(request)

    texts = [f"http://{host}.example/{n}" for n in range(3) for host in "ab"]
    web = Web(listed(texts, retries=Retries(limit=1)), answer).run()
    assert web.starts()["http://a.example"][1] >= 40.0
    assert max(web.starts()["http://b.example"]) < 1.0
    assert [outcome.status for outcome in web.ends] == [200] * 6


def test_a_retry_after_beyond_all_patience_is_not_waited_for() -> None:
    web = Web(
        listed(["http://a.example/"], retries=Retries(limit=5)),
        lambda request: page(request, 503, Retry_After="9999999999"),
    ).run()
    assert [(outcome.status, outcome.attempts) for outcome in web.ends] == [(503, 1)]


def test_a_throttled_host_gets_less_and_recovers() -> None:
    troubled = {"until": 20.0}

    def answer(request: Request) -> Any:
        return page(request, 429 if web.now < troubled["until"] else 200)

    plan = listed([f"http://a.example/{n}" for n in range(3_000)], per_host=8, throttle=Throttle(per_host=8))
    web = Web(plan, answer)
    web.run()
    times = web.starts()["http://a.example"]
    before = [start for start in times if 5.0 < start < 20.0]
    after = [start for start in times if start > times[-1] - 5.0]
    assert len(before) < 30  # without the throttle 80 a second
    assert len(after) > 300


# --- robots ---


def test_robots_is_asked_for_before_any_page_and_kept_to_with_its_rule() -> None:
    def answer(request: Request) -> Any:
        body = b"User-agent: *\nDisallow: /private\n" if request.purpose is Purpose.ROBOTS else b""
        return page(request, body=body)

    web = Web(listed(["http://a.example/private/x", "http://a.example/y"], robots=Robots()), answer).run()
    assert [request.target for *_, request in web.books] == ["http://a.example/robots.txt", "http://a.example/y"]
    blocked = next(outcome for outcome in web.ends if not outcome.ok)
    assert isinstance(blocked, Failure)
    assert (blocked.kind, blocked.phase, blocked.attempts) == (Kind.BLOCKED, "robots", 0)
    assert "Disallow: /private" in blocked.message


def test_a_robots_txt_that_hangs_holds_its_own_host_alone() -> None:
    texts = [f"http://{host}.example/" for host in ("slow", "b", "c")]
    web = Web(listed(texts, robots=Robots()), page, lambda request: 30.0 if "slow" in request.target else 0.1).run()
    assert {outcome.url for outcome in web.ends[:2]} == {"http://b.example/", "http://c.example/"}
    assert web.books[-1][0] >= 30.0


def test_an_unreachable_robots_txt_is_asked_for_again_and_then_refuses_all() -> None:
    def answer(request: Request) -> Any:
        return page(request, 503) if request.purpose is Purpose.ROBOTS else page(request)

    web = Web(listed([f"http://a.example/{n}" for n in range(5)], robots=Robots()), answer).run()
    assert web.urls() == []
    assert len(web.books) == 3
    assert {(outcome.kind, outcome.message) for outcome in web.ends} == {
        (Kind.BLOCKED, "robots.txt could not be read: HTTP 503, 3 tries")
    }


def test_robots_that_come_back_are_kept_to() -> None:
    tries = itertools.count(1)

    def answer(request: Request) -> Any:
        if request.purpose is Purpose.PAGE:
            return page(request)
        return page(request, 503 if next(tries) == 1 else 200, body=b"User-agent: *\nDisallow: /0\n")

    web = Web(listed([f"http://a.example/{n}" for n in range(3)], robots=Robots()), answer).run()
    assert sorted(outcome.kind or "page" for outcome in web.ends) == [Kind.BLOCKED, "page", "page"]


def test_two_robots_txt_that_point_at_each_other_hold_up_nothing() -> None:
    def answer(request: Request) -> Any:
        if request.purpose is Purpose.PAGE:
            return page(request)
        other = "b" if "//a." in request.target else "a"
        return page(request, 301, Location=f"http://{other}.example/robots.txt")

    web = Web(listed(["http://a.example/", "http://b.example/"], robots=Robots()), answer).run()
    assert [outcome.status for outcome in web.ends] == [200, 200]
    assert Counter(origin for _, _, origin, _ in web.books).total() == 2 * (1 + 5) + 2


def test_robots_txt_is_asked_for_again_after_a_day() -> None:
    texts = [f"http://a.example/{n}" for n in range(4)]
    web = Web(listed(texts, delay=30_000.0, robots=Robots()), page).run()
    asked = [start for start, *_, request in web.books if request.purpose is Purpose.ROBOTS]
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 86_400.0


def test_a_redirect_keeps_to_the_robots_txt_of_its_target() -> None:
    def answer(request: Request) -> Any:
        if request.purpose is Purpose.ROBOTS:
            return page(request, body=b"User-agent: *\nDisallow: /secret\n" if "//b." in request.target else b"")
        return page(request, 302, Location="http://b.example/secret/x")

    web = Web(listed(["http://a.example/"], robots=Robots()), answer).run()
    (blocked,) = web.ends
    assert (blocked.kind, blocked.url, len(blocked.redirects)) == (Kind.BLOCKED, "http://a.example/", 1)
    assert "http://b.example/secret/x" not in web.urls()


# --- crawling ---


def test_a_site_is_crawled_breadth_first_and_each_page_once() -> None:
    web = Web(crawl(["http://a.example/"], robots=Robots()), tree).run()
    assert len(web.urls()) == len(set(web.urls())) == 1 + 4 + 16
    depths = [outcome.found.depth for outcome in web.ends if outcome.found]
    assert depths == [0] + [1] * 4 + [2] * 16
    assert {outcome.found.source for outcome in web.ends[1:5] if outcome.found} == {"http://a.example/"}


def test_depth_ends_a_crawl_and_what_was_left_out_is_told_once() -> None:
    plan = crawl(["http://a.example/"], Scope(depth=1))
    plan.reports_left_out = True
    web = Web(plan, tree).run()
    assert len(web.ends) == 5
    left = plan.take_left_out()
    assert plan.left_out == {"depth": 16}
    assert left[0] == LeftOut(url="http://a.example/0/0", reason="depth", source="http://a.example/0", depth=2)
    assert len(left) == 16
    assert plan.take_left_out() == []
    assert plan.offered == len(web.ends) + plan.left_out.total()


def test_what_was_too_deep_comes_in_by_a_shorter_way() -> None:
    def answer(request: Request) -> Any:
        links = {"/": ["/long", "/late"], "/long": ["/long/x"], "/long/x": ["/goal"], "/late": ["/goal"]}
        path = request.target.removeprefix("http://a.example")
        return leading(request, *(f"http://a.example{link}" for link in links.get(path, [])))

    seconds = {"http://a.example/late": 60.0}
    plan = crawl(["http://a.example/"], Scope(depth=2), per_host=4)
    web = Web(plan, answer, lambda request: seconds.get(request.target, 0.1)).run()
    assert "http://a.example/goal" in web.urls()


def test_links_of_other_hosts_and_spellings_of_the_same_url() -> None:
    def answer(request: Request) -> Any:
        links = ("http://b.example/", "http://a.example/%7Ex", "http://a.example/~x", "http://a.example/X")
        return leading(request, *links)

    plan = crawl(["http://a.example/"])
    web = Web(plan, answer).run()
    assert web.urls() == ["http://a.example/", "http://a.example/%7Ex", "http://a.example/X"]
    assert plan.left_out == {"scope": 1}


def test_the_budget_of_pages_ends_a_crawl() -> None:
    numbers = itertools.count()

    def endless(request: Request) -> Any:
        return leading(request, *(f"http://a.example/{next(numbers)}" for _ in range(10)))

    plan = crawl(["http://a.example/"], Scope(max_pages=57))
    web = Web(plan, endless).run()
    assert len(web.ends) == 57
    assert plan.offered == 57 + plan.left_out["pages"]


def test_a_seed_that_another_page_links_to_first_is_fetched_and_in_scope() -> None:
    seeds = [*(f"http://a.example/{number}" for number in range(500)), "http://z.example/"]

    def answer(request: Request) -> Any:
        return leading(request, "http://z.example/", "http://z.example/inside")

    plan = crawl(seeds)
    web = Web(plan, answer).run()
    assert {"http://z.example/", "http://z.example/inside"} < set(web.urls())
    assert not plan.left_out


def test_preferred_pages_go_first() -> None:
    web = Web(crawl(["http://a.example/"], following=Following(prefer=("/3",))), tree).run()
    paths = [url.removeprefix("http://a.example") for url in web.urls()]
    # /3 is found with /0 to /2 and goes first; then come its children, and of the others' each /3 as it is found.
    assert paths[:6] == ["/", "/3", "/3/0", "/3/1", "/3/2", "/3/3"]
    assert paths[6:10] == ["/0", "/0/3", "/1", "/1/3"]


def test_sitemaps_are_read_down_to_the_third_index_and_their_pages_are_seeds() -> None:
    def answer(request: Request) -> Any:
        if request.purpose is Purpose.SITEMAP:
            level = int(request.target.partition("level")[2] or 0)
            return leading(request, f"http://a.example/in{level}", sitemaps=(f"http://a.example/level{level + 1}",))
        return page(request, 404) if request.purpose is Purpose.ROBOTS else page(request)

    plan = crawl(["http://a.example/"], Scope(depth=0), Following(sitemaps=True), robots=Robots())
    web = Web(plan, answer).run()
    assert {outcome.url for outcome in web.ends} == {
        "http://a.example/",
        *(f"http://a.example/in{level}" for level in range(4)),
    }
    assert plan.left_out == {"sitemap depth": 1}
    assert {outcome.found.depth for outcome in web.ends if outcome.found} == {0}


def test_robots_names_the_sitemaps() -> None:
    def answer(request: Request) -> Any:
        if request.purpose is Purpose.ROBOTS:
            return page(request, body=b"Sitemap: http://cdn.example/map.xml\n")
        return page(request)

    web = Web(crawl(["http://a.example/"], following=Following(sitemaps=True), robots=Robots()), answer).run()
    assert "http://cdn.example/map.xml" in [request.target for *_, request in web.books]
    assert "http://a.example/sitemap.xml" not in [request.target for *_, request in web.books]


def test_a_seed_that_moved_within_its_domain_takes_the_crawl_along() -> None:
    def answer(request: Request) -> Any:
        if request.target == "http://example.com/":
            return page(request, 301, Location="http://www.example.com/")
        return leading(request, "http://www.example.com/next")

    web = Web(crawl(["http://example.com/"]), answer).run()
    assert web.urls()[1:] == ["http://www.example.com/", "http://www.example.com/next"]


def test_a_redirect_out_of_scope_is_blocked_and_one_to_a_known_page_is_not_fetched_twice() -> None:
    def answer(request: Request) -> Any:
        if request.target.endswith("/out"):
            return page(request, 302, Location="http://b.example/")
        if request.target.endswith("/again"):
            return page(request, 302, Location="/")
        return leading(request, "http://a.example/out", "http://a.example/again")

    web = Web(crawl(["http://a.example/"]), answer).run()
    ends = {outcome.url.rpartition("/")[2]: outcome for outcome in web.ends}
    assert (ends["out"].kind, ends["again"].status) == (Kind.BLOCKED, 302)
    assert "left out: scope" in str(ends["out"].message)
    assert web.urls().count("http://a.example/") == 1


# --- trouble ---


def test_a_breaker_leaves_a_dead_host_alone_and_then_gives_it_up() -> None:
    texts = [f"http://dead.example/{n}" for n in range(500)] + ["http://b.example/"]
    web = Web(
        listed(texts, per_host=4, breaker=Breaker(limit=5)),
        lambda request: broken(request) if "dead" in request.target else page(request),
    ).run()
    asked = len(web.starts()["http://dead.example"])
    assert asked < 20
    assert len(web.ends) == 501
    given_up = [outcome for outcome in web.ends if "given up" in str(outcome.message)]
    assert len(given_up) == 500 - asked
    assert {(outcome.kind, outcome.attempts) for outcome in given_up} == {(Kind.CONNECT, 0)}


def test_a_host_that_comes_back_is_trusted_again() -> None:
    web = Web(
        listed([f"http://a.example/{n}" for n in range(60)], breaker=Breaker(limit=5)),
        lambda request: broken(request) if web.now < 20.0 else page(request),
    )
    web.run()
    assert sum(outcome.ok for outcome in web.ends) == 55
    assert max(web.starts()["http://a.example"]) > 30.0


def test_our_own_faults_are_nobodys_blame() -> None:
    web = Web(
        listed([f"http://a.example/{n}" for n in range(40)], breaker=Breaker(limit=3)),
        lambda request: broken(request, Kind.LOCAL) if request.attempts < 3 else page(request),
    ).run()
    assert [outcome.status for outcome in web.ends] == [200] * 40
    assert {outcome.attempts for outcome in web.ends} == {3}


def test_an_outage_is_no_storm() -> None:
    plan = listed([f"http://h{n}.example/" for n in range(20_000)], retries=Retries(limit=10))
    web = Web(plan, lambda request: page(request, 503)).run()
    assert len(web.ends) == 20_000
    assert plan.retried <= 1_000 + 2_000


def test_local_faults_do_not_spend_the_budget_of_retries() -> None:
    plan = listed([f"http://h{n}.example/" for n in range(2_000)])
    Web(plan, lambda request: broken(request, Kind.LOCAL) if request.attempts < 3 else page(request)).run()
    assert plan.retried == 4_000


# --- what a review found ---


def test_more_hosts_than_verdicts_are_kept_are_crawled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "KNOWN_HOSTS", 5)
    seeds = [f"http://h{number}.example/" for number in range(20)]
    web = Web(crawl(seeds, delay=1.0, robots=Robots()), page).run(until=100.0)
    assert len(web.ends) == 20
    assert len(web.books) == 40  # each robots.txt once


def test_sitemaps_lead_no_crawl_to_strangers() -> None:
    def answer(request: Request) -> Any:
        number = int(request.target.partition("//h")[2].partition(".")[0])
        if request.purpose is Purpose.ROBOTS:
            return page(request, body=f"Sitemap: http://h{number + 1}.example/map.xml\n".encode())
        if request.purpose is Purpose.SITEMAP:
            return leading(request, sitemaps=tuple(f"http://h{other}.example/i.xml" for other in range(100, 150)))
        return page(request)

    plan = crawl(["http://h0.example/"], following=Following(sitemaps=True), robots=Robots())
    web = Web(plan, answer).run()
    assert {host for _, _, host, _ in web.books} == {"http://h0.example", "http://h1.example"}
    assert plan.left_out == {"scope": 50}


def test_a_host_has_so_many_sitemaps_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MOST_SITEMAPS_A_HOST", 10)

    def answer(request: Request) -> Any:
        if request.purpose is Purpose.SITEMAP:
            return leading(request, sitemaps=tuple(f"{request.target}.{number}" for number in range(9)))
        return page(request)

    plan = crawl(["http://a.example/"], following=Following(sitemaps=True))
    web = Web(plan, answer).run()
    assert sum(request.purpose is Purpose.SITEMAP for *_, request in web.books) == 10
    assert plan.left_out["sitemaps"] > 0


def test_what_lies_where_a_seed_moves_to_is_found_however_late_it_moves() -> None:
    def answer(request: Request) -> Any:
        if request.target == "http://b.example/":
            return page(request, 301, Location="http://www.b.example/")
        if request.target == "http://www.b.example/":
            return leading(request, "http://www.b.example/x", "http://www.b.example/y")
        return leading(request, "http://www.b.example/x")

    plan = crawl(["http://a.example/", "http://b.example/"])
    web = Web(plan, answer, lambda request: 9.0 if request.target == "http://b.example/" else 0.1).run()
    assert {"http://www.b.example/x", "http://www.b.example/y"} < set(web.urls())


def test_a_sitemap_is_read_after_its_seed_has_moved() -> None:
    def answer(request: Request) -> Any:
        if request.purpose is Purpose.SITEMAP:
            return leading(request, *(f"http://www.a.example/{number}" for number in range(50)))
        if request.purpose is Purpose.ROBOTS:
            return page(request, body=b"Sitemap: http://www.a.example/map.xml\n")
        return page(request, 301, Location="http://www.a.example/") if "//a." in request.target else page(request)

    plan = crawl(["http://a.example/"], following=Following(sitemaps=True), robots=Robots(), per_host=8)
    web = Web(plan, answer, lambda request: 3.0 if request.target == "http://a.example/" else 0.1).run()
    assert len(web.ends) == 51


def test_a_host_that_comes_and_goes_is_never_asked_by_two() -> None:
    """A group that is forgotten must not take the books of its successor along."""
    lines: list[tuple[float, str]] = [(25.0, "1"), (100.0, "2"), (650.0, "3"), (706.0, "4"), (707.0, "5")]

    def slowly() -> Any:
        while lines:
            yield ("http://a.example/" + lines.pop(0)[1], None) if web.now >= lines[0][0] else None

    def answer(request: Request) -> Any:
        if request.purpose is Purpose.ROBOTS:
            return page(request, body=b"User-agent: *\nCrawl-delay: 20\n")
        return page(request)

    plan = FetchScheduler(slowly(), MemoryFrontier(), policies(robots=Robots()), draw=lambda: 0.0)
    web = Web(plan, answer, lambda request: 60.0 if request.target.endswith("/3") else 0.1)
    web.run()
    assert len(web.ends) == 5
    assert web.most_at_once() == 1
    assert web.least_gap() >= 20.0


def test_a_robots_txt_redirected_to_a_host_that_is_looked_up_keeps_to_its_budget() -> None:
    address = {"http://www.example": "10.0.0.9", "http://b.example": "10.0.0.1"}

    def answer(request: Request) -> Any:
        name = request.target.rpartition("/")[0]
        if request.purpose is Purpose.ADDRESS:
            return page(request).__class__(url=request.url, status=200, ip=address[name])
        if request.purpose is Purpose.ROBOTS and name == "http://b.example":
            return page(request, 301, Location="http://www.example/robots.txt")
        return page(request)

    texts = ["http://b.example/", *(f"http://www.example/{number}" for number in range(6))]
    plan = listed(texts, by="address", per_host=2, robots=Robots())
    seconds = {Purpose.ADDRESS: 2.0, Purpose.ROBOTS: 1.0, Purpose.PAGE: 5.0}
    quick = {"http://b.example/": 0.1, "http://b.example/robots.txt": 0.1}
    web = Web(plan, answer, lambda request: quick.get(request.target, seconds[request.purpose])).run()
    assert web.most_at_once(address.__getitem__) == 2
    assert len(web.ends) == 7


def test_budgets_of_pages_are_for_pages_that_are_asked_for() -> None:
    def answer(request: Request) -> Any:
        if request.purpose is Purpose.ROBOTS:
            return page(request, body=b"User-agent: *\nDisallow: /no\n")
        if request.target == "http://a.example/":
            names = [f"no{n}" for n in range(10)] + [f"yes{n}" for n in range(20)] + ["blog/1", "blog/2"]
            return leading(request, *(f"http://a.example/{name}" for name in names))
        return page(request)

    plan = crawl(["http://a.example/"], Scope(max_pages=10), Following(prefer=("/blog/",)), robots=Robots())
    web = Web(plan, answer).run()
    assert sum(outcome.ok for outcome in web.ends) == 10
    assert {"http://a.example/blog/1", "http://a.example/blog/2"} < set(web.urls())
    assert plan.offered == len(web.ends) + plan.left_out.total()


def test_headers_and_credentials_of_a_seed_go_to_its_own_origin_alone() -> None:
    def answer(request: Request) -> Any:
        return leading(request, "http://a.example/x", "http://evil.test/x")

    frontier = CrawlFrontier()
    mine = (("Authorization", "Bearer s"), ("Accept-Language", "fr"))
    found = Discovery(Scope(reach="any", depth=1), Following(), frontier, mine, 30.0)
    plan = FetchScheduler(
        entries(["http://a.example/", "http://u:p@c.example/"]),
        frontier,
        policies(headers=mine, robots=Robots()),
        found,
    )
    web = Web(plan, answer).run()
    sent = {request.target: dict(request.headers).get("Authorization") for *_, request in web.books}
    assert {sent["http://a.example/x"], sent["http://a.example/robots.txt"]} == {"Bearer s"}
    assert str(sent["http://c.example/robots.txt"]).startswith("Basic ")
    assert sent["http://evil.test/x"] is sent["http://evil.test/robots.txt"] is None
    assert {dict(request.headers)["Accept-Language"] for *_, request in web.books} == {"fr"}


def test_a_list_sorted_by_host_is_not_held_back_by_its_first_host() -> None:
    texts = [*(f"http://a.example/{number}" for number in range(20_000)), "http://b.example/"]
    web = Web(listed(texts, delay=1.0), page).run(until=60.0)
    assert web.starts()["http://b.example"][0] < 30.0


def test_asking_for_robots_txt_again_is_within_the_budget_of_retries() -> None:
    plan = listed([f"http://h{number}.example/" for number in range(5_000)], robots=Robots())
    web = Web(plan, broken).run()
    assert len(web.ends) == 5_000
    assert len(web.books) <= 5_000 + 1_000 + 500


def test_a_redirect_loop_is_a_failure_in_a_crawl_too() -> None:
    other = {"http://a.example/1": "/2", "http://a.example/2": "/1"}
    web = Web(crawl(["http://a.example/1"]), lambda request: page(request, 302, Location=other[request.target])).run()
    assert [outcome.kind for outcome in web.ends] == [Kind.REDIRECT]


hosts = st.integers(0, 4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(hosts, st.integers(0, 12)), min_size=1, max_size=25),
    st.fixed_dictionaries(
        {
            "per_host": st.integers(1, 3),
            "delay": st.sampled_from([0.0, 0.5, 3.0]),
            "jitter": st.sampled_from([0.0, 0.7]),
            "by": st.sampled_from(["host", "domain", "address"]),
        }
    ),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2),
    st.integers(1, 9),
    st.integers(0, 2**32),
)
def test_whatever_happens_every_url_ends_once_and_every_budget_holds(
    pages: list[tuple[int, int]],
    polite: dict[str, Any],
    keeps_robots: bool,
    is_throttled: bool,
    retries: int,
    width: int,
    seed: int,
) -> None:
    """Hosts answer after random times with pages, links, errors, redirects to each other, and robots of their moods."""
    chance = random.Random(seed)
    address = {f"http://h{host}.x{host % 2}.example": f"10.0.0.{host % 3}" for host in range(5)}
    names = list(address)

    def somewhere() -> str:
        return f"{chance.choice(names)}/{chance.randrange(13)}"

    def answer(request: Request) -> Any:
        if request.purpose is Purpose.ADDRESS:
            return page(request).__class__(url=request.url, status=200, ip=address[request.target[:-1]])
        luck = chance.random()
        if request.purpose is Purpose.ROBOTS:
            body = b"User-agent: *\nDisallow: /3\nCrawl-delay: 1\n"
            return page(request, 200 if luck < 0.8 else 503, body=body)
        if luck < 0.1:
            return page(request, chance.choice([301, 302]), Location=somewhere())
        if luck < 0.2:
            return page(request, chance.choice([429, 500, 503]), Retry_After=str(chance.randrange(9)))
        if luck < 0.3:
            return broken(request, chance.choice([Kind.CONNECT, Kind.TIMEOUT, Kind.LOCAL, Kind.TLS]))
        return leading(request, *(somewhere() for _ in range(chance.randrange(4))))

    plan = crawl(
        [f"{names[host]}/{number}" for host, number in pages],
        Scope(reach="any", depth=3),
        seed=seed,
        retries=Retries(limit=retries),
        robots=Robots() if keeps_robots else None,
        throttle=Throttle(per_host=polite["per_host"]) if is_throttled else None,
        breaker=Breaker(limit=6),
        **polite,
    )
    web = Web(plan, answer, lambda request: 0.05 + chance.random() * 3, width).run()
    budget = {
        "host": lambda host: host,
        "domain": lambda host: host.partition(".")[2],
        "address": address.__getitem__,
    }[polite["by"]]
    assert web.least_gap(budget) >= polite["delay"] - 1e-9  # floats
    assert web.most_at_once(budget) <= polite["per_host"]
    ends = Counter(outcome.url for outcome in web.ends)
    assert max(ends.values()) == 1
    assert plan.offered == len(web.ends) + plan.duplicates + plan.left_out.total()
    if keeps_robots:
        assert not any(request.target.endswith("/3") for *_, request in web.books)
    assert plan.in_flight == 0
