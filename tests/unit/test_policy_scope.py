"""Scope: how far a crawl reaches, what a user wants and not, and traps that end within their budget."""

from __future__ import annotations

import datetime
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant.errors import UsageError
from cormorant.policies import scope as scope_module
from cormorant.policies.scope import DATE_LIKE, REASONS, Bounds, Scope

SEED = "https://docs.example.org/guide/start"


def bounds(seed: str = SEED, **settings: object) -> Bounds:
    made = Scope(**settings).bounds()  # type: ignore[arg-type]
    made.add_seed(seed)
    return made


def admit(made: Bounds, url: str, depth: int) -> str | None:
    """Ask for a URL as a crawl does: is it refused, is a budget against traps spent, is one of pages?"""
    return made.refusal(url, depth) or made.spend(url) or made.spend_page(url)


@pytest.mark.parametrize(
    ("url", "within"),
    [
        ("https://docs.example.org/", "host domain any"),
        ("http://docs.example.org/other/", "host domain any"),
        ("https://docs.example.org/guide/", "host domain prefix any"),
        ("http://docs.example.org/guide/a/b?c#d", "host domain prefix any"),
        ("https://docs.example.org/guidebook/", "host domain any"),
        ("https://docs.example.org/?next=/guide/", "host domain any"),
        ("https://docs.example.org:8443/guide/", "domain any"),
        ("https://example.org/guide/", "domain any"),
        ("https://docs.example.org.evil.example/guide/", "any"),
        ("https://notexample.org/guide/", "any"),
        ("https://docs.example.com/guide/", "any"),
    ],
)
def test_reach(url: str, within: str) -> None:
    reached = [reach for reach in scope_module.REACHES if bounds(reach=reach).refusal(url, 1) is None]
    assert " ".join(reached) == within
    assert {bounds(reach=reach).refusal(url, 1) for reach in set(scope_module.REACHES) - set(reached)} <= {"scope"}


def test_without_a_seed_only_any_reaches_anything() -> None:
    for reach in ("host", "domain", "prefix"):
        assert admit(Scope(reach=reach).bounds(), SEED, 1) == "scope"


def test_a_seed_may_move_within_its_domain_and_takes_the_reach_along() -> None:
    moved = bounds("http://example.org/")
    assert moved.refusal("https://www.example.org/", 0) == "scope"
    assert moved.seed_moved("http://example.org/", "https://www.example.org/") is None
    assert moved.refusal("https://www.example.org/page", 1) is None
    assert moved.seed_moved("http://example.org/", "https://login.example.com/") == "scope"
    assert moved.refusal("https://login.example.com/", 1) == "scope"
    assert bounds(reach="any").seed_moved(SEED, "https://login.example.com/") is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://docs.example.org/blog/one", None),
        ("https://docs.example.org/Blog/one", "include"),
        ("https://docs.example.org/about", "include"),
        ("https://docs.example.org/blog/?sort=up", "exclude"),
        ("https://docs.example.org/news/2/", None),
    ],
)
def test_include_and_exclude_are_searched(url: str, reason: str | None) -> None:
    patterns = bounds(include=("/blog/", r"/news/\d"), exclude=(r"\?sort=",))
    assert patterns.refusal(url, 1) == admit(patterns, url, 1) == reason


def test_a_seed_was_asked_for_by_name() -> None:
    assert bounds(include=("/blog/",), exclude=("guide",), longest_url=5).refusal(SEED, 1) == "too long"


@pytest.mark.parametrize("word", ["include", "exclude"])
def test_a_bad_pattern_is_refused_with_the_fix(word: str) -> None:
    with pytest.raises(UsageError, match=rf"{word} '\*\.pdf' is no regular .* nothing to repeat .* write \\\*\\\.pdf"):
        Scope(**{word: ("fine", "*.pdf")})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="write one of host, domain, prefix, any"):
        Scope(reach="site")


