"""Several workers are as one: the same outcomes, counts and manners, under every engine inside and every list."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from pathlib import Path
from typing import Any

import fleet_jobs
import pytest
from fleet_watch import End, Truth, ends, folders_in, reached, wait_until, workers

import cormorant
from cormorant.errors import EngineLost, UsageError
from cormorant.messages import Outcome
from rude import Rude
from rude.crawling import ROBOTS

pytestmark = [pytest.mark.usefixtures("tidy"), pytest.mark.timeout(120)]

ENGINES = ("serial", "thread", "greenlet", "gevent", "asyncio")
UNHURRIED: dict[str, Any] = {"delay": 0.0, "per_host": 0, "breaker": 0, "retries": 0}


# --- the same outcomes ---


@pytest.fixture(scope="module")
def motley(truth: Truth, rude: Rude) -> list[str]:
    """Return a list with all that lists have: bad lines, duplicates, redirects over hosts, secrets, foreign letters."""
    port = rude.url("").rpartition(":")[2]
    lines = truth.urls[:240]
    lines += [*lines[:20], lines[3].replace("http://", "HTTP://") + "#part", f"  {lines[4]}  "]
    lines += ["no url", "ftp://a.example/", "http://", "mailto:a@b.example", "http://[::1", ""]
    lines += [f"http://user:password@127.0.0.{host}:{port}/auth" for host in range(1, 5)]
    lines += [f"http://user:wrong@127.0.0.2:{port}/auth", rude.url("/auth")]
    lines += [rude.url("/ok/größe?q=straße"), rude.url("/ok/日本語"), rude.url("/ok/\udcff\udcfe"), "http://b\udcffd/"]
    lines += [rude.url(f"/redir/{hops}", f"127.0.0.{host}") for host in range(1, 6) for hops in (1, 3)]
    lines += [rude.url("/redir/loop"), rude.url("/redir/ever"), rude.url("/redir?to=http://no-such-host.invalid/")]
    lines += [f"http://127.0.0.{host}:{port}/away/127.0.0.{host + 1}/away/127.0.0.{host}/ok/back" for host in (1, 4)]
    lines += [rude.url("/status/404"), rude.url("/status/500"), rude.url("/cut/100"), rude.url("/gzip/ok")]
    lines += ["http://127.0.0.1:9/refused", "http://no-such-host.invalid/1", "http://bücher.invalid/"]
    return lines


@pytest.mark.parametrize("keep", [False, True], ids=["once", "as often as listed"])
def test_a_list_ends_the_same_under_any_number_of_workers(motley: list[str], keep: bool) -> None:
    def fetched(number: int | None) -> Counter[End]:
        return ends(cormorant.fetch(motley, workers=number, keep_duplicates=keep, parse=fleet_jobs.length, **UNHURRIED))

    alone = fetched(None)
    assert alone.total() > 270
    assert any(len(hops) > 1 for *_, hops, _ in alone)
    for number in (1, 2, 4):
        assert fetched(number) == alone


@pytest.mark.parametrize("engine", ENGINES)
def test_any_engine_runs_inside(truth: Truth, engine: str) -> None:
    if engine == "gevent":
        pytest.importorskip("gevent")
    urls = [url for url in truth.urls[:60] if url != truth.url(0)]
    alone = ends(cormorant.fetch(urls, **UNHURRIED))
    assert ends(cormorant.fetch(urls, workers=2, engine=engine, concurrency=8, **UNHURRIED)) == alone


@pytest.mark.parametrize("engine", ["process", "pool", "auto"])
@pytest.mark.parametrize("call", [cormorant.fetch, cormorant.crawl])
def test_an_engine_that_makes_no_sense_inside_is_refused_by_name(call: Any, engine: str) -> None:
    with pytest.raises(UsageError, match=rf"engine '{engine}'.*greenlet.*leave workers out"):
        list(call(["http://127.0.0.1:9/"], workers=2, engine=engine))


@pytest.mark.parametrize("scope", ["any", "domain", "host"])
def test_a_crawl_meets_the_same_pages(truth: Truth, scope: str) -> None:
    seeds = [truth.url(0), truth.url(17), "no url", truth.url(0)]
    alone = list(cormorant.crawl(seeds, scope=scope, robots=False, **UNHURRIED))
    assert len(alone) > (400 if scope == "any" else 5)
    for number in (1, 3):
        assert reached(cormorant.crawl(seeds, scope=scope, robots=False, workers=number, **UNHURRIED)) == reached(alone)


def test_a_crawl_keeps_within_its_depth(truth: Truth) -> None:
    """A page that several lead to is as deep as who found it first, in one worker, too: so the bounds, not equality."""

    def depths(number: int | None) -> Counter[int]:
        found = cormorant.crawl([truth.url(0)], scope="any", depth=3, robots=False, workers=number, **UNHURRIED)
        return Counter(one.found.depth for one in found if one.found is not None)

    alone, fleet = depths(None), depths(2)
    assert set(fleet) == set(alone) == {0, 1, 2, 3}
    assert fleet[0] == alone[0] == 1
    assert fleet[1] == alone[1]


def test_a_longer_way_within_one_shard_is_not_found_first(rude: Rude) -> None:
    """Mail between shards takes longer than a page: so all mail does where depth counts."""

    foot = rude.url("/ladder/0")
    rude.url("/ladder/3", "127.0.0.2")  # it is there, too

    def depths(number: int | None) -> dict[str, int]:
        found = cormorant.crawl([foot], scope="any", depth=7, robots=False, workers=number, **UNHURRIED)
        return {one.url: one.found.depth for one in found if one.found is not None}

    alone = depths(None)
    assert max(int(url.rpartition("/")[2]) for url in alone) == 21
    assert depths(1) == depths(2) == alone


SITEMAPPED = ROBOTS["maps"]


def test_a_crawl_reads_robots_and_sitemaps_as_one_worker_does(rude: Rude) -> None:
    seeds = [rude.url("/web/home", ROBOTS[name]) for name in ("plain", "maps", "all", "missing", "elsewhere")]
    words: dict[str, Any] = {"sitemaps": True, "delay": 0.0, "retries": 0}
    alone = reached(cormorant.crawl(seeds, **words))
    rude.clear_log()
    assert reached(cormorant.crawl(seeds, workers=3, **words)) == alone
    asked = Counter((hit.host, hit.path) for hit in rude.log())
    assert any("/ok/packed" in url for url, *_ in alone)
    hosts = ("plain", "maps", "missing", "elsewhere")
    robots = {ROBOTS[name]: asked[rude.url("", ROBOTS[name]).removeprefix("http://"), "/robots.txt"] for name in hosts}
    assert robots == {ROBOTS[name]: 1 for name in hosts}


def test_the_books_are_those_of_one_worker(truth: Truth, rude: Rude) -> None:
    """Counts that no race decides: of a list all, of a crawl within one host whose redirects stay out."""
    from cormorant.fleet.launch import open_fleet
    from cormorant.fleet.wanted import Output, Wanted
    from cormorant.frontier.job_lists import Position
    from cormorant.listed import Listed
    from cormorant.opening import open_crawl

    seeds = [rude.url("/maze/0", f"127.0.40.{host}") for host in (1, 3, 41, 42)] * 2 + ["no url"]
    words: dict[str, Any] = {"delay": 0.0, "retries": 0, "depth": 3, "exclude": ["7$"], "per_host": 0}
    worker = open_crawl(list(zip(seeds, itertools.count(1), strict=False)), words)
    fleet = open_fleet(Listed(seeds, Position()), words, Wanted(workers=3), Output(), is_crawl=True, streams=True)
    assert len(list(worker.run())) == len(list(fleet.run()))
    one, many = worker.statistics(), fleet.statistics()
    names = (
        "offered",
        "duplicates",
        "done",
        "ok",
        "http_errors",
        "failed",
        "statuses",
        "left_out",
        "services",
        "bytes",
    )
    assert {name: getattr(many, name) for name in names} == {name: getattr(one, name) for name in names}
    assert one.duplicates == 4
    assert sum(one.left_out.values()) > 10
    assert many.not_reached == one.not_reached == many.in_flight == 0
    assert many.input_ended


# --- functions ---


def test_a_function_runs_in_the_workers(truth: Truth) -> None:
    pages = list(cormorant.fetch(truth.urls[:60], workers=2, parse=fleet_jobs.process_of, **UNHURRIED))
    processes = {page.data for page in pages if page.ok}
    assert len(processes) == 2
    assert __import__("os").getpid() not in processes


def test_a_function_that_raises_fails_its_page_alone(truth: Truth) -> None:
    alone = ends(cormorant.fetch(truth.urls[:60], parse=fleet_jobs.refuse, **UNHURRIED))
    assert ends(cormorant.fetch(truth.urls[:60], workers=2, parse=fleet_jobs.refuse, **UNHURRIED)) == alone
    assert any(kind == "callback" for _, _, _, kind, *_ in alone)


def test_a_result_that_cannot_travel_fails_its_page_alone(truth: Truth) -> None:
    """As under engine process: what a page gives cannot be handed over, and it says so."""
    pages = {one.url: one for one in cormorant.fetch(truth.urls[:40], workers=2, parse=fleet_jobs.lock, **UNHURRIED)}
    assert set(pages) == set(truth.urls[:40])
    failed = [one for one in pages.values() if isinstance(one, cormorant.Failure)]
    assert {str(one.kind) for one in failed} == {"callback"}
    assert all("cannot travel" in one.message and one.url.endswith("3") for one in failed)
    assert len(failed) > 2


def test_an_async_function_is_awaited_under_asyncio(truth: Truth) -> None:
    words = UNHURRIED | {"workers": 2, "engine": "asyncio"}
    pages = list(cormorant.fetch(truth.urls[1:30], parse=fleet_jobs.awaited_length, **words))
    assert all(page.data == len(page.body) for page in pages if page.ok)


def test_a_function_that_cannot_travel_is_refused_with_the_fix() -> None:
    with pytest.raises(
        UsageError, match=r"cannot travel.*define it at the top level of a module, or leave workers out"
    ):
        list(cormorant.fetch(["http://127.0.0.1:9/"], workers=2, parse=lambda page: page.status))


def test_a_function_that_is_nowhere_to_be_imported_ends_the_run_soon(tmp_path: Path, tidy: Path) -> None:
    """Its module was there when it was imported here, and is not any more."""
    import sys

    (tmp_path / "fleeting.py").write_text("def parse(page):\n    return 1\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import fleeting  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(tmp_path))
    began = time.monotonic()
    with pytest.raises(EngineLost, match="fleeting"):
        list(cormorant.fetch(["http://127.0.0.1:9/"] * 3, workers=2, parse=fleeting.parse))
    assert time.monotonic() - began < 20
    assert not workers()


# --- what cannot be kept ---


def test_a_budget_too_small_to_divide_is_refused_with_the_fix() -> None:
    with pytest.raises(UsageError, match="--per-host 4"):
        list(cormorant.fetch(["http://127.0.0.1:9/"], workers=4, split="url", per_host=2))


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ({"workers": 0}, "give 1 to"),
        ({"shards": 3}, "give workers"),
        ({"workers": 2, "shards": 0}, "give 1 to"),
        ({"workers": 2, "split": "path"}, "domain, host, address, url"),
        ({"workers": 2, "polite_by": "address"}, "use split address"),
        ({"workers": 2, "split": "address"}, "give polite_by='address', too"),
        ({"workers": 2, "polite_by": "domain", "split": "host"}, "use split domain"),
        ({"workers": 2, "merge": True}, "name one, such as"),
        ({"workers": 2, "merge": True, "output": "pages/"}, "name one, such as"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, dict) else "",
)
def test_what_cannot_be_is_refused_with_the_fix(words: dict[str, Any], fix: str) -> None:
    with pytest.raises(UsageError, match=fix):
        list(cormorant.fetch(["http://127.0.0.1:9/"], **words))


# --- how a run is let go ---


def test_a_break_leaves_nobody_and_nothing(truth: Truth, tidy: Path) -> None:
    for _ in cormorant.fetch(truth.urls, workers=2, concurrency=4, **UNHURRIED):
        assert workers()
        assert folders_in(tidy)
        break
    assert not workers()
    assert not folders_in(tidy)


def test_a_run_that_nobody_looks_at_starts_nothing(truth: Truth, tidy: Path, tmp_path: Path) -> None:
    run = cormorant.fetch(truth.urls, workers=2, job=str(tmp_path / "job"))
    assert not workers()
    assert not folders_in(tidy)
    del run
    assert len(list(cormorant.fetch(truth.urls[:5], workers=2))) == 5
    assert not (tmp_path / "job" / "lock").exists()


def test_a_job_left_by_break_goes_on_with_any_number(truth: Truth, tmp_path: Path) -> None:
    """What was handed over just before comes again; in the output each page is once."""
    output = str(tmp_path / "pages.jsonl")
    met: set[str] = set()
    for number, most in ((2, 100), (3, 150), (None, 10_000)):
        run = cormorant.fetch(truth.urls, workers=number, job=str(tmp_path / "job"), output=output, **UNHURRIED)
        met |= {one.url for one in itertools.islice(run, most)}
        run.close()
    assert met == set(truth.urls)
    assert Counter(one.url for one in cormorant.read(output)) == Counter(truth.urls)


def test_an_error_in_the_loop_leaves_nobody(truth: Truth, tidy: Path) -> None:
    def work() -> None:
        for _ in cormorant.fetch(truth.urls, workers=2, **UNHURRIED):
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        work()
    wait_until(lambda: not workers() and not folders_in(tidy))


def test_a_caller_that_takes_its_time_loses_nothing(truth: Truth) -> None:
    """Workers have more done than there is credit for, and wait."""
    run = cormorant.fetch(truth.urls, workers=2, **UNHURRIED)
    some = list(itertools.islice(run, 3))
    time.sleep(0.25)
    assert len(some) + sum(1 for _ in run) == len(truth.urls)


# --- inside an event loop ---


def late_of(run: Any) -> tuple[list[Outcome], float]:
    """Collect a run inside an event loop; returns it, and how late the loop was at most."""

    async def collect() -> tuple[list[Outcome], float]:
        latest = 0.0

        async def tick() -> None:
            nonlocal latest
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.01)
                latest = max(latest, time.monotonic() - before - 0.01)

        ticking = asyncio.ensure_future(tick())
        outcomes = [one async for one in run()]
        ticking.cancel()
        return outcomes, latest

    return asyncio.run(collect())


@pytest.mark.parametrize("engine", ["asyncio", "thread"])
def test_a_fleet_runs_beside_an_event_loop(rude: Rude, engine: str) -> None:
    """Three seconds of pages: a loop that were held while workers are waited for would be as late."""
    urls = [rude.url("/slow/0.7"), *(rude.url(f"/ok/{number}", f"127.0.0.{1 + number % 9}") for number in range(40))]
    outcomes, latest = late_of(lambda: cormorant.afetch(urls, workers=2, engine=engine))
    assert len(outcomes) == len(urls)
    assert latest < 0.5


def test_a_crawl_runs_beside_an_event_loop(truth: Truth) -> None:
    words = UNHURRIED | {"scope": "any", "depth": 4, "robots": False}
    outcomes, _ = late_of(lambda: cormorant.acrawl([truth.url(0)], workers=2, **words))
    assert len(outcomes) > 10


def test_leaving_the_loop_early_leaves_nobody(truth: Truth, tidy: Path) -> None:
    async def first() -> Outcome:
        run = cormorant.afetch(truth.urls, workers=2, **UNHURRIED)
        async for one in run:
            await run.aclose()
            return one
        raise AssertionError

    assert asyncio.run(first()).url
    assert not workers()
    assert not folders_in(tidy)


# --- the output ---


@pytest.mark.parametrize(
    "name", ["pages.jsonl", "pages.warc.gz", "pages.parquet", "pages.sqlite", "pages.csv", "pages/"]
)
@pytest.mark.parametrize("merge", [False, True], ids=["parts", "merged"])
def test_the_parts_are_read_as_one(truth: Truth, tmp_path: Path, name: str, merge: bool) -> None:
    if merge and name == "pages/":
        pytest.skip("a folder is one output already")
    output = str(tmp_path / name) + ("/" if name.endswith("/") else "")
    urls = truth.urls[:80]
    handed = list(cormorant.fetch(urls, workers=2, output=output, merge=merge, **UNHURRIED))
    back = list(cormorant.read(output))
    assert Counter(one.url for one in back) == Counter(one.url for one in handed) == Counter(urls)
    if name != "pages.csv":  # which holds no bodies
        assert Counter((one.url, one.status, one.body) for one in back if one.ok) == Counter(
            (one.url, one.status, one.body) for one in handed if one.ok
        )
    parts = [one.name for one in tmp_path.iterdir() if "-s00" in one.name]
    assert bool(parts) is (not merge and name != "pages/")


def test_fewer_shards_than_before_leave_nothing_stale(truth: Truth, tmp_path: Path) -> None:
    output = str(tmp_path / "pages.jsonl")
    list(cormorant.fetch(truth.urls[:40], workers=2, shards=9, output=output, **UNHURRIED))
    with pytest.raises(UsageError, match="overwrite"):
        list(cormorant.fetch(truth.urls[:5], workers=2, shards=2, output=output, **UNHURRIED))
    assert len(list(cormorant.read(output))) == 40
    list(cormorant.fetch(truth.urls[:5], workers=2, shards=2, output=output, overwrite=True, **UNHURRIED))
    assert len(list(cormorant.read(output))) == 5
    with pytest.raises(UsageError, match="overwrite"):  # by one worker, beside the parts
        list(cormorant.fetch(truth.urls[:5], output=output, **UNHURRIED))
