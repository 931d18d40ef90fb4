"""The plan of a list: its counts, and a time that no run can beat."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cormorant.options import Options
from cormorant.planning import SLOWEST_SHOWN, Plan, plan


def planned(*texts: str, concurrency: int = 10, latency: float = 0.5, **options: Any) -> Plan:
    entries = [(text, number) for number, text in enumerate(texts, 1)]
    return plan(entries, Options(**options), concurrency, latency)


def pages(host: str, count: int) -> list[str]:
    return [f"http://{host}/{number}" for number in range(count)]


def test_every_line_is_counted_once() -> None:
    found = planned(
        "http://a.example/x", "HTTP://A.example:80/x#y", "no url", "http://a.example/%78", "https://b.example"
    )
    assert (found.offered, found.pages, found.duplicates, found.bad, found.hosts) == (5, 2, 2, 1, 2)


def test_duplicates_count_where_they_are_fetched() -> None:
    found = planned("http://a.example/", "http://a.example/", keep_duplicates=True)
    assert (found.pages, found.duplicates) == (2, 0)


def test_credentials_make_another_request_as_they_do_for_a_run() -> None:
    assert planned("http://u:p@a.example/", "http://a.example/", "http://u:q@a.example/").pages == 3


def test_the_host_with_the_most_gaps_decides() -> None:
    found = planned(*pages("a.example", 11), *pages("b.example", 3), delay=2.0)
    assert found.seconds == 10 * 2.0 + 0.5
    assert found.critical is not None
    assert (found.critical.host, found.critical.requests) == ("http://a.example", 11)
    assert [one.host for one in found.slowest] == ["http://a.example", "http://b.example"]


def test_without_gaps_the_width_of_a_host_decides() -> None:
    found = planned(*pages("a.example", 10), per_host=4, concurrency=100)
    assert found.seconds == 3 * 0.5


def test_where_no_host_decides_concurrency_does() -> None:
    texts = [text for host in range(20) for text in pages(f"h{host}.example", 2)]
    found = planned(*texts, per_host=0, concurrency=8)
    assert (found.seconds, found.critical) == (5 * 0.5, None)


def test_robots_txt_is_one_request_more_for_each_host() -> None:
    assert planned(*pages("a.example", 3), delay=1.0, robots=True).seconds == 3 * 1.0 + 0.5


def test_hosts_of_one_domain_share_a_gap() -> None:
    texts = [f"http://{name}.example.co.uk/" for name in "abc"]
    found = planned(*texts, delay=4.0, polite_by="domain")
    assert (found.seconds, found.hosts) == (8.5, 1)
    assert planned(*texts, delay=4.0).seconds == 0.5


def test_no_name_is_looked_up() -> None:
    assert planned("http://no-such-host.invalid/", polite_by="address").hosts == 1


def test_an_empty_list_takes_no_time() -> None:
    found = planned()
    assert (found.seconds, found.critical, found.slowest) == (0.0, None, ())


def test_only_the_slowest_are_shown() -> None:
    texts = [text for host in range(50) for text in pages(f"h{host}.example", host + 1)]
    found = planned(*texts, delay=1.0)
    assert [one.requests for one in found.slowest] == list(range(50, 50 - SLOWEST_SHOWN, -1))


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.sampled_from([0.0, 0.3, 2.0]),
    st.integers(0, 3),
    st.integers(1, 6),
    st.booleans(),
)
def test_no_run_is_faster(counts: list[int], delay: float, per_host: int, width: int, robots: bool) -> None:
    """The plan is held against the scheduler itself, on a clock moved by hand."""
    from simulated import Web, entries, page

    from cormorant.frontier.memory import MemoryFrontier
    from cormorant.opening import _policies
    from cormorant.scheduler.fetch import FetchScheduler

    texts = [text for host, count in enumerate(counts) for text in pages(f"h{host}.example", count)]
    options: Any = {"delay": delay, "per_host": per_host, "robots": robots}
    scheduler = FetchScheduler(entries(texts), MemoryFrontier(), _policies(Options(**options)))
    web = Web(scheduler, lambda request: page(request, 200), lambda request: 0.5, width).run()
    found = planned(*texts, concurrency=width, **options)
    assert web.now >= found.seconds - 1e-6
    if width >= sum(counts) and not robots:
        assert web.now == pytest.approx(found.seconds)  # nothing else stands in the way