def test_depth_counts_links_from_a_seed() -> None:
    url = "https://docs.example.org/page"
    assert [admit(bounds(depth=2), url, depth) for depth in (0, 1, 2, 3)] == [None, None, None, "depth"]
    assert admit(bounds(), url, 10**6) is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/" + "x" * 1975, None),
        ("/" + "x" * 1976, "too long"),
        ("".join(f"/{number}" for number in "abcdefghijklmnopqrst") + "/", None),
        ("".join(f"/{number}" for number in "abcdefghijklmnopqrstu"), "segments"),
        ("/a/a/", None),
        ("/a/a/a/", "repeats"),
        ("/x/a/a/a", "repeats"),
        ("/a/b/a/b/c", None),
        ("/a/b/a/b/a/b", "repeats"),
        ("/x/a/b/a/b/a/b/y", "repeats"),
        ("/a/b/c/a/b/c/a/b/c/", "repeats"),
        ("/en/a/en/b/en/c", None),
        ("////", "repeats"),
        ("/", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_length_segments_and_repeats(path: str, reason: str | None) -> None:
    assert bounds("https://docs.example.org/").refusal(f"https://docs.example.org{path}", 1) == reason


def test_repeats_may_be_allowed() -> None:
    four = "https://docs.example.org/a/a/a/a"
    assert bounds(most_repeats=3).refusal(four, 1) == "repeats"
    assert bounds(most_repeats=4).refusal(four, 1) is None


def test_what_is_refused_is_not_counted() -> None:
    pages = bounds(max_pages=3, exclude=("secret",))
    assert admit(pages, "https://docs.example.org/secret", 1) == "exclude"
    assert pages.refusal("https://docs.example.org/a", 1) is None
    answers = [admit(pages, f"https://docs.example.org/{name}", 1) for name in "abcd"]
    assert answers == [None, None, None, "pages"]
    assert pages.refusal("https://docs.example.org/d", 1) is None  # a redirect's target is no further page
    assert pages.is_spent


def test_pages_per_host() -> None:
    pages = bounds(reach="any", max_pages_per_host=2)
    urls = [f"https://{host}.example/{name}" for name in "xyz" for host in "ab"]
    assert [admit(pages, url, 1) for url in urls] == [None, None, None, None, "pages per host", "pages per host"]


def test_query_variants_of_one_path_end_and_others_are_unharmed() -> None:
    trap = bounds(most_variants=5)
    answers = Counter(admit(trap, f"https://docs.example.org/shop?sid=x{number}", 1) for number in range(20))
    assert answers == {None: 5, "variants": 15}
    assert admit(trap, "https://docs.example.org/shop", 1) is None
    assert admit(trap, "https://docs.example.org/stop?sid=x1", 1) is None


@pytest.mark.parametrize(
    "shape",
    [
        "/calendar/{day:%Y/%m/%d}/",
        "/calendar/{day:%Y-%m-%d}",
        "/calendar?date={day:%Y%m%d}",
        "/calendar?year={day.year}&month={day.month}&day={day.day}",
        "/{day.year}/week/{day.day}/list.php?view=month",
    ],
)
def test_a_calendar_ends(shape: str) -> None:
    trap = bounds(most_dates=10)
    days = [datetime.date(2026, 1, 1) + datetime.timedelta(days=number) for number in range(60)]
    urls = dict.fromkeys("https://docs.example.org" + shape.format(day=day) for day in days)
    answers = Counter(admit(trap, url, 1) for url in urls)
    assert answers == {None: 10, "dates": len(urls) - 10}
    assert admit(trap, "https://docs.example.org/about/2026/", 1) is None


def test_an_archive_of_dated_articles_does_not() -> None:
    archive = bounds(most_dates=3)
    for number in range(50):
        assert admit(archive, f"https://docs.example.org/2026/11/25/article-{number + 10_000}", 1) is None
        assert admit(archive, f"https://docs.example.org/2026/11/title-{'x' * number}y/", 1) is None
        assert admit(archive, f"https://docs.example.org/item/{number}", 1) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/2026/", "2026"),
        ("/a-1999-b", "1999"),
        ("/20261125/", "20261125"),
        ("/202611", "202611"),
        ("/20261345/", None),
        ("/12026/", None),
        ("/2026123456/", None),
        ("/1789/", None),
        ("/a%2020", None),
    ],
)
def test_what_looks_like_a_date(text: str, found: str | None) -> None:
    match = DATE_LIKE.search(text)
    assert (match and match[0]) == found


def test_counters_remember_the_paths_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope_module, "MOST_REMEMBERED", 100)
    trap = bounds(most_variants=1)
    assert admit(trap, "https://docs.example.org/hot?0", 1) is None
    for number in range(1000):
        assert admit(trap, f"https://docs.example.org/path{number}?q", 1) is None
        assert admit(trap, f"https://docs.example.org/hot?{number}x", 1) == "variants"
    assert len(trap._variants._spent) == 100


SEGMENTS = st.lists(st.sampled_from(["a", "b", "2026", "12", "", "x" * 30]), max_size=24)
URLS = st.builds(
    lambda host, segments, query: f"https://{host}.example.org/{'/'.join(segments)}{query}",
    st.sampled_from(["docs", "www", "a.b"]),
    SEGMENTS,
    st.sampled_from(["", "?", "?a=1", "?year=2026", "?a/b/c"]),
)
SCOPES = st.builds(
    Scope,
    reach=st.sampled_from(scope_module.REACHES),
    depth=st.none() | st.integers(0, 3),
    max_pages=st.none() | st.integers(1, 20),
    max_pages_per_host=st.none() | st.integers(1, 10),
    most_variants=st.integers(1, 5),
    most_dates=st.integers(1, 5),
    most_repeats=st.integers(1, 3),
)


@given(SCOPES, st.lists(st.tuples(URLS, st.integers(0, 4)), max_size=60, unique_by=lambda pair: pair[0]))
def test_no_budget_is_ever_overrun_and_every_reason_is_known(scope: Scope, found: list[tuple[str, int]]) -> None:
    made = scope.bounds()
    made.add_seed(SEED)
    admitted: list[str] = []
    for url, depth in found:
        reason = made.refusal(url, depth)
        answer = admit(made, url, depth)
        assert answer == reason if reason else answer in {None, "variants", "dates", "pages", "pages per host"}
        assert answer is None or answer in REASONS
        if answer is None:
            admitted.append(url)
            assert scope.depth is None or depth <= scope.depth
    hosts = Counter(url.split("/")[2] for url in admitted)
    paths = Counter(url.partition("?")[0] for url in admitted if url.partition("?")[2])
    assert len(admitted) <= (scope.max_pages or len(admitted))
    assert max(hosts.values(), default=0) <= (scope.max_pages_per_host or len(admitted))
    assert max(paths.values(), default=0) <= scope.most_variants


@given(SEGMENTS, st.integers(1, 3))
def test_repeats_are_what_a_plain_search_finds(segments: list[str], most: int) -> None:
    length = len(segments)
    expected = any(
        segments[start : start + period] * (most + 1) == segments[start : start + period * (most + 1)]
        for period in range(1, length + 1)
        for start in range(length - period * (most + 1) + 1)
    )
    assert scope_module._repeats(segments, most) is expected
