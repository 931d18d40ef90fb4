"""Politeness: who shares a budget, how many at once, and that no gap is below its delay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant import urls
from cormorant.errors import UsageError
from cormorant.policies.domains import registered_domain
from cormorant.policies.politeness import Politeness

SECONDS = st.floats(0, 1e6)
DRAWS = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("origin", "domain"),
    [
        ("https://www.example.co.uk", "example.co.uk"),
        ("http://a.b.example.com:8080", "example.com"),
        ("https://example.com", "example.com"),
        ("https://a.example.com.", "example.com"),
        ("https://one.github.io", "one.github.io"),
        ("https://github.io", "github.io"),
        ("https://co.uk", "co.uk"),
        ("https://www.city.kobe.jp", "city.kobe.jp"),
        ("https://www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"),
        ("https://a.b.unlisted", "b.unlisted"),
        ("http://localhost:8000", "localhost"),
        ("http://127.0.0.1:8000", "127.0.0.1"),
        ("http://[2001:db8::1]:8000", "[2001:db8::1]"),
        ("http://[2001:db8::1]", "[2001:db8::1]"),
    ],
)
def test_the_registered_domain_of_an_origin(origin: str, domain: str) -> None:
    assert registered_domain(origin) == domain


def test_what_shares_a_budget() -> None:
    one, other = "https://a.example.org", "http://b.example.org:8080"
    assert Politeness().key(one, "192.0.2.1") == one
    by_domain = Politeness(by="domain")
    assert by_domain.key(one, None) == by_domain.key(other, "192.0.2.1") == "example.org"
    by_address = Politeness(by="address")
    assert by_address.key(one, "192.0.2.1") == by_address.key(other, "192.0.2.1") == "192.0.2.1"
    assert by_address.key(one, None) == one


def test_an_unknown_budget_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="write one of host, domain, address"):
        Politeness(by="ip")


@pytest.mark.parametrize(
    ("per_host", "active", "width", "room"),
    [
        (2, 1, None, True),
        (2, 2, None, False),
        (0, 10_000, None, True),
        (8, 1, 2.0, True),
        (8, 1, 1.9, False),
        (8, 0, 1.0, True),
        (2, 2, 64.0, False),
        (0, 3, 3.0, False),
    ],
)
def test_room(per_host: int, active: int, width: float | None, room: bool) -> None:
    assert Politeness(per_host=per_host).has_room(active, width) is room


@pytest.mark.parametrize(
    ("crawl_delay", "gap"),
    [(None, 1.0), (0.001, 1.0), (-1.0, 1.0), (float("nan"), 1.0), (5.0, 5.0), (3600.0, 30.0), (float("inf"), 30.0)],
)
def test_crawl_delay_is_clamped(crawl_delay: float | None, gap: float) -> None:
    assert Politeness(delay=1.0).gap(crawl_delay, 0.0, 0.5) == gap


def test_a_users_own_delay_is_not_clamped_and_jitter_only_stretches() -> None:
    assert Politeness(delay=100.0).gap(None, 0.0, 0.9) == 100.0
    assert Politeness(delay=2.0, jitter=0.5).gap(None, 0.0, 0.5) == 2.5
    assert Politeness(delay=2.0, jitter=0.5).gap(None, 8.0, 0.0) == 8.0


@given(SECONDS, st.floats(0, 1), st.none() | st.floats(), st.floats(0, 60), DRAWS)
def test_no_gap_is_below_its_delay(
    delay: float, jitter: float, crawl_delay: float | None, pace_gap: float, draw: float
) -> None:
    politeness = Politeness(delay=delay, jitter=jitter)
    gap = politeness.gap(crawl_delay, pace_gap, draw)
    assert max(delay, pace_gap) <= gap <= max(delay, pace_gap, politeness.most_delay) * 2
    if crawl_delay is not None and crawl_delay <= politeness.most_delay:
        assert gap >= crawl_delay


LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


@given(st.lists(LABELS, min_size=1, max_size=5), st.sampled_from(["http", "https"]), st.integers(1, 65_535))
def test_a_domain_is_the_end_of_its_host_and_its_own_domain(labels: list[str], scheme: str, port: int) -> None:
    host = ".".join(labels)
    domain = registered_domain(urls.origin(urls.clean(f"{scheme}://x:y@{host}:{port}/")))
    assert f".{host}".endswith(f".{domain}")
    assert registered_domain(f"https://{domain}") == domain
