"""The journal: what stands after a commit, what is gone without one, and what must not be lost or doubled."""

from __future__ import annotations

import sqlite3
import tempfile
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant import urls
from cormorant.errors import OutputError, UsageError
from cormorant.frontier import job_seen, job_store, seen
from cormorant.frontier.crawl import CrawlFrontier
from cormorant.frontier.job_ends import ENDS, OPEN, code_of
from cormorant.frontier.job_state import OUTCOMES, read_state, reopen
from cormorant.frontier.job_store import Store
from cormorant.frontier.journal import Journal
from cormorant.interfaces import Committed, Frontier, Part, RobotsAnswer
from cormorant.messages import Failure, Found, Kind, Outcome, Page, Purpose, Request

HOST = "https://a.example"
DONE = Committed((Part("out.jsonl", 100, False),))
HEADERS = (("User-Agent", "cormorant"),)


class Life:
    """A journal that can be left as a killed process leaves it, and taken up again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder)
        self.journal = Journal(self.store, HEADERS, 12.0)

    def again(self) -> Journal:
        """Lose all that is not committed."""
        self.store.close()
        self.store = Store(self.folder)
        self.journal = Journal(self.store, HEADERS, 12.0)
        return self.journal

    def offer(self, number: int, **more: typing.Any) -> Request:
        request = asking(number, **more)
        assert self.journal.is_new(request.url)
        self.journal.add(HOST, request)
        return request

    def end(self, request: Request) -> None:
        self.journal.settle(request, page(request))


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    one = Life(tmp_path)
    yield one
    one.store.close()


def asking(number: int, **more: typing.Any) -> Request:
    url = f"{HOST}/{number}"
    return Request(url=url, target=url, input=url, headers=HEADERS, seconds=12.0, **more)


def page(request: Request, status: int = 200) -> Page:
    return Page(url=request.url, status=status)


def taken(journal: Journal) -> list[str]:
    return [journal.take(host).url for host in journal.hosts() for _ in range(1_000) if journal.has(host)]


def test_it_is_a_frontier(life: Life) -> None:
    frontier: Frontier = life.journal
    frontier.add(HOST, asking(1))
    assert (len(frontier), frontier.has(HOST), frontier.take(HOST)) == (1, True, asking(1))
    assert (len(frontier), frontier.has(HOST)) == (0, False)


# --- requests unharmed, in the order of a crawl ---

ascii_text = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
found = st.builds(
    Found, depth=st.integers(0, 5), source=ascii_text, text=st.text(max_size=9), lastmod=st.none() | st.text(max_size=9)
)
requests = st.builds(
    Request,
    url=ascii_text.map(lambda text: f"{HOST}/{text}"),
    target=ascii_text.map(lambda text: f"{HOST}/{text}"),
    input=st.text(max_size=20),
    line=st.none() | st.integers(0, 1 << 40),
    method=st.sampled_from(["GET", "POST"]),
    headers=st.sampled_from([HEADERS, (), (("If-None-Match", '"x"'),)]),
    body=st.none() | st.binary(max_size=9),
    seconds=st.just(12.0),
    purpose=st.sampled_from([Purpose.PAGE, Purpose.SITEMAP]),
    found=st.none() | found,
    priority=st.integers(-3, 3),
    max_body=st.none() | st.integers(0, 1 << 40),
)


@given(st.lists(requests, max_size=8), st.booleans())
def test_requests_come_back_unharmed_and_in_the_order_of_a_crawl(asked: list[Request], goes_on: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        life, crawl = Life(Path(folder)), CrawlFrontier()
        for request in asked:
            life.journal.add(HOST, request)
            crawl.add(HOST, request)
        life.journal.commit(0, DONE)
        journal = life.again() if goes_on else life.journal
        assert [journal.take(HOST) for _ in asked] == [crawl.take(HOST) for _ in asked]
        life.store.close()


def test_what_every_request_has_is_that_of_the_run_that_goes_on(life: Life) -> None:
    life.offer(1)
    life.journal.commit(0, DONE)
    life.store.close()
    store = Store(life.folder)
    request = Journal(store, (("User-Agent", "other"),), 3.0).take(HOST)
    assert (request.headers, request.seconds) == ((("User-Agent", "other"),), 3.0)
    store.close()


def test_hops_and_retries_come_first_the_latest_of_them_before(life: Life) -> None:
    journal = life.journal
    for number in (1, 2):
        journal.add(HOST, asking(number))
    hop, retry = asking(3, attempts=1), asking(4, attempts=2)
    journal.add(HOST, hop, first=True)
    journal.add(HOST, retry, first=True)
    assert [journal.take(HOST) for _ in range(4)] == [retry, hop, asking(1), asking(2)]


# --- what is committed, and what is not ---


def test_nothing_stands_without_a_commit(life: Life) -> None:
    life.offer(1)
    assert len(life.again()) == 0
    assert not life.journal.knows(f"{HOST}/1")


def test_what_is_under_way_is_fetched_again(life: Life) -> None:
    life.offer(1)
    life.journal.commit(0, DONE)
    life.journal.take(HOST)
    life.journal.commit(0, DONE)
    assert taken(life.again()) == [f"{HOST}/1"]


def test_only_what_was_written_is_settled(life: Life) -> None:
    for number in range(4):
        life.offer(number)
    for _ in range(3):
        life.end(life.journal.take(HOST))
    life.journal.commit(2, DONE)
    assert life.journal.left == 2
    assert taken(life.again()) == [f"{HOST}/2", f"{HOST}/3"]
    assert life.journal.left == 2


def test_what_was_left_over_is_settled_by_the_next_commit(life: Life) -> None:
    for number in range(3):
        life.offer(number)
        life.end(life.journal.take(HOST))
    life.journal.commit(1, DONE)
    life.journal.commit(2, DONE)
    assert len(life.again()) == 0


def test_a_sync_that_covers_nothing_keeps_what_was_found_and_settles_nothing(life: Life) -> None:
    life.offer(1)
    life.end(life.journal.take(HOST))
    life.journal.commit(0, None, position=7)
    assert life.store.committed() is None
    assert taken(life.again()) == [f"{HOST}/1"]
    assert life.store.value("position") == 7


def test_more_outcomes_than_were_settled_is_a_bug_and_keeps_nothing(life: Life) -> None:
    life.offer(1)
    with pytest.raises(AssertionError, match="1 outcomes were written that were never settled"):
        life.journal.commit(1, DONE)
    with pytest.raises(AssertionError, match="no sync covers"):
        life.journal.commit(1, None)
    assert len(life.again()) == 0


def test_an_outcome_of_what_was_never_taken_is_a_bug(life: Life) -> None:
    with pytest.raises(KeyError):
        life.end(asking(1))


def test_files_position_and_counters_stand_together(life: Life) -> None:
    life.journal.commit(0, DONE, {"line": 3}, {"scheduler": {"offered": 3}})
    life.journal.commit(0, Committed((Part("a", 1, True), Part("b", 2, False))), None, {"outcomes": {"ok": 1}})
    life.again()
    assert life.store.committed() == Committed((Part("a", 1, True), Part("b", 2, False)))
    assert (life.store.value("position"), life.store.value("scheduler")) == ({"line": 3}, {"offered": 3})
    assert life.store.value("outcomes") == {"ok": 1}


def test_a_service_ends_with_the_next_commit_whatever_that_covers(life: Life) -> None:
    for number, purpose in enumerate((Purpose.PAGE, Purpose.SITEMAP, Purpose.PAGE, Purpose.SITEMAP)):
        life.offer(number, purpose=purpose)
        request = life.journal.take(HOST)
        life.journal.settle(request, page(request) if purpose is Purpose.PAGE else None)
    life.journal.commit(0, None)
    assert life.journal.tally == {"service": 2}
    life.journal.commit(1, DONE)
    assert life.journal.tally == {"ok": 1, "service": 2}
    assert taken(life.again()) == [f"{HOST}/2"]


# --- the traps ---


def test_links_of_a_page_that_is_not_committed_stay_and_come_once(life: Life) -> None:
    life.offer(1)
    life.end(life.journal.take(HOST))
    life.offer(2)
    life.journal.commit(0, DONE)
    journal = life.again()
    assert not journal.is_new(f"{HOST}/2")
    assert taken(journal) == [f"{HOST}/1", f"{HOST}/2"]


def redirected(life: Life, number: int, target: int) -> Request:
    request = life.offer(number)
    life.journal.take(HOST)
    assert life.journal.is_new(f"{HOST}/{target}", by=request)
    return request


def test_the_target_of_a_redirect_under_way_is_new_after_a_crash(life: Life) -> None:
    redirected(life, 1, 2)
    for _ in range(2):
        life.journal.commit(0, DONE)
    assert life.journal.knows(f"{HOST}/2")
    assert life.again().is_new(f"{HOST}/2")


def test_the_target_of_a_redirect_that_ended_is_seen_after_a_crash(life: Life) -> None:
    request = redirected(life, 1, 2)
    life.journal.commit(0, DONE)
    life.end(request)
    life.journal.commit(1, DONE)
    assert life.again().knows(f"{HOST}/2")


def test_a_redirect_of_an_earlier_life_claims_nothing_for_good(life: Life) -> None:
    """Found by the kill loop: made again, 1 finds 2 taken by 3 and ends without it; then 3 is lost with its claim."""
    redirected(life, 1, 2)
    life.journal.commit(0, DONE)
    first = life.again().take(HOST)
    redirected(life, 3, 2)
    assert not life.journal.is_new(f"{HOST}/2", by=first)
    life.end(first)
    life.journal.commit(1, DONE)
    assert life.again().is_new(f"{HOST}/2")


def test_hops_and_retries_settle_the_row_they_began_as(life: Life) -> None:
    life.offer(1)
    life.journal.commit(0, DONE)
    request = life.journal.take(HOST)
    hop = msgspec.structs.replace(request, target=f"{HOST}/2", headers=(), attempts=2, seconds=1.0)
    life.journal.add(HOST, hop, first=True)
    life.end(life.journal.take(HOST))
    life.journal.commit(1, DONE)
    assert len(life.again()) == 0


def test_a_list_with_duplicates_kept_settles_each_line(life: Life) -> None:
    journal = life.journal
    for line in (1, 2):
        journal.is_new(f"{HOST}/1")
        journal.add(HOST, asking(1, line=line))
    second = [journal.take(HOST), journal.take(HOST)][1]
    life.end(second)
    journal.commit(1, DONE)
    assert [life.again().take(HOST).line] == [1]


@pytest.mark.parametrize("line", ["no url", "b\udcfcrgeramt", "http://", "", "ünsinn"])
def test_a_line_that_is_no_url_comes_again_until_its_outcome_is_written(line: str, life: Life) -> None:
    life.journal.settle_line(line, 5)
    life.journal.commit(0, DONE)
    assert life.again().lines_again() == [(line, 5)]
    assert (life.journal.lines_again(), life.journal.left, len(life.journal)) == ([], 1, 0)
    life.journal.settle_line(line, 5)
    life.journal.commit(1, DONE)
    assert life.again().lines_again() == []
    assert (life.journal.tally, life.journal.left) == ({"bad_url": 1}, 0)


def test_what_a_page_wrote_cannot_stop_a_commit(life: Life) -> None:
    life.offer(1, found=Found(depth=1, source=HOST, text="torn \ud83d"))
    life.journal.commit(0, DONE)
    assert life.again().take(HOST).found == Found(depth=1, source=HOST, text="torn \ufffd")


def test_bounds_are_told_pages_and_redirects_in_order(life: Life) -> None:
    request = redirected(life, 1, 2)
    life.offer(3, found=Found(depth=1))
    life.offer(4, purpose=Purpose.SITEMAP)
    life.end(request)
    life.journal.commit(1, DONE)
    assert list(life.again().trail()) == [
        (asking(1), None, True),
        (asking(1), f"{HOST}/2", True),
        (asking(3, found=Found(depth=1)), None, False),
        (asking(4, purpose=Purpose.SITEMAP), None, False),
    ]


# --- what was seen ---


def test_all_that_was_seen_is_seen_after_going_on(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (seen, job_seen):
        monkeypatch.setattr(module, "RUN_SLOTS", 2)  # so that parts have many runs
    many = [f"{HOST}/{number}" for number in range(20_000)]
    assert all(life.journal.is_new(url) for url in many)
    life.journal.commit(0, DONE)
    journal = life.again()
    assert len(journal._seen) == len(many)
    assert all(journal.knows(url) for url in many)
    assert not any(journal.is_new(url) for url in many)
    assert all(journal.is_new(f"{url}x") for url in many)  # grows on


def test_keys_that_are_no_urls_of_requests_are_seen_too(life: Life) -> None:
    for key in (f"sitemap {HOST}/s", f"deep {HOST}/1", f"{HOST}/%C3%BC secret"):
        assert life.journal.is_new(key)
    life.journal.commit(0, DONE)
    assert [life.again().is_new(key) for key in (f"sitemap {HOST}/s", f"deep {HOST}/1", f"{HOST}/%C3%BC secret")] == [
        False
    ] * 3


# --- counting, and trying again ---


def test_every_kind_of_failure_has_its_byte_and_the_bytes_never_change() -> None:
    for kind in Kind:
        assert ENDS[code_of(Failure(url="", kind=kind, message=""))] == kind.value
    assert ENDS[:8] == ("open", "ok", "http_error", "service", "dns", "connect", "tls", "timeout")
    assert ENDS.index("callback") == 17
    assert (ENDS[OPEN], len(set(ENDS))) == ("open", len(ENDS))


def of_each_kind(life: Life) -> None:
    ends: list[Callable[[Request], Outcome]] = [
        page,
        lambda request: page(request, 503),
        lambda request: Failure(url=request.url, kind=Kind.TIMEOUT, message=""),
        lambda request: Failure(url=request.url, kind=Kind.DNS, message=""),
    ]
    for number, end in enumerate(ends):
        life.offer(number)
        request = life.journal.take(HOST)
        life.journal.settle(request, end(request))
    life.offer(9)
    counters = {OUTCOMES: {"ok": 1, "http_errors": 1, "failed": {"timeout": 1, "dns": 1}}, "seconds": 2.0}
    life.journal.commit(4, DONE, None, counters)


def test_the_state_counts_by_end_and_by_host(life: Life) -> None:
    of_each_kind(life)
    state = read_state(life.store)
    assert (state.done, state.ok, state.http_errors, state.failed) == (4, 1, 1, {"timeout": 1, "dns": 1})
    assert (state.left, state.rate) == (1, 2.0)
    assert [(host.host, host.done, host.failed, host.left) for host in state.hosts] == [(HOST, 4, 3, 1)]


def test_what_failed_waits_again_and_is_no_longer_counted(life: Life) -> None:
    of_each_kind(life)
    assert reopen(life.store, ["timeout", "http_error"]) == {"timeout": 1, "http_error": 1}
    counters = {"ok": 1, "http_errors": 0, "failed": {"dns": 1}, "statuses": {}, "by_robots": 0}
    assert life.store.value(OUTCOMES) == counters
    assert taken(life.again()) == [f"{HOST}/{number}" for number in (1, 2, 9)]
    assert life.journal.tally == {"ok": 1, "dns": 1}


def test_what_is_tried_again_finds_its_redirect_new(life: Life) -> None:
    request = redirected(life, 1, 2)
    life.journal.settle(request, Failure(url=request.url, kind=Kind.TIMEOUT, message=""))
    life.journal.commit(1, DONE)
    reopen(life.store, ["timeout"])
    assert life.again().is_new(f"{HOST}/2")


def test_robots_answers_are_kept_for_a_day_and_not_from_the_future(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr(job_store.time, "time", lambda: now)
    for origin, age in (
        ("https://old.example", 90_000),
        ("https://b.example", 10),
        (HOST, 20),
        ("https://c.example", -5),
    ):
        life.journal.keep_robots(RobotsAnswer(origin=origin, fetched_at=now - age, file=b"Disallow: /"))
    assert list(life.store.robots(10, 86_400.0)) == []
    life.journal.commit(0, DONE)
    life.again()
    assert [answer.origin for answer in life.store.robots(10, 86_400.0)] == [HOST, "https://b.example"]
    assert [(answer.origin, answer.file) for answer in life.store.robots(1, 86_400.0)] == [
        ("https://b.example", b"Disallow: /")
    ]


# --- the file ---


def test_a_full_disk_is_an_output_error_with_the_way_out_and_the_last_commit_stands(life: Life) -> None:
    life.offer(1)
    life.journal.commit(0, DONE, 1)
    life.store.db.execute("PRAGMA max_page_count = 20")
    for number in range(2, 5_000):
        life.offer(number)
    with pytest.raises(OutputError, match=r"cannot write .*journal\.sqlite: database or disk is full; make room, then"):
        life.journal.commit(0, DONE, 2)
    life.store.db.execute("PRAGMA max_page_count = 100000")
    with pytest.raises(OutputError, match=r"journal\.sqlite could not be written before; run the same command again"):
        life.journal.commit(0, DONE, 3)
    assert taken(life.again()) == [f"{HOST}/1"]
    assert life.store.value("position") == 1


def test_the_file_is_private_and_held_by_one(life: Life) -> None:
    assert life.store.path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OutputError, match="locked; another program has it open"):
        Store(life.folder)


def test_a_file_of_something_else_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / job_store.FILE
    path.write_bytes(b"my notes, which are none of your business. " * 100)
    with pytest.raises(UsageError, match="no journal of cormorant, or is damaged"):
        Store(tmp_path)
    assert path.read_bytes().startswith(b"my notes")
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="a database of another program; name another job folder"):
        Store(tmp_path)
    assert path.read_bytes() == before


def test_a_newer_format_is_refused_and_an_older_one_is_migrated(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    life.offer(1)
    life.journal.commit(0, DONE)
    life.store.close()
    now = job_store.FORMAT
    monkeypatch.setattr(job_store, "FORMAT", now + 2)
    monkeypatch.setitem(job_store.MIGRATIONS, now, ("ALTER TABLE robots ADD COLUMN etag TEXT",))
    monkeypatch.setitem(job_store.MIGRATIONS, now + 1, ("INSERT INTO book VALUES ('migrated', '1')",))
    life.again()
    assert (life.store.value("migrated"), len(life.journal)) == (1, 1)
    life.store.close()
    monkeypatch.setattr(job_store, "FORMAT", now)
    with pytest.raises(UsageError, match=rf"newer cormorant \(format {now + 2}, this one knows {now}\); upgrade"):
        Store(life.folder)
    monkeypatch.setattr(job_store, "FORMAT", now + 2)


def test_a_journal_says_how_it_stands(life: Life) -> None:
    life.offer(1)
    life.offer(2)
    life.end(life.journal.take(HOST))
    assert repr(life.journal) == "<Journal waiting=1 hosts=1 rows=2 under_way=0 to_commit=1>"


def test_hosts_are_those_that_something_waits_for(life: Life) -> None:
    for host in (HOST, "https://b.example"):
        life.journal.add(host, Request(url=f"{host}/1", target=f"{host}/1"))
    life.journal.commit(0, DONE)
    assert sorted(life.again().hosts()) == [HOST, "https://b.example"]
    assert [urls.origin(life.journal.take(host).url) for host in life.journal.hosts()] == [HOST, "https://b.example"]
