"""robots.txt through real sockets: what each answer means (RFC 9309), what it costs its host, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from server_books import by_host, paths

import cormorant
from rude import Rude
from rude.crawling import ROBOTS

pytestmark = pytest.mark.usefixtures("hasty_robots")

PAGES = ("/web/a", "/private/a", "/private/open")
RULES = {"/web/a", "/private/open"}  # what the plain rules let through
EVERYTHING = set(PAGES)
LETS_THROUGH = {
    "plain": RULES,
    "missing": EVERYTHING,
    "unauthorised": EVERYTHING,
    "down": set(),
    "down-once": RULES,
    "hung": set(),
    "hops-5": RULES,
    "hops-6": EVERYTHING,
    "big": RULES,
    "bom": RULES,
    "utf-16": RULES,
    "html": EVERYTHING,
    "nul": RULES,
    "all": set(),
    "elsewhere": set(),
    "maps": RULES,
    "cr": RULES,
    "named": RULES,
    "delay": EVERYTHING,
}
UNREACHABLE = {"down": ("blocked", None, 0), "hung": ("timeout", None, 0)}  # no rule: a failure, and told as one
QUESTIONS = {"down": 3, "down-once": 2, "hung": 3, "hops-5": 6, "hops-6": 6}  # requests for robots.txt


def fetched(rude: Rude, name: str, **options: object) -> list[cormorant.Outcome]:
    """Fetch `PAGES` of the host with the robots.txt of that name."""
    rude.clear_log()
    urls = [rude.url(path, ROBOTS[name]) for path in PAGES]
    rude.url("/", ROBOTS["all"])  # "elsewhere" points there
    words: Any = {"robots": True, "retries": 2, "timeout": 0.2 if name == "hung" else 30} | options
    return list(cormorant.fetch(urls, **words))


def test_every_host_of_the_site_is_in_the_table() -> None:
    assert set(LETS_THROUGH) == set(ROBOTS)


@pytest.mark.parametrize("name", LETS_THROUGH)
def test_what_an_answer_means(rude: Rude, name: str) -> None:
    ends = fetched(rude, name)
    assert {end.url.partition(ROBOTS[name])[2].partition("/")[2] for end in ends if end.ok} == {
        path[1:] for path in LETS_THROUGH[name]
    }
    blocked = [end for end in ends if not end.ok]
    assert {(end.kind, getattr(end, "phase", None), end.attempts) for end in blocked} <= {
        UNREACHABLE.get(name, ("blocked", "robots", 0))
    }
    books = paths(by_host(rude.log())[ROBOTS[name]])
    questions = QUESTIONS.get(name, 1)
    assert all(path.startswith("/robots") for path in books[:questions])
    assert sorted(books[questions:]) == sorted(LETS_THROUGH[name])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("plain", "robots.txt: Disallow: /private (for *)"),
        ("all", "robots.txt: Disallow: / (for *)"),
        ("down", "robots.txt could not be read: HTTP 503, 3 tries"),
        ("hung", "robots.txt could not be read: "),
    ],
)
def test_a_refusal_says_which_rule(rude: Rude, name: str, says: str) -> None:
    messages = [end.message for end in fetched(rude, name) if not end.ok]
    assert all(str(message).startswith(says) for message in messages), messages


def test_a_robots_txt_is_read_whole_where_pages_are_not(rude: Rude) -> None:
    """Neither `no_body` nor `max_body` is meant for it."""
    assert sum(end.ok for end in fetched(rude, "big", no_body=True)) == 2
    assert sum(end.ok for end in fetched(rude, "big", max_body=100_000)) == 2


def test_our_product_token_is_the_name_we_give_ourselves(rude: Rude) -> None:
    ends = fetched(rude, "named", user_agent="Other/2.0 (me@a.example)")
    assert sum(end.ok for end in ends) == 3
    assert sum(end.ok for end in fetched(rude, "named")) == 2
    assert "(for cormorant)" in str(next(end.message for end in fetched(rude, "named") if not end.ok))


def test_without_robots_nobody_asks(rude: Rude) -> None:
    rude.clear_log()
    assert [end.ok for end in cormorant.fetch([rude.url("/private/a", ROBOTS["plain"])])] == [True]
    assert paths(rude.log()) == ["/private/a"]


def test_a_hung_robots_txt_holds_up_its_own_host_alone(rude: Rude, concurrent_engine: str) -> None:
    hung, healthy = ROBOTS["hung"], ROBOTS["plain"]
    urls = [rude.url(f"/ok/{number}", host) for number in range(5) for host in (hung, healthy)]
    rude.clear_log()
    ends = cormorant.fetch(urls, engine=concurrent_engine, robots=True, timeout=5)
    first = [next(ends) for _ in range(5)]
    ends.close()
    assert {end.url.split("/")[2].partition(":")[0] for end in first} == {healthy}
    assert paths(by_host(rude.log())[hung]) == ["/robots.txt"]


def test_a_redirect_keeps_to_the_robots_txt_of_its_target(rude: Rude) -> None:
    target = ROBOTS["all"]
    url = rude.url(f"/away/{target}/ok/1", ROBOTS["missing"])
    rude.url("/", target)
    rude.clear_log()
    (end,) = cormorant.fetch([url], robots=True)
    assert (end.kind, end.url, end.final_url, len(end.redirects)) == ("blocked", url, rude.url("/ok/1", target), 1)
    assert paths(by_host(rude.log())[target]) == ["/robots.txt"]


def test_a_page_by_proxy_keeps_to_robots_too(rude: Rude) -> None:
    """The host is the one that was asked for, not the proxy's."""
    proxy = rude.url("", "127.0.0.1")
    rude.clear_log()
    urls = [f"http://{ROBOTS['plain']}{path}" for path in PAGES]
    assert sum(end.ok for end in cormorant.fetch(urls, robots=True, proxy=proxy)) == 2
    assert next(iter(paths(rude.log()))).endswith("/robots.txt")
