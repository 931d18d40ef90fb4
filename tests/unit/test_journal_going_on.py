"""Going on with a job: what its chapters say is what its rows say, however it came to them."""

from __future__ import annotations

import sqlite3
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from cormorant import urls
from cormorant.frontier import job_chapters
from cormorant.frontier.crawl import by_priority_and_depth
from cormorant.frontier.job_labels import LABEL_BITS, Labels
from cormorant.frontier.job_rows import LINE, NO_KEY, Rows, redirected, stored
from cormorant.frontier.job_seen import LOW_BITS, SeenRows, packed
from cormorant.frontier.job_state import reopen
from cormorant.frontier.job_store import FILE, Store
from cormorant.frontier.journal import Journal
from cormorant.frontier.seen import OFFSET_BITS, PARTS, TAG_BITS, SeenURLs
from cormorant.interfaces import Committed, Part
from cormorant.messages import Failure, Found, Kind, Outcome, Page, Request

HOST = "https://a.example"
FOUND_AND_NOT_SHRUNK = (Phase.reuse, Phase.generate)  # that takes minutes
DONE = Committed((Part("out.jsonl", 100, False),))


@pytest.fixture
def few_rows_a_chapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_chapters, "CHAPTER_BITS", 2)


class Life:
    """A journal that can be left as a killed process leaves it, and taken up again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder)
        self.store.db.execute("PRAGMA synchronous=OFF")  # no power is cut here
        self.journal = Journal(self.store)

    def again(self) -> Journal:
        """Lose all that is not committed."""
        self.store.close()
        self.__init__(self.folder)  # type: ignore[misc]
        return self.journal

    def chapters(self) -> list[int]:
        return [number for (number,) in self.store.rows("SELECT id FROM chapter ORDER BY id")]


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    one = Life(tmp_path)
    yield one
    one.store.close()


def asking(number: int, host: str = HOST, depth: int = 0, priority: int = 0) -> Request:
    url = f"{host}/{number}"
    return Request(url=url, target=url, input=url, found=Found(depth=depth), priority=priority)


def end(journal: Journal, request: Request, *, fails: bool = False) -> None:
    late = Failure(url=request.url, kind=Kind.TIMEOUT, message="")
    outcome: Outcome = late if fails else Page(url=request.url, status=200)
    journal.settle(request, outcome)


def offer(journal: Journal, *numbers: int) -> None:
    for number in numbers:
        assert journal.is_new(f"{HOST}/{number}")
        journal.add(HOST, asking(number))


def taken(journal: Journal) -> dict[str, list[str]]:
    """Empty a journal; returns what waited, by host."""
    waited = defaultdict[str, list[str]](list)
    for host in journal.hosts():
        while journal.has(host):
            waited[host].append(journal.take(host).url)
    return waited


# --- chapters say what the rows say ---


def check_against_the_rows(store: Store) -> None:
    """Go on once, and compare with what reading and parsing every row comes to."""
    ended, rows = store.ended(), Rows(store, (), 30.0)
    seen, waiting, lines = set[str](), defaultdict[str, list[tuple[tuple[int, int], int, str]]](list), list[str]()
    for row, url, key, _, _ in stored(store):
        text = url if key is None else key
        if text not in (NO_KEY, LINE):
            assert isinstance(text, str)
            seen.add(text)
        if url is None or ended[row]:
            continue
        request = rows.request(row)
        if key == LINE:
            lines.append(request.input)
        else:
            waiting[urls.origin(request.url)].append((by_priority_and_depth(request), row, request.url))
    journal = Journal(store)
    assert len(journal._seen) == len(seen)
    assert all(journal.knows(text) for text in seen)
    assert not any(journal.knows(f"{text}?") for text in seen)
    assert journal.left == len(lines) + sum(map(len, waiting.values())) == len(lines) + len(journal)
    assert [text for text, _ in journal.lines_again()] == lines
    assert taken(journal) == {host: [url for _, _, url in sorted(queue)] for host, queue in waiting.items()}


class JobBesideItsRows(RuleBasedStateMachine):
    """A job that finds, ends, commits, is killed and goes on, in any order; chapters are of four rows."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.life = Life(Path(self.scratch.name))
        self.number = self.settled = 0
        self.under_way: list[Request] = []

    @property
    def journal(self) -> Journal:
        return self.life.journal

    def teardown(self) -> None:
        self.life.again()
        self.go_on()
        self.life.store.close()
        self.scratch.cleanup()

    def next(self) -> int:
        self.number += 1
        return self.number

    def settle(self, request: Request, fails: bool) -> None:
        end(self.journal, request, fails=fails)
        self.settled += 1

    @rule(many=st.integers(1, 6), hosts=st.integers(1, 3), depth=st.integers(0, 1), priority=st.integers(0, 1))
    def find(self, many: int, hosts: int, depth: int, priority: int) -> None:
        for _ in range(many):
            request = asking(self.next(), f"https://h{self.number % hosts}.example", depth, priority)
            assert self.journal.is_new(request.url)
            self.journal.add(urls.origin(request.url), request)

    @rule(number=st.integers(1, 3))
    def find_no_page(self, number: int) -> None:
        """Find a key alone, a line that is no URL, a duplicate that is kept."""
        if number == 1:
            assert self.journal.is_new(f"sitemap {self.next()}")
        elif number == 2:
            self.journal.settle_line("no url", self.next())
            self.settled += 1
        else:
            self.journal.add(HOST, asking(0))

    @precondition(lambda self: len(self.journal))
    @rule(many=st.integers(1, 5), fails=st.booleans(), stays=st.booleans(), redirects=st.booleans())
    def take(self, many: int, fails: bool, stays: bool, redirects: bool) -> None:
        for host in self.journal.hosts()[:many]:
            request = self.journal.take(host)
            if redirects:
                self.journal.is_new(f"{HOST}/target/{self.next()}", by=request)
            if stays:
                self.under_way.append(request)
            else:
                self.settle(request, fails)

    @precondition(lambda self: self.under_way)
    @rule(fails=st.booleans())
    def end(self, fails: bool) -> None:
        self.settle(self.under_way.pop(), fails)

    @rule(share=st.sampled_from([1.0, 0.5, 0.0]))
    def commit(self, share: float) -> None:
        written = int(share * self.settled)
        self.journal.commit(written, DONE)
        self.settled -= written

    @precondition(lambda self: len(self.journal._rows) > 4)
    @rule(meanwhile=st.sampled_from(["nothing", "nothing", "retry", "loss of even chapters", "loss of odd chapters"]))
    def kill(self, meanwhile: str) -> None:
        self.life.again()
        if meanwhile == "retry":
            reopen(self.life.store, ["timeout"])
        elif meanwhile != "nothing":
            self.life.store.db.execute("DELETE FROM chapter WHERE id % 2 = ?", ("odd" in meanwhile,))
        self.go_on()

    def go_on(self) -> None:
        check_against_the_rows(self.life.store)
        self.life.again()
        self.under_way.clear()
        self.settled = 0
        for text, line in self.journal.lines_again():
            self.journal.settle_line(text, line)
            self.settled += 1


