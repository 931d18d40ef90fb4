"""The scheduler with a journal, on a clock moved by hand: a run that is cut, over and over, ends as one that was not.

What is cut is a run as the worker makes it: real `Commits` of a real `Job`, over an output that lies in memory and is
cut back as a file would be. It is killed (nothing more is written), stopped (drained, then committed) or left (the
caller breaks out of its loop in the middle of a round).
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from simulated import Web, broken, entries, leading, page

from cormorant.commits import Commits
from cormorant.frontier.crawl import CrawlFrontier
from cormorant.frontier.memory import MemoryFrontier
from cormorant.interfaces import Committed, Frontier, Part
from cormorant.jobs import SCHEDULER, Job
from cormorant.listed import Listed
from cormorant.messages import Harvest, Kind, Lead, LeftOut, Outcome, Purpose, Request
from cormorant.policies.breaker import Breaker
from cormorant.policies.following import Following
from cormorant.policies.politeness import Politeness
from cormorant.policies.redirects import Redirects
from cormorant.policies.retries import Retries
from cormorant.policies.robots import Robots
from cormorant.policies.scope import Scope
from cormorant.scheduler.discovery import Discovery
from cormorant.scheduler.fetch import FetchScheduler
from cormorant.scheduler.settings import FetchPolicies

RAM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # what a sync costs is not looked at here
GAP, CRAWL_DELAY = 2.0, 7.0
HOSTS = 3
SLOW = "http://h1.example"  # it asks for CRAWL_DELAY, names a sitemap and refuses some pages
ROBOTS = f"User-agent: *\nCrawl-delay: {CRAWL_DELAY:g}\nDisallow: /refused\nSitemap: {SLOW}/map.xml\n".encode()
OURS = (("Authorization", "Basic secret"),)  # for the seeds' own hosts alone
WIDE = Scope()
WAYS_TO_END = ("killed", "stopped", "left")


# --- a web ---


def url(number: int) -> str:
    return f"http://h{number % HOSTS}.example/{number}"


class World(NamedTuple):
    """What each page is, where it leads, and a list of some. `is_crawl`: links are followed."""

    kinds: list[str]
    links: list[list[int]]
    lines: list[int]
    is_crawl: bool

    def texts(self) -> list[str]:
        """Return the list: some lines are there twice, some are no URL."""
        return ["no url" if number < 0 else url(number % len(self.kinds)) for number in self.lines]

    def answer(self, request: Request) -> Any:
        """Answer a request; the same request is always answered alike."""
        if request.purpose is Purpose.ROBOTS:
            known = page(request, body=ROBOTS) if request.target.startswith(SLOW) else page(request, 404)
            return msgspec.structs.replace(known, fetched_at=time.time())
        if request.purpose is Purpose.SITEMAP:
            return Harvest(outcome=page(request), leads=(Lead(url=f"{SLOW}/listed"), Lead(url=f"{SLOW}/refused/1")))
        name = request.target.rpartition("/")[2]
        if not name.isdigit() or "/moved/" in request.target:
            return page(request)
        number = int(name)
        links = [url(link % len(self.kinds)) for link in self.links[number]]
        match self.kinds[number]:
            case "gone":
                return page(request, 404)
            case "dead":
                return broken(request, Kind.TIMEOUT, "late")
            case "tired" if request.attempts == 1:
                return page(request, 503)
            case "moved":  # to a place that nothing else leads to: else it hangs on the order who gets there
                host = url(number + 1).rpartition("/")[0]
                return page(request, 301, location=f"{host}/moved/{number}")
            case "astray":
                return page(request, 302, location="http://elsewhere.example/")
        others = (f"http://h{number}.stranger.example/", f"{SLOW}/refused/{number % 2}")
        return leading(request, *links, *others, left_out=number % 3)


KINDS = ("page", "page", "page", "gone", "dead", "tired", "moved", "astray")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a web of a few pages."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=9))
    links = [draw(st.lists(st.integers(0, 8), max_size=3)) for _ in kinds]
    lines = draw(st.lists(st.integers(-1, 8), min_size=1, max_size=9))
    return World(kinds, links, lines, draw(st.booleans()))


class Cut(NamedTuple):
    """How a run ends: after so many steps, in which way, and how long after that the next one begins (seconds)."""

    steps: int
    way: str
    pause: float


cuts = st.lists(
    st.builds(Cut, st.integers(1, 60), st.sampled_from(WAYS_TO_END), st.sampled_from((0.0, 0.5, 100.0))), max_size=4
)


# --- a run of a job ---


def plan_of(world: World, lines: Any, frontier: Frontier, scope: Scope, seed: int) -> FetchScheduler:
    policies = FetchPolicies(
        politeness=Politeness(per_host=1, delay=GAP),
        retries=Retries(limit=1),
        redirects=Redirects(),
        breaker=Breaker(limit=0),
        robots=Robots() if world.is_crawl else None,
        robots_token="cormorant",
        seconds=30.0,
        headers=OURS,
        keep_duplicates=False,
    )
    discovery = Discovery(scope, Following(sitemaps=True), frontier, OURS, 30.0) if world.is_crawl else None
    plan = FetchScheduler(lines, frontier, policies, discovery, random.Random(seed).random)
    plan.reports_left_out = True
    return plan


class Output:
    """Records in memory, of which a sync says how many are kept. A lazy one keeps none until it is full."""

    def __init__(self, records: list[Any], lazy: bool = False) -> None:
        self.records, self.lazy = records, lazy

    def go_on(self, committed: Committed | None) -> None:
        """Cut it back to what was committed."""
        del self.records[committed.parts[0].length if committed is not None and committed.parts else 0 :]

    def sync(self, complete: bool = False) -> Committed | None:
        if self.lazy and not complete and len(self.records) % 3:
            return None
        return Committed((Part("out", len(self.records), False),))

    def write(self, record: Any) -> None:
        self.records.append(record)

    def flush(self) -> None: ...

    close = flush


class Over(Exception):
    """The run is cut here."""


class Run:
    """Stands before the scheduler, where the pump would ask it, and does what the worker does with outcomes."""

    def __init__(self, folder: Path, world: World, out: Output, told: Output, scope: Scope, now: float) -> None:
        self.now, self.steps_left, self.way = now, 1 << 30, ""
        self.out, self.told = out, told
        self.job = Job.open(folder, {"command": "test"})
        out.go_on(self.job.committed)
        told.go_on(self.job.beside("told"))
        lines = Listed(world.texts(), self.job.position)
        journal = self.job.frontier(OURS, 30.0)
        self.plan = plan_of(world, lines, journal, scope, seed=int(now))
        self.plan.go_on(journal, self.job.counters(SCHEDULER), now, time.time(), self.job.is_first)
        self.commits = Commits(self.job, self.plan.counters, lambda: lines.position, lambda: self.now)
        self.commits.save_to(out)
        self.commits.keep_beside("told", told)  # type: ignore[arg-type]

    def next(self, now: float) -> Any:
        self.now = now
        self.steps_left -= 1
        if self.steps_left < 0 and self.way == "killed":
            raise Over
        if self.steps_left < 0 and self.way == "stopped":
            self.plan.stop()
        return self.plan.next(now)

    def outcomes(self) -> list[Outcome]:
        ended = self.plan.outcomes()
        for outcome in ended:
            self.out.write(outcome)
            self.commits.count(outcome)
            if self.steps_left < 0 and self.way == "left":
                self.last()
                raise Over
        self._tell()
        self.commits.after_round()
        return ended

    def settle(self, done: Any, now: float) -> None:
        self.now = now
        self.plan.settle(done, now)

    def last(self) -> None:
        self._tell()
        self.commits.last()

    def _tell(self) -> None:
        for one in self.plan.take_left_out():
            self.told.write(one)


class Course(NamedTuple):
    """What came of a job: records, what was left out, counters, and the books of the servers."""

    outcomes: list[Outcome]
    left_out: list[LeftOut]
    counters: dict[str, Any]
    ends: dict[str, Any]
    books: list[tuple[float, float, str, Request]]
    left: int


def in_lives(world: World, lives: list[Cut], width: int = 100, lazy: bool = False, scope: Scope = WIDE) -> Course:
    """Run a job that is cut so often, and then to its end."""
    out, told = Output([], lazy), Output([])
    books: list[tuple[float, float, str, Request]] = []
    now = 0.0
    with tempfile.TemporaryDirectory(dir=RAM) as folder:
        for cut in (*lives, None):
            run = Run(Path(folder, "job"), world, out, told, scope, now)
            if cut is not None:
                run.steps_left, run.way = cut.steps, cut.way
            web = Web(run, world.answer, width=width)  # type: ignore[arg-type]
            web.now = now
            try:
                web.run()
                run.last()
            except Over:
                pass
            run.job.close()  # nothing is written here: what is not committed is gone
            books += web.books
            now = web.now + (cut.pause if cut is not None else 0.0)
        assert run.job.journal is not None
        assert not run.job.journal.left
        counters, ends = run.plan.counters(), msgspec.to_builtins(run.commits.tally)
        return Course(out.records, told.records, counters, ends, books, Job.look(Path(folder, "job")).left)


def uncut(world: World) -> Course:
    """Run the same without a job."""
    plan = plan_of(world, entries(world.texts()), CrawlFrontier() if world.is_crawl else MemoryFrontier(), WIDE, seed=0)
    web = Web(plan, world.answer).run()
    return Course(web.ends, plan.take_left_out(), plan.counters(), {}, web.books, 0)


def named(outcomes: list[Outcome]) -> Counter[Any]:
    return Counter((one.url, one.line, str(one.kind or one.status), one.final_url) for one in outcomes)


def told_of(left_out: list[LeftOut]) -> Counter[Any]:
    return Counter((one.url, one.reason) for one in left_out)


def least_gap(course: Course, host: str | None = None, pages_alone: bool = False) -> float:
    web = Web(None, None)  # type: ignore[arg-type]
    web.books = [
        entry
        for entry in course.books
        if host in (None, entry[2]) and not (pages_alone and entry[3].purpose is Purpose.ROBOTS)
    ]
    return web.least_gap()


# --- the same in the end ---

HAND_MADE = World(
    kinds=["page", "moved", "tired", "dead", "page", "page", "astray"],
    links=[[1, 2, 3], [], [4], [], [0, 5], [6], []],
    lines=[0, -1, 4, 2, 0, -1],
    is_crawl=True,
)


def check(world: World, lives: list[Cut], lazy: bool) -> None:
    """Check that a run that is cut so often ends as one that is not."""
    whole, course = uncut(world), in_lives(world, lives, lazy=lazy)
    assert named(course.outcomes) == named(whole.outcomes)
    assert told_of(course.left_out) == told_of(whole.left_out)
    for name in ("offered", "duplicates", "input_ended", "found", "left_out"):
        assert course.counters.get(name) == whole.counters.get(name), name
    kinds = Counter(one.kind.value for one in whole.outcomes if one.kind is not None)
    assert (course.ends["ok"], course.ends["failed"]) == (sum(one.ok for one in whole.outcomes), kinds)
    assert (course.left, course.ends["http_errors"]) == (0, len(whole.outcomes) - course.ends["ok"] - kinds.total())
    for name in ("redirected", "retried", "services"):  # what was under way is made, and counted, again
        assert course.counters[name] >= whole.counters[name]
    assert all(request.headers == OURS for *_, request in course.books if not request.redirects)


@settings(max_examples=30, deadline=None)
@given(worlds(), cuts, st.booleans())
@example(HAND_MADE, [Cut(3 + 5 * number, "killed", 0.0) for number in range(10)], False)
def test_a_run_that_is_cut_ends_as_one_that_is_not(world: World, lives: list[Cut], lazy: bool) -> None:
    check(world, lives, lazy)


@pytest.mark.parametrize("is_crawl", [False, True], ids=["list", "crawl"])
@pytest.mark.parametrize("way", WAYS_TO_END)
def test_a_run_may_be_cut_at_any_step(way: str, is_crawl: bool) -> None:
    for steps in range(1, 30):
        check(HAND_MADE._replace(is_crawl=is_crawl), [Cut(steps, way, 0.0)], lazy=bool(steps % 2))


@settings(max_examples=20, deadline=None)
@given(worlds(), cuts, st.sampled_from((1, 2, 100)))
def test_no_host_is_asked_within_its_gap_when_a_run_goes_on(world: World, lives: list[Cut], width: int) -> None:
    course = in_lives(world, lives, width)
    assert least_gap(course) >= GAP


LONG = World(kinds=["page"] * 9, links=[[]] * 9, lines=[0, 3, 6, 1, 4], is_crawl=False)


def test_a_host_is_spared_that_only_what_is_unread_knows_of() -> None:
    course = in_lives(LONG, [Cut(1, "stopped", 0.0), Cut(3, "stopped", 0.0)], width=1)
    assert least_gap(course) >= GAP


@pytest.mark.parametrize("way", WAYS_TO_END)
def test_a_crawl_delay_holds_when_a_run_goes_on(way: str) -> None:
    world = World(kinds=["page"] * 9, links=[[1, 4, 7]] * 9, lines=[1], is_crawl=True)
    for steps in range(1, 12):
        course = in_lives(world, [Cut(steps, way, 0.0)])
        assert least_gap(course, SLOW, pages_alone=True) >= CRAWL_DELAY, steps
        asked = Counter(request.target for *_, request in course.books if request.purpose is Purpose.ROBOTS)
        assert max(asked.values()) == 1 or way == "killed"


# --- budgets ---


@settings(max_examples=20, deadline=None)
@given(worlds(), cuts, st.booleans(), st.integers(1, 5), st.integers(1, 3))
@example(World(["page"] * 7, HAND_MADE.links, [0, 1, 2, 4, 5], True), [Cut(10, "killed", 0.0)], True, 2, 2)
def test_budgets_hold_over_the_whole_job(
    world: World, lives: list[Cut], lazy: bool, most: int, most_of_a_host: int
) -> None:
    world = world._replace(is_crawl=True, kinds=["page" if kind == "astray" else kind for kind in world.kinds])
    scope = Scope(max_pages=most, max_pages_per_host=most_of_a_host)
    course = in_lives(world, lives, lazy=lazy, scope=scope)
    asked = [one for one in course.outcomes if one.kind not in (Kind.BAD_URL, Kind.BLOCKED)]
    assert len(asked) <= most
    assert max(Counter(one.url.rpartition("/")[0] for one in asked).values(), default=0) <= most_of_a_host
    assert max(Counter(one.url for one in course.left_out).values(), default=1) == 1
    counters = course.counters
    left_out = sum(counters["left_out"].values())
    assert left_out - counters["left_out"].get("links a page", 0) == len(
        course.left_out
    )  # those are not told one by one
    ends = counters["duplicates"] + left_out + len(course.outcomes)
    assert counters["offered"] + counters["found"] == ends
