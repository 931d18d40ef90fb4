"""Crawls of the rude site: the same ends under every engine, traps that end, and each opinion in its place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import crawl_jobs
import pytest
from server_books import by_host, paths

import cormorant
from rude import Rude
from rude.crawling import ROBOTS

PLAIN = ROBOTS["plain"]
HASTY: Any = {"delay": 0, "per_host": 4, "retries": 0}

# What the site of `rude.crawling.WEB` must end in, at the host with the plain robots.txt.
GRAPH = {
    **dict.fromkeys(("web/home", "web/a", "web/b", "web/c?x=1", "web/c?x=2", "web/aa", "web/ab"), "200"),
    **dict.fromkeys(("private/open", "bytes/1000", "gzip/ok"), "200"),
    **dict.fromkeys(("web/missing", "status/404"), "404"),
    "private/a": "blocked",
    "partial/100": "truncated",
    "redir?to=/web/b": "302",  # where it leads is known
    "redir?to=/web/moved": "200",
    "redir?to=/private/moved": "blocked",
}


def ends(outcomes: Iterable[cormorant.Outcome]) -> Counter[tuple[str, str]]:
    """Count (path, kind or status)."""
    return Counter((outcome.url.split("/", 3)[3], str(outcome.kind or outcome.status)) for outcome in outcomes)


def fetched(outcomes: Iterable[cormorant.Outcome]) -> list[str]:
    return sorted(outcome.url.split("/", 3)[3] for outcome in outcomes if outcome.ok)


# --- the same under every engine ---


def test_a_site_ends_the_same_under_every_engine(rude: Rude, engine: str) -> None:
    rude.clear_log()
    left: list[cormorant.LeftOut] = []
    seed = rude.url("/web/home", PLAIN)
    found = ends(cormorant.crawl([seed], engine=engine, report_skipped=left.extend, **HASTY))
    assert found == Counter(GRAPH.items())
    elsewhere = "http://127.0.0.2:1/elsewhere"
    assert left == [
        cormorant.LeftOut(url=elsewhere, reason="scope", source=rude.url("/web/c?x=1", PLAIN), depth=2)
    ] or [one.source for one in left] == [rude.url("/web/c?x=2", PLAIN)]
    asked = paths(rude.log())
    assert len(asked) == len(set(asked)), "a page was asked for twice"
    assert asked[0] == "/robots.txt"
    assert not {"/private/a", "/private/moved"} & set(asked)


def test_auto_crawls_too(rude: Rude) -> None:
    assert ends(cormorant.crawl([rude.url("/web/home", PLAIN)], engine="auto", **HASTY)) == Counter(GRAPH.items())


def test_a_crawl_in_your_own_loop(rude: Rude) -> None:
    left: list[cormorant.LeftOut] = []

    async def crawl() -> list[cormorant.Outcome]:
        pages = cormorant.acrawl([rude.url("/web/home", PLAIN)], report_skipped=left.extend, **HASTY)
        return [outcome async for outcome in pages]

    assert ends(asyncio.run(crawl())) == Counter(GRAPH.items())
    assert [one.reason for one in left] == ["scope"]


def test_how_a_page_was_found(rude: Rude) -> None:
    seed = rude.url("/web/home", PLAIN)
    pages = {outcome.url: outcome.found for outcome in cormorant.crawl([seed], **HASTY)}
    assert pages[seed] == cormorant.Found()
    assert pages[rude.url("/web/missing", PLAIN)] == cormorant.Found(depth=1, source=seed, text="to missing")
    found = pages[rude.url("/web/ab", PLAIN)]
    assert found == cormorant.Found(depth=2, source=rude.url("/web/a", PLAIN), text="to ab")
    assert pages[rude.url("/private/a", PLAIN)] == cormorant.Found(
        depth=2, source=rude.url("/web/a", PLAIN), text="to /private/a"
    )


# --- functions in a crawl ---


def test_a_parse_function_runs_beside_the_look(rude: Rude, engine: str) -> None:
    pages = {
        outcome.url.split("/", 3)[3]: outcome
        for outcome in cormorant.crawl([rude.url("/web/home", PLAIN)], engine=engine, parse=crawl_jobs.said, **HASTY)
    }
    assert {path: str(page.kind or page.status) for path, page in pages.items()} == GRAPH
    assert pages["web/home"].data == [5, ["to a"], [False, False]]
    assert pages["web/missing"].data is None


def test_an_async_parse_function(rude: Rude) -> None:
    seed = rude.url("/web/home", PLAIN)
    pages = list(cormorant.crawl([seed], engine="asyncio", parse=crawl_jobs.said_later, **HASTY))
    assert ends(pages) == Counter(GRAPH.items())
    assert next(page.data for page in pages if page.url == seed) == [5, ["to a"], [False, False]]
    with pytest.raises(cormorant.UsageError, match="'asyncio' only"):
        cormorant.crawl([seed], engine="thread", parse=crawl_jobs.said_later)


def test_a_parse_function_that_raises_costs_its_page_and_not_its_links(rude: Rude, engine: str) -> None:
    seed = rude.url("/web/home", PLAIN)
    found = ends(cormorant.crawl([seed], engine=engine, parse=crawl_jobs.refuses_a, **HASTY))
    assert found == Counter((GRAPH | {"web/a": "callback"}).items())


def test_a_parse_function_may_fetch(rude: Rude, engine: str) -> None:
    pages = list(cormorant.crawl([rude.url("/ok/1", PLAIN)], engine=engine, parse=crawl_jobs.asks_more, **HASTY))
    assert [page.data for page in pages] == [200]


def test_json_and_a_bad_selector(rude: Rude) -> None:
    url = rude.url("/json/1")
    (page,) = cormorant.fetch([url], parse=crawl_jobs.value_of)
    assert page.data == url
    assert isinstance(page, cormorant.Page)
    assert page.links() == ()
    with pytest.raises(cormorant.UsageError, match="no CSS selector"):
        page.select("a[")


# --- traps: they end, and others are unharmed ---


TRAPS = {
    "/grow/": ({}, "repeats", 3),
    "/sid": ({"most_variants": 15}, "variants", 1 + 15),
    "/calendar/2026/01": ({"most_dates": 12}, "dates", 1 + 12),
    "/maze/0": ({"max_pages_per_host": 20}, "pages per host", 20),
}


@pytest.mark.parametrize("path", TRAPS)
def test_a_trap_ends_by_its_budget_and_other_hosts_are_unharmed(rude: Rude, path: str) -> None:
    budget, reason, pages = TRAPS[path]
    left: list[cormorant.LeftOut] = []
    seeds = [rude.url(path, "127.0.41.8"), rude.url("/web/home", PLAIN)]
    words: Any = HASTY | budget
    outcomes = list(cormorant.crawl(seeds, report_skipped=left.extend, **words))
    trapped = [outcome for outcome in outcomes if "127.0.41.8" in outcome.url]
    assert len(trapped) == pages
    assert ends(outcome for outcome in outcomes if PLAIN in outcome.url) == Counter(GRAPH.items())
    reasons = Counter(one.reason for one in left)
    assert set(reasons) == {reason, "scope"}


def test_most_pages_in_all(rude: Rude, engine: str) -> None:
    rude.clear_log()
    pages = list(cormorant.crawl([rude.url("/maze/0")], engine=engine, max_pages=25, **HASTY))
    assert len(pages) == len({page.url for page in pages}) == 25
    assert len(rude.log()) == 25 + 1  # robots.txt


def test_depth(rude: Rude) -> None:
    pages = list(cormorant.crawl([rude.url("/maze/0")], depth=2, **HASTY))
    assert Counter(page.found.depth for page in pages if page.found) == {0: 1, 1: 3, 2: 9}
    assert len(list(cormorant.crawl([rude.url("/maze/0")], depth=0, **HASTY))) == 1


# --- scope ---


def test_scope_any_goes_to_other_hosts_and_keeps_to_their_robots(rude: Rude) -> None:
    shut = ROBOTS["all"]
    for host in (shut, "127.0.41.9"):
        rude.url("/", host)
    rude.clear_log()
    seed = rude.url(f"/out/{shut}/127.0.41.9")
    pages = {page.url: str(page.kind or page.status) for page in cormorant.crawl([seed], scope="any", depth=1, **HASTY)}
    assert pages == {
        seed: "200",
        rude.url("/web/home", shut): "blocked",
        rude.url("/web/home", "127.0.41.9"): "200",
    }
    for hits in by_host(rude.log()).values():
        assert hits[0].path == "/robots.txt"


def test_scope_host_stays(rude: Rude) -> None:
    left: list[cormorant.LeftOut] = []
    (page,) = cormorant.crawl([rude.url("/out/127.0.41.9")], report_skipped=left.extend, **HASTY)
    assert page.ok
    assert [one.reason for one in left] == ["scope"]


def test_scope_domain(rude: Rude) -> None:
    seed = rude.url("/out/b.x.localhost/c.y.localhost", "a.x.localhost")
    pages = [page.url for page in cormorant.crawl([seed], scope="domain", depth=1, **HASTY)]
    assert pages == [seed, rude.url("/web/home", "b.x.localhost")]


def test_scope_prefix_include_and_exclude(rude: Rude) -> None:
    seed = rude.url("/web/home", PLAIN)
    inside = [path for path, end in GRAPH.items() if path.startswith("web/") and end == "200"]
    assert fetched(cormorant.crawl([seed], scope="prefix", **HASTY)) == sorted(inside)
    words: Any = HASTY | {"include": r"^[^?]*/web/", "exclude": [r"\?x=", "/aa$"]}
    assert fetched(cormorant.crawl([seed], **words)) == ["web/a", "web/ab", "web/b", "web/home"]


def test_what_is_preferred_goes_first(rude: Rude) -> None:
    rude.clear_log()
    words: Any = HASTY | {"per_host": 1, "prefer": ["/web/c", "/web/aa"]}
    list(cormorant.crawl([rude.url("/web/home", PLAIN)], scope="prefix", **words))
    assert paths(rude.log())[:4] == ["/robots.txt", "/web/home", "/web/c?x=1", "/web/c?x=2"]


# --- redirects ---


def test_a_redirect_out_of_scope_is_left_out_with_its_reason(rude: Rude) -> None:
    rude.url("/", "127.0.41.9")
    rude.clear_log()
    seed = rude.url("/away/127.0.41.9/ok/1")
    (end,) = cormorant.crawl([seed], **HASTY)
    assert (end.kind, end.status) == ("blocked", 301)
    assert "left out: scope" in str(end.message)
    assert not [hit for hit in rude.log() if "127.0.41.9" in hit.host]


@pytest.mark.parametrize(
    ("path", "words", "wanted"),
    [
        ("/redir?to=/redir/0%3Futm_source=x", {"drop_tracking": True}, "200"),
        ("/redir/loop", {}, "redirect"),
        ("/redir/3", {}, "200"),
        ("/redir/ever", {}, "redirect"),
    ],
)
def test_redirects_end(rude: Rude, path: str, words: dict[str, Any], wanted: str) -> None:
    assert [end for _, end in ends(cormorant.crawl([rude.url(path)], **(HASTY | words)))] == [wanted]


def test_a_site_that_takes_its_tracking_parameters_off_by_a_redirect(rude: Rude) -> None:
    """Both URLs are one to the crawl, and the second must be asked for all the same."""
    seed = rude.url("/bare?utm_source=x")
    rude.clear_log()
    (page,) = cormorant.crawl([seed], drop_tracking=True, **HASTY)
    assert (page.status, page.final_url) == (200, rude.url("/bare"))
    assert len(list(cormorant.crawl([seed, rude.url("/bare")], drop_tracking=True, **HASTY))) == 1


# --- sitemaps ---


def test_the_sitemaps_that_robots_names_are_read_and_their_pages_fetched(rude: Rude, engine: str) -> None:
    host = ROBOTS["maps"]
    rude.clear_log()
    pages = list(cormorant.crawl([rude.url("/ok/seed", host)], engine=engine, sitemaps=True, **HASTY))
    listed = ("before", "line", "listed", "listed?b=1&c=2", "other-line", "packed", "seed")
    assert fetched(pages) == [f"ok/{name}" for name in listed]
    assert [page.url for page in pages if page.kind] == [rude.url("/private/listed", host)]
    found = next(page.found for page in pages if page.url.endswith("/ok/listed"))
    assert found == cormorant.Found(source=rude.url("/sitemap/urlset", host), lastmod="2026-01-02")
    read = [path for path in paths(rude.log()) if path.startswith("/sitemap")]
    assert sorted(read) == [f"/sitemap/{name}" for name in ("cut", "gz", "index", "txt", "urlset")]


def test_without_a_word_in_robots_the_usual_sitemap_is_asked_for(rude: Rude) -> None:
    rude.clear_log()
    for robots in (True, False):
        pages = cormorant.crawl([rude.url("/ok/seed", "127.0.41.10")], sitemaps=True, robots=robots, **HASTY)
        assert "ok/listed" in fetched(pages)
    assert paths(rude.log()).count("/sitemap.xml") == 2


def test_without_the_option_no_sitemap_is_asked_for(rude: Rude) -> None:
    rude.clear_log()
    assert len(list(cormorant.crawl([rude.url("/ok/seed", ROBOTS["maps"])], **HASTY))) == 1
    assert paths(rude.log()) == ["/robots.txt", "/ok/seed"]


# --- nofollow and noindex ---


WISHES = {
    "/meta-robots/nofollow": (1, {"200"}),
    "/robots-tag/nofollow": (1, {"200"}),
    "/meta-robots/noindex": (3, {"200", "blocked"}),
    "/robots-tag/none": (1, {"blocked"}),
    "/robots-tag/googlebot: none": (3, {"200"}),
    "/rel": (2, {"200"}),
}


@pytest.mark.parametrize("path", WISHES)
def test_what_a_page_asks_for_is_obeyed_by_choice(rude: Rude, path: str) -> None:
    seed = rude.url(path)
    assert Counter(end for _, end in ends(cormorant.crawl([seed], **HASTY))) == {"200": 3}
    count, kinds = WISHES[path]
    outcomes = list(cormorant.crawl([seed], obey_meta=True, **HASTY))
    assert len(outcomes) == count
    assert {end for _, end in ends(outcomes)} == kinds
    for outcome in outcomes:
        if isinstance(outcome, cormorant.Failure):
            assert (outcome.phase, outcome.body, outcome.status) == ("robots", b"", 200)


def test_what_a_page_asks_for_is_shown(rude: Rude) -> None:
    pages = list(cormorant.fetch([rude.url("/meta-robots/noindex"), rude.url("/robots-tag/nofollow")]))
    asked = {page.url: page.robots for page in pages if isinstance(page, cormorant.Page)}
    assert list(asked.values()) in ([(True, False), (False, True)], [(False, True), (True, False)])
    (page,) = cormorant.fetch([rude.url("/rel")])
    assert isinstance(page, cormorant.Page)
    assert [link.nofollow for link in page.links()] == [False, True]


# --- misuse ---


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"scope": "world"}, "write one of host, domain, prefix, any"),
        ({"include": "("}, "no regular expression"),
        ({"exclude": ["["]}, "no regular expression"),
        ({"prefer": "*"}, "no regular expression"),
        ({"dept": 3}, "did you mean 'depth'"),
        ({"report_left": None}, "unknown option"),
        ({"delay": -1}, "give 0 or more"),
        ({"polite_by": "street"}, "give one of host, domain, address"),
        ({"polite_by": "address", "proxy": "http://127.0.0.1:1"}, "drop one of the two"),
    ],
    ids=str,
)
def test_a_wrong_word_is_said_before_anything_is_asked(rude: Rude, words: dict[str, Any], says: str) -> None:
    rude.clear_log()
    with pytest.raises(cormorant.UsageError, match=says):
        cormorant.crawl([rude.url()], **words)
    assert rude.log() == []


def test_one_seed_has_to_be_a_list_too(rude: Rude) -> None:
    with pytest.raises(cormorant.UsageError, match="not one text"):
        cormorant.crawl(rude.url())


# --- an earlier run ---


def test_an_earlier_run_is_asked_what_it_knew_in_your_own_loop_too(rude: Rude, tmp_path: Path) -> None:
    urls, first = [rude.url("/validated/etag"), rude.url("/ok/1")], str(tmp_path / "first.jsonl")

    async def fetch(since: str | None, output: str | None) -> list[cormorant.Outcome]:
        return [page async for page in cormorant.afetch(urls, since=since, output=output)]

    assert [page.ok for page in asyncio.run(fetch(None, first))] == [True, True]
    pages = asyncio.run(fetch(first, None))
    assert {page.url: page.status for page in pages} == {urls[0]: 304, urls[1]: 200}
    assert [page.url for page in pages if isinstance(page, cormorant.Page) and page.unchanged] == [urls[0]]
