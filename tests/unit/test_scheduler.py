"""The scheduler on a clock moved by hand: what starts when, and that every URL ends exactly once."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cormorant.frontier.memory import MemoryFrontier
from cormorant.messages import FINISHED, Done, Failure, Fault, Fetch, Kind, Outcome, Page, Request, Timings, Wait
from cormorant.policies.politeness import Politeness
from cormorant.policies.redirects import Redirects
from cormorant.policies.retries import Retries
from cormorant.scheduler import fetch
from cormorant.scheduler.fetch import INPUT_PAUSE_SECONDS, READ_AT_ONCE, FetchPolicies, FetchScheduler
from cormorant.urls import origin


def scheduler(
    texts: Iterable[str | None],
    *,
    per_host: int = 8,
    delay: float = 0.0,
    retries: int = 0,
    keep_duplicates: bool = False,
) -> FetchScheduler:
    entries = (None if text is None else (text, number) for number, text in enumerate(texts, 1))
    policies = FetchPolicies(
        politeness=Politeness(per_host=per_host, delay=delay),
        retries=Retries(limit=retries),
        redirects=Redirects(),
        seconds=30.0,
        headers=(("X-Key", "secret"),),
        keep_duplicates=keep_duplicates,
    )
    return FetchScheduler(entries, MemoryFrontier(), policies, draw=lambda: 1.0)


def page(request: Request, status: int = 200, location: str | None = None) -> Page:
    return Page(
        url=request.url,
        status=status,
        input=request.input,
        line=request.line,
        final_url=request.target,
        headers=(("Location", location),) if location is not None else (),
        attempts=request.attempts,
        redirects=request.redirects,
        timings=Timings(total=1.0),
    )


def start(plan: FetchScheduler, now: float = 0.0) -> Fetch:
    step = plan.next(now)
    assert isinstance(step, Fetch), step
    return step


def settle(plan: FetchScheduler, step: Fetch, outcome: Outcome, now: float = 0.0) -> None:
    plan.settle(Done(ticket=step.ticket, value=outcome), now)


def test_an_empty_list_is_finished_at_once() -> None:
    assert scheduler([]).next(0.0) is FINISHED


def test_a_page_ends_in_its_outcome_and_the_run_is_over() -> None:
    plan = scheduler(["http://a.example/x#part"])
    step = start(plan)
    assert (step.argument.url, step.argument.input, step.argument.line) == (
        "http://a.example/x",
        "http://a.example/x#part",
        1,
    )
    assert plan.next(0.0) == Wait(until=None)
    settle(plan, step, page(step.argument))
    assert [outcome.url for outcome in plan.outcomes()] == ["http://a.example/x"]
    assert plan.outcomes() == []
    assert plan.next(0.0) is FINISHED


def test_a_line_that_is_no_url_ends_with_its_number_and_text() -> None:
    plan = scheduler(["http://a.example/", "example.org/page", "ftp://a.example/", ""])
    start(plan)
    plan.next(0.0)
    failures = plan.outcomes()
    assert [(failure.url, failure.line, failure.kind) for failure in failures] == [
        ("example.org/page", 2, Kind.BAD_URL),
        ("ftp://a.example/", 3, Kind.BAD_URL),
        ("", 4, Kind.BAD_URL),
    ]
    assert "did you mean https://example.org/page" in failures[0].message
    assert "'ftp'" in failures[1].message


def test_an_url_listed_twice_is_fetched_once_and_counted() -> None:
    plan = scheduler(["http://a.example/", "HTTP://A.example:80/#top", "http://a.example/other"])
    assert [start(plan).argument.url, start(plan).argument.url] == ["http://a.example/", "http://a.example/other"]
    assert isinstance(plan.next(0.0), Wait)
    assert (plan.offered, plan.duplicates) == (3, 1)


def test_duplicates_are_kept_on_demand() -> None:
    plan = scheduler(["http://a.example/"] * 2, keep_duplicates=True)
    assert start(plan).argument.url == start(plan).argument.url
    assert plan.duplicates == 0


def test_no_host_gets_more_than_its_width_and_others_go_first() -> None:
    plan = scheduler([*(f"http://a.example/{n}" for n in range(5)), "http://b.example/"], per_host=2)
    assert [start(plan).argument.url for _ in range(3)] == [
        "http://a.example/0",
        "http://a.example/1",
        "http://b.example/",
    ]
    assert plan.next(0.0) == Wait(until=None)


def test_a_delay_is_kept_between_starts_to_one_host() -> None:
    plan = scheduler([f"http://a.example/{n}" for n in range(3)], delay=10.0)
    settle(plan, step := start(plan, 100.0), page(step.argument), 100.5)
    assert plan.next(100.5) == Wait(until=110.0)
    assert start(plan, 110.0).argument.url == "http://a.example/1"
    assert plan.next(110.0) == Wait(until=120.0)


@pytest.mark.parametrize("delay", [0.0, 5.0])
def test_hosts_that_are_done_with_are_forgotten(delay: float) -> None:
    plan = scheduler([f"http://h{number}.example/" for number in range(100)], delay=delay)
    for number in range(100):
        settle(plan, step := start(plan, number * 10.0), page(step.argument), number * 10.0)
    assert "hosts=1 " in repr(plan) or "hosts=0 " in repr(plan)


def test_a_host_is_remembered_while_its_delay_runs() -> None:
    plan = scheduler(["http://a.example/1", None, "http://a.example/2"], delay=5.0)
    settle(plan, step := start(plan, 0.0), page(step.argument), 1.0)
    assert plan.next(2.0) == Wait(until=2.0 + INPUT_PAUSE_SECONDS)
    assert plan.next(3.0) == Wait(until=5.0)
    assert start(plan, 5.0).argument.url == "http://a.example/2"


def test_an_input_with_nothing_yet_is_asked_again_soon() -> None:
    plan = scheduler([None, "http://a.example/"])
    assert plan.next(5.0) == Wait(until=5.0 + INPUT_PAUSE_SECONDS)
    assert start(plan, 5.1).argument.url == "http://a.example/"


def test_reading_ahead_for_another_host_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "LOOK_AHEAD", 5_000)
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"http://a.example/{read}"

    plan = scheduler(endless(), per_host=1)
    start(plan)
    while plan.next(0.0) != Wait(until=None):
        pass
    assert 5_000 < read <= 5_000 + READ_AT_ONCE


def test_a_redirect_goes_home_and_out_again() -> None:
    plan = scheduler(["http://a.example/old"])
    settle(plan, step := start(plan), page(step.argument, 301, "/new"))
    hop = start(plan)
    assert (hop.argument.url, hop.argument.target) == ("http://a.example/old", "http://a.example/new")
    assert hop.argument.seconds == 29.0  # the hop's second is gone from the total
    settle(plan, hop, page(hop.argument))
    (outcome,) = plan.outcomes()
    assert (outcome.url, outcome.final_url) == ("http://a.example/old", "http://a.example/new")
    assert [(one.url, one.status, one.seconds) for one in outcome.redirects] == [("http://a.example/old", 301, 1.0)]


def test_a_redirect_respects_the_width_of_its_new_host() -> None:
    plan = scheduler(["http://a.example/", "http://b.example/"], per_host=1)
    first, second = start(plan), start(plan)
    settle(plan, first, page(first.argument, 302, "http://b.example/x"))
    assert plan.next(0.0) == Wait(until=None)
    settle(plan, second, page(second.argument))
    assert start(plan).argument.target == "http://b.example/x"


def test_custom_headers_stay_with_their_origin() -> None:
    plan = scheduler(["http://a.example/"])
    settle(plan, step := start(plan), page(step.argument, 302, "/same"))
    settle(plan, step := start(plan), page(step.argument, 302, "http://a.example:8080/"))
    assert step.argument.headers == (("X-Key", "secret"),)
    assert start(plan).argument.headers == ()


def test_ten_redirects_are_followed_and_no_more() -> None:
    plan = scheduler(["http://a.example/0"])
    for number in range(11):
        settle(plan, step := start(plan), page(step.argument, 302, f"/{number + 1}"))
    (outcome,) = plan.outcomes()
    assert isinstance(outcome, Failure)
    assert (outcome.kind, len(outcome.redirects), outcome.status) == (Kind.REDIRECT, 10, 302)


@pytest.mark.parametrize(
    ("location", "kind"),
    [("ftp://b.example/", Kind.BLOCKED), ("javascript:alert(1)", Kind.BLOCKED), ("http://[", Kind.REDIRECT)],
)
def test_a_redirect_to_what_is_not_fetched_is_a_failure(location: str, kind: Kind) -> None:
    plan = scheduler(["http://a.example/"])
    settle(plan, step := start(plan), page(step.argument, 302, location))
    assert [outcome.kind for outcome in plan.outcomes()] == [kind]


def test_a_redirect_status_without_a_location_is_a_page() -> None:
    plan = scheduler(["http://a.example/"])
    settle(plan, step := start(plan), page(step.argument, 304))
    assert [outcome.status for outcome in plan.outcomes()] == [304]


def test_credentials_in_an_url_become_a_header_and_leave_the_records() -> None:
    plan = scheduler(["http://user:p%40ss@a.example/x"])
    request = start(plan).argument
    assert (request.url, request.target, request.input) == ("http://a.example/x",) * 3
    assert ("Authorization", "Basic dXNlcjpwQHNz") in request.headers


def test_a_passing_failure_is_tried_again_later() -> None:
    plan = scheduler(["http://a.example/"], retries=2)
    settle(plan, step := start(plan), page(step.argument, 503), now=7.0)
    assert plan.outcomes() == []
    assert plan.next(7.0) == Wait(until=7.5)
    again = start(plan, 7.5)
    assert again.argument.attempts == 2
    plan.settle(Done(ticket=again.ticket, fault=Fault(kind=Kind.WORKER_LOST, message="gone")), 8.0)
    settle(plan, step := start(plan, 9.0), page(step.argument, 404))
    assert [(outcome.status, outcome.attempts) for outcome in plan.outcomes()] == [(404, 3)]
    assert plan.retried == 2


def test_retries_end() -> None:
    plan = scheduler(["http://a.example/"], retries=1)
    settle(plan, step := start(plan), page(step.argument, 503))
    settle(plan, step := start(plan, 1.0), page(step.argument, 503))
    assert [(outcome.status, outcome.attempts) for outcome in plan.outcomes()] == [(503, 2)]
    assert plan.next(2.0) is FINISHED


def test_stop_lets_what_is_under_way_come_home_and_starts_nothing() -> None:
    plan = scheduler(["http://a.example/1", "http://a.example/2"])
    step = start(plan)
    plan.stop()
    assert plan.next(0.0) == Wait(until=None)
    settle(plan, step, page(step.argument))
    assert len(plan.outcomes()) == 1
    assert plan.next(0.0) is FINISHED


hosts = st.integers(0, 5)
lists = st.lists(st.tuples(hosts, st.integers(0, 30)), max_size=60)


@settings(max_examples=200, deadline=None)
@given(lists, st.integers(0, 3), st.sampled_from([0.0, 0.5, 3.0]), st.integers(0, 2), st.randoms(use_true_random=False))
def test_whatever_happens_every_url_ends_once_and_hosts_are_spared(
    pages: list[tuple[int, int]], per_host: int, delay: float, retries: int, chance: object
) -> None:
    """Simulated hosts answer after random times with pages, errors and redirects to each other."""
    draw = chance.random  # type: ignore[attr-defined]
    plan = scheduler(
        [f"http://h{host}.example/{number}" for host, number in pages], per_host=per_host, delay=delay, retries=retries
    )
    now, ends = 0.0, []
    under_way: list[tuple[float, int, Fetch]] = []
    active: Counter[str] = Counter()
    last_start: dict[str, float] = defaultdict(lambda: -1e9)
    while (step := plan.next(now)) is not FINISHED:
        ends += plan.outcomes()
        if isinstance(step, Fetch):
            host = origin(step.argument.target)
            active[host] += 1
            assert per_host == 0 or active[host] <= per_host
            assert now - last_start[host] >= delay - 1e-9  # floats
            last_start[host] = now
            heapq.heappush(under_way, (now + draw() * 5, step.ticket, step))
            continue
        ready = under_way[0][0] if under_way else float("inf")
        until = step.until if step.until is not None else float("inf")
        assert min(ready, until) < float("inf"), "it waits for ever"
        now = max(now, min(ready, until))
        if ready <= now:
            _, _, back = heapq.heappop(under_way)
            active[origin(back.argument.target)] -= 1
            status = 200 if draw() < 0.5 else 503
            moved = f"http://h{int(draw() * 6)}.example/moved" if draw() < 0.3 else None
            settle(plan, back, page(back.argument, 302 if moved else status, moved), now)
    ends += plan.outcomes()
    assert Counter(outcome.url for outcome in ends) == Counter(
        {f"http://h{host}.example/{number}" for host, number in pages}
    )
    assert plan.offered == len(pages) == len(ends) + plan.duplicates
    assert plan.in_flight == 0


def test_other_credentials_are_another_request() -> None:
    plan = scheduler(
        ["http://u1:p@a.example/", "http://u2:p@a.example/", "http://a.example/", "http://u1:p@a.example/"]
    )
    steps = [start(plan), start(plan), start(plan)]
    assert len({step.argument.headers for step in steps}) == 3
    assert isinstance(plan.next(0.0), Wait)
    assert plan.duplicates == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://a.example/page\tlabel", "a tab"),
        ("http://a.example/\rhttp://b.example/", "line break"),
        ("http://a.example/\udce9", "UTF-8"),
    ],
    ids=["table", "old Mac", "Latin-1"],
)
def test_a_line_that_holds_more_than_an_url_is_refused(text: str, says: str) -> None:
    plan = scheduler([text])
    assert plan.next(0.0) is FINISHED
    (failure,) = plan.outcomes()
    assert (failure.kind, failure.attempts) == (Kind.BAD_URL, 0)
    assert says in failure.message
    failure.url.encode()