@pytest.mark.parametrize("bits", [2, 16, LABEL_BITS], ids=lambda bits: f"{bits}_bits_of_label")
def test_whatever_happens_going_on_finds_what_the_rows_say(
    bits: int, few_rows_a_chapter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where labels are as good as none, and in all parts alike."""
    of = Labels.of
    monkeypatch.setattr(Labels, "of", lambda self, text: of(self, text) >> (LABEL_BITS - bits) << (LABEL_BITS - bits))
    run_state_machine_as_test(
        JobBesideItsRows,
        settings=settings(max_examples=15, stateful_step_count=40, deadline=None, phases=FOUND_AND_NOT_SHRUNK),
    )


# --- what is read, and what is not ---


def test_rows_of_written_chapters_are_not_read(
    life: Life, few_rows_a_chapter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(life.journal, *range(1, 11))
    life.journal.commit(0, DONE)
    read = list[int]()

    def watched(store: Store, first: int = 1, end: int = 1 << 62) -> Iterator[tuple[Any, ...]]:
        for row in stored(store, first, end):
            read.append(row[0])
            yield row

    monkeypatch.setattr(job_chapters, "stored", watched)
    assert len(life.again()) == 10
    assert (life.chapters(), read) == ([0, 1], [8, 9, 10])


def test_missing_chapters_are_written_when_a_job_goes_on(life: Life, few_rows_a_chapter: None) -> None:
    offer(life.journal, *range(1, 11))
    life.journal.commit(0, DONE)
    before = list(life.store.rows("SELECT * FROM chapter"))
    life.store.db.execute("DELETE FROM chapter WHERE id = 1")
    life.again()
    assert list(life.store.rows("SELECT * FROM chapter")) == before


def test_what_is_tried_again_waits_where_it_did(life: Life, few_rows_a_chapter: None) -> None:
    """Some had ended when their chapter was written, some ended later; some of both are done for good."""
    offer(life.journal, *range(1, 8))
    for _ in range(2):
        end(life.journal, life.journal.take(HOST), fails=True)
    life.journal.commit(2, DONE)
    offer(life.journal, 8)
    for _ in range(3):
        request = life.journal.take(HOST)
        end(life.journal, request, fails=request.url != f"{HOST}/4")
    life.journal.commit(3, DONE)
    assert life.chapters() == [0, 1]
    assert reopen(life.store, ["timeout"]) == {"timeout": 4}
    assert taken(life.again()) == {HOST: [f"{HOST}/{number}" for number in (1, 2, 3, 5, 6, 7, 8)]}


def test_of_a_list_what_had_ended_is_in_no_chapter(life: Life, few_rows_a_chapter: None) -> None:
    offer(life.journal, 1, 2)
    life.journal.commit(0, DONE)
    offer(life.journal, *range(3, 10))
    for number in (1, 2, 3, 4, 5, 6):
        request = life.journal.take(HOST)
        assert request.url == f"{HOST}/{number}"
        end(life.journal, request)
    life.journal.commit(6, DONE)
    opened = [list(job_chapters._unpacked(blob)) for (blob,) in life.store.rows("SELECT open FROM chapter ORDER BY id")]
    assert opened == [[], [(HOST, (0, 0), array("H", (7,)))]]


def test_a_chapter_that_was_written_and_has_room_again_is_written_again(life: Life, few_rows_a_chapter: None) -> None:
    """The rows that filled it, and began the next one, were marks of a redirect that was lost."""
    offer(life.journal, 1)
    request = life.journal.take(HOST)
    assert all(life.journal.is_new(f"{HOST}/target/{number}", by=request) for number in range(4))
    life.journal.commit(0, DONE)
    assert life.chapters() == [0]
    life.again()
    check_against_the_rows(life.store)
    offer(life.journal, 2, 3, 4, 5)
    life.journal.commit(0, DONE)
    assert life.chapters() == [0]
    life.again()
    check_against_the_rows(life.store)
    assert life.journal.left == 5


# --- the chapter in the file ---


@given(st.dictionaries(st.integers(0, 0xFFFF), st.integers(0, (1 << LABEL_BITS) - 1)), st.integers(0, 0xFFFFFF))
def test_keys_come_back_as_slots_of_their_parts(labels: dict[int, int], high: int) -> None:
    chapter = packed(array("Q", (label << LOW_BITS | low for low, label in labels.items())))
    seen = SeenRows.__new__(SeenRows)
    SeenURLs.__init__(seen)
    first = high << LOW_BITS
    seen.load([(first, chapter)], [(1, 0), (2, (1 << LABEL_BITS) - 1)])
    rows = {first | low: label for low, label in labels.items()}
    slots = [(part, slot) for part, runs in enumerate(seen._parts) for run in runs for slot in run]
    expected = [*rows.items(), (1, 0), (2, (1 << LABEL_BITS) - 1)]
    assert slots == sorted(
        (label >> TAG_BITS, (label % (1 << TAG_BITS)) << OFFSET_BITS | row) for row, label in expected
    )
    assert len(seen) == len(expected)


def test_chapters_of_their_full_length(life: Life) -> None:
    """The first has 65,535 rows, for there is no row 0; each row's number is put together from its chapter's."""
    rows = (1 << LOW_BITS) + 5
    for number in range(1, rows):
        assert life.journal.is_new(f"{number}")
        if number in (1, 65_534, 65_535, 65_536, 65_537):
            life.journal.add(HOST, asking(number))
    life.journal.commit(0, DONE)
    journal = life.again()
    assert life.chapters() == [0]
    assert len(journal._seen) == rows - 1
    assert all(journal.knows(f"{number}") for number in range(1, rows))
    assert not any(journal.knows(f"{number}") for number in range(rows, rows + 1_000))
    assert taken(journal) == {HOST: [f"{HOST}/{number}" for number in (1, 65_534, 65_535, 65_536, 65_537)]}


def test_row_numbers_of_later_chapters(life: Life) -> None:
    last = (3 << LOW_BITS) - 3
    life.store.db.execute("INSERT INTO url (id, key) VALUES (?, 'sitemap x')", (last,))
    offer(life.again(), *range(1, 7))
    life.journal.commit(0, DONE)
    life.again()
    assert (life.chapters(), life.store.last_row()) == ([0, 1, 2], last + 6)
    check_against_the_rows(life.store)


def test_the_target_of_a_redirect_stands_with_its_label(life: Life) -> None:
    offer(life.journal, 1)
    request = life.journal.take(HOST)
    life.journal.is_new(f"{HOST}/target", by=request)
    end(life.journal, request)
    life.journal.commit(1, DONE)
    assert list(redirected(life.store)) == [(2, Labels(life.store).of(f"{HOST}/target".encode()))]


def test_nobody_can_know_the_label_of_a_key(tmp_path: Path) -> None:
    labels = []
    for name in ("one", "one", "other"):
        (tmp_path / name).mkdir(exist_ok=True)
        store = Store(tmp_path / name)
        labels.append([Labels(store).of(b"%d" % number) for number in range(9)])
        store.close()
    assert labels[0] == labels[1]
    assert not set(labels[1]) & set(labels[2])
    assert max(max(labels)) < 1 << LABEL_BITS == PARTS << TAG_BITS


# --- a journal of format 1 ---

FORMAT_1 = """
    CREATE TABLE url (id INTEGER PRIMARY KEY, url TEXT, key TEXT, owner INTEGER, rest BLOB);
    CREATE INDEX owned ON url (owner) WHERE owner IS NOT NULL;
    CREATE TABLE ended (id INTEGER PRIMARY KEY, rows BLOB NOT NULL);
    CREATE TABLE part (name TEXT PRIMARY KEY, length INTEGER NOT NULL, is_sealed INTEGER NOT NULL, place INTEGER);
    CREATE TABLE robots (origin TEXT PRIMARY KEY, fetched_at REAL NOT NULL, url TEXT, file BLOB);
    CREATE TABLE book (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    PRAGMA application_id = 0x636F726D;
    PRAGMA user_version = 1;
"""


def test_a_journal_of_format_1_goes_on(tmp_path: Path, few_rows_a_chapter: None) -> None:
    database = sqlite3.connect(tmp_path / FILE)
    database.executescript(FORMAT_1)
    rows = [(number, f"{HOST}/{number}", None, None, None) for number in range(1, 10)]
    rows[4] = (5, None, "sitemap x", None, None)
    rows[6] = (7, None, f"{HOST}/target", 1, None)
    database.executemany("INSERT INTO url VALUES (?, ?, ?, ?, ?)", rows)
    database.execute("INSERT INTO ended (rows) VALUES (?)", (array("Q", (1 << 8 | 1, 3 << 8 | 7)).tobytes(),))
    database.commit()
    database.close()
    life = Life(tmp_path)
    check_against_the_rows(life.store)
    assert (life.chapters(), life.journal.left) == ([0, 1], 5)
    life.journal.is_new(f"{HOST}/other", by=life.journal.take(HOST))
    life.journal.commit(0, DONE)
    life.again()
    check_against_the_rows(life.store)
    reopen(life.store, ["timeout", "ok"])  # the owner of the target, of which no label is written
    life.again()
    check_against_the_rows(life.store)
    assert taken(life.journal) == {HOST: [f"{HOST}/{number}" for number in (1, 2, 3, 4, 6, 8, 9)]}
    assert life.journal.is_new(f"{HOST}/target")
    life.store.close()
