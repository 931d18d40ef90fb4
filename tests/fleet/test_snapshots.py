"""A fleet that writes to a store: workers and drivers killed at any instant, read back with every URL once."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_watch import Truth, reached, workers

import cormorant
from cormorant import stores
from cormorant.errors import OutputError, UsageError
from cormorant.fleet import plan as plans
from cormorant.fleet.mail import LIST, batch
from cormorant.fleet.merging import merge, remove_parts
from cormorant.fleet.plan import Plan
from cormorant.fleet.shards import Split
from cormorant.fleet.share import Share
from cormorant.fleet.snapshots import Pace, Snapshots
from cormorant.jobs import Job
from cormorant.lab import site
from cormorant.messages import Done, Fetch, LineOver
from cormorant.sinks import stored

pytest.importorskip("fsspec")
from fsspec.implementations.local import LocalFileSystem

sys.path.insert(0, str(Path(__file__).parent))  # where the workers find it, too

from store_that_dies import impatient, parse

PAGES = 300
WORKLOAD = site.Workload(pages=PAGES, hosts=12, latency="constant:0.005", not_found=10, cut=5, redirect=10, gzip=30)
OFTEN = 0.2  # seconds between publications, so that there are many in a short run
RUN = Path(__file__).with_name("run_to_store.py")


@pytest.fixture(scope="module")
def pages() -> Iterator[list[str]]:
    pytest.importorskip("granian")
    with site.running(WORKLOAD) as running:
        yield list(running.urls())


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "PUBLISH_SECONDS", OFTEN)


def once(pages: list[str]) -> Counter[str]:
    return Counter(pages)


def found_in(url: str) -> Counter[str]:
    return Counter(one.input or one.url for one in cormorant.read(url))


@pytest.mark.parametrize("name", ["pages.jsonl.gz", "pages.csv", "pages.warc.gz", "pages.parquet"])
def test_what_workers_put_is_read_back_by_the_url_alone(tmp_path: Path, pages: list[str], name: str) -> None:
    pytest.importorskip({"parquet": "pyarrow", "gz": "fastwarc"}.get(name.rpartition(".")[2], "fsspec"))
    (tmp_path / "out").mkdir()
    url = f"file://{tmp_path}/out/{name}"
    outcomes = list(cormorant.fetch(pages, concurrency=16, workers=2, output=url, delay=0.02))
    read_back = list(cormorant.read(url))
    assert Counter((one.url, one.body) for one in read_back) == Counter((one.url, one.body) for one in outcomes)
    assert found_in(url) == once(pages)
    parts = [path.name for path in tmp_path.rglob("part-*")]
    assert len(parts) > len({path.parent for path in tmp_path.rglob("part-*")}), "published once a shard alone"


def test_workers_that_die_between_their_parts_and_the_manifest(tmp_path: Path, pages: list[str]) -> None:
    (tmp_path / "deaths").mkdir()
    url = f"dying://{tmp_path}/pages.jsonl"
    run = cormorant.fetch(pages, concurrency=4, workers=2, output=url, delay=0.05, parse=parse)
    outcomes = list(itertools.islice(run, 40))
    for number in range(3):
        (tmp_path / "deaths" / str(number)).touch()
    outcomes += list(run)
    assert not list((tmp_path / "deaths").iterdir()), "nobody died"
    assert Counter(one.input or one.url for one in outcomes) == once(pages)
    assert found_in(url) == once(pages)
    assert len(set(stored.epochs(url).values())) > 1, "nothing was taken over"


def test_drivers_and_workers_killed_at_random_and_the_job_goes_on(tmp_path: Path, pages: list[str]) -> None:
    url, dice = f"file://{tmp_path}/pages.jsonl", random.Random(7)
    command = [sys.executable, str(RUN), url, str(tmp_path / "job"), str(OFTEN)]
    ends, deaths = [], 0
    for attempt in range(30):
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL, start_new_session=True
        )
        assert process.stdin is not None
        process.stdin.write("\n".join(pages))
        process.stdin.close()
        if attempt < 4:
            time.sleep(1.2 + dice.random())
            there = workers(process.pid)
            for pid in dice.sample(there, min(1, len(there))):
                _kill(pid)
            time.sleep(dice.random())
            deaths += process.poll() is None
            _kill(process.pid)
        ends.append(process.wait(timeout=30))
        if ends[-1] == 0:
            break
    assert ends[-1] == 0
    assert deaths > 1, ends
    assert found_in(url) == once(pages)


def test_an_orphan_that_publishes_late_is_told_and_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _plan(f"file://{tmp_path}/pages.jsonl")
    with _owned(plan, 1) as orphan:
        _write(orphan, "http://a.example/1")
        orphan.snapshots.publish()
        _write(orphan, "http://a.example/lost")
        with _owned(plan, 2) as owner:
            with pytest.raises(OutputError, match="epoch 2 by another run"):
                orphan.snapshots.publish()
            with monkeypatch.context() as just_before:
                just_before.setattr(Snapshots, "_check_is_ours", lambda *_: [])
                orphan.snapshots.publish()
            _write(owner, "http://a.example/2")
            owner.snapshots.publish()
            assert found_in(str(plan.target)) == Counter(["http://a.example/1", "http://a.example/2"])
    with pytest.raises(OutputError, match="epoch 2 by another run"):
        Snapshots(plan, 0, 2, Pace(0.0))


def busy_at(monkeypatch: pytest.MonkeyPatch, call: str) -> list[str]:
    """Have a call of a store fail three times; returns what it will fail of, to be added to."""
    fails = ["503 Slow Down"] * 3
    answer = getattr(LocalFileSystem, call)

    def busy(*words: object, **more: object) -> object:
        if fails:
            raise OSError(fails.pop())
        return answer(*words, **more)

    monkeypatch.setattr(LocalFileSystem, call, busy)
    monkeypatch.setattr(stores, "_PAUSES_SECONDS", (0.0,) * 3)
    return fails


def test_a_call_that_fails_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = busy_at(monkeypatch, "pipe_file")
    place = stores.Place(f"file://{tmp_path}/there")
    place.put("name", b"data")
    assert place.get("name") == b"data"
    fails += ["503 Slow Down"] * 4
    with pytest.raises(OutputError, match=r"cannot write .*there/name: 503 Slow Down"):
        place.put("name", b"more")


def test_a_removal_that_fails_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes after the manifest: a run would end by it though all it did is there."""
    fails = busy_at(monkeypatch, "rm_file")
    place = stores.Place(f"file://{tmp_path}/there")
    place.put("name", b"data")
    place.remove("name")
    assert fails == []
    assert place.names() == []
    place.remove("name")  # it is not there


def test_a_store_that_does_not_answer_ends_its_worker_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: list[str]
) -> None:
    """The beat goes on while a call hangs: it is the worker that has to see it."""
    (tmp_path / "hangs").mkdir()
    url = f"dying://{tmp_path}/pages.jsonl"
    words = {"concurrency": 4, "workers": 2, "delay": 0.05}
    run = cormorant.fetch(pages, output=url, parse=impatient, **words)
    outcomes = list(itertools.islice(run, 40))
    (tmp_path / "hangs" / "1").touch()
    outcomes += list(run)
    assert not list((tmp_path / "hangs").iterdir()), "nothing hung"
    assert Counter(one.input or one.url for one in outcomes) == once(pages)
    assert found_in(url) == once(pages)


@pytest.mark.parametrize("fails", ["put", "put_file"], ids=["manifest", "part"])
def test_nothing_counts_before_the_manifest_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    plan = _plan(f"file://{tmp_path}/pages.jsonl")
    with _owned(plan, 1) as share:
        share.has_committed = False
        _write(share, "http://a.example/1")
        share.snapshots.after_round(is_idle=False)
        assert not share.is_idle
        assert (share.has_committed, share.to_acknowledge) == (False, [])
        monkeypatch.setattr(f"cormorant.stores.Place.{fails}", _full)
        with pytest.raises(OutputError, match="full"):
            share.snapshots.publish()
        monkeypatch.undo()
    assert found_in(str(plan.target)) == Counter()
    with _owned(plan, 2) as successor:
        assert successor.lines.taken == 0
        assert found_in(str(plan.target)) == Counter()
        _write(successor, "http://a.example/1")
        successor.snapshots.publish()
        assert successor.to_acknowledge == [(LIST, 1)]
    assert found_in(str(plan.target)) == Counter(["http://a.example/1"])


def test_a_journal_and_manifest_are_kept_of_the_last_two_alone(tmp_path: Path) -> None:
    plan = _plan(f"file://{tmp_path}/pages.jsonl")
    for epoch in (1, 2):
        with _owned(plan, epoch) as share:
            for number in range(4):
                _write(share, f"http://a.example/{epoch}/{number}")
                share.snapshots.publish()
    folder = tmp_path / "pages.jsonl.shards" / "0000"
    assert sorted(path.name for path in folder.glob("manifest-*")) == [
        f"manifest-000002-{number:08d}.json" for number in (3, 4)
    ]
    assert len(list(folder.glob("journal-*"))) == 2
    assert len(json.loads((folder / "manifest-000002-00000004.json").read_bytes())["parts"]) == 8


def test_a_part_that_was_cut_is_told(tmp_path: Path) -> None:
    plan = _plan(f"file://{tmp_path}/pages.jsonl")
    with _owned(plan, 1) as share:
        _write(share, "http://a.example/1")
        share.snapshots.publish()
    part = next(tmp_path.rglob("part-*"))
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"part-\S+ has \d+ bytes, and \d+ were put there"):
        list(cormorant.read(str(plan.target)))


def test_an_output_that_is_there_is_not_written_over(tmp_path: Path, pages: list[str]) -> None:
    url = f"file://{tmp_path}/pages.jsonl"
    list(cormorant.fetch(pages[:3], workers=1, output=url))
    with pytest.raises(UsageError, match=r"pages\.jsonl exists; pass --overwrite"):
        cormorant.fetch(pages[3:6], workers=1, output=url)
    list(cormorant.fetch(pages[3:6], workers=1, output=url, overwrite=True))
    assert found_in(url) == once(pages[3:6])


def test_a_merged_output_is_one_object_and_done(tmp_path: Path, pages: list[str]) -> None:
    url, folder = f"file://{tmp_path}/pages.jsonl.gz", str(tmp_path / "job")
    words = {"workers": 2, "output": url, "job": folder, "merge": True, "timeout": 10.0}
    assert Counter(one.url for one in cormorant.fetch(pages[:50], **words)) == once(pages[:50])
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("pages*") if path.is_file())
    files += [path.name for path in tmp_path.rglob("*.shards/**/*") if path.is_file()]
    assert files == ["pages.jsonl.gz", "merged"]
    assert found_in(url) == once(pages[:50])
    assert list(cormorant.fetch(pages[:50], **words)) == [], "it was begun anew"
    with pytest.raises(UsageError, match="exists; pass --overwrite"):
        cormorant.fetch(pages[:3], workers=1, output=url)


def test_a_merge_that_was_made_is_not_made_of_itself(tmp_path: Path, pages: list[str]) -> None:
    """A driver that died between the merge and its own books merges again; killed in that, it must not lose a page."""
    url = f"file://{tmp_path}/pages.jsonl"
    list(cormorant.fetch(pages[:50], workers=2, output=url))
    merge(url, None, None)
    before = (tmp_path / "pages.jsonl").stat()
    merge(url, None, None)
    assert (tmp_path / "pages.jsonl").stat().st_mtime_ns == before.st_mtime_ns
    assert found_in(url) == once(pages[:50])


def test_a_name_that_tells_no_format(tmp_path: Path, pages: list[str]) -> None:
    url = f"file://{tmp_path}/pages"
    list(cormorant.fetch(pages[:10], workers=2, output=url, format="jsonl"))
    assert Counter(one.input or one.url for one in cormorant.read(url, "jsonl")) == once(pages[:10])
    with pytest.raises(UsageError, match="format"):
        cormorant.read(url)
    merge(url, "jsonl", None)
    assert len((tmp_path / "pages").read_bytes().splitlines()) == 10


def test_a_folder_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing/pages\.jsonl: its folder is missing; make it first"):
        cormorant.fetch(["http://127.0.0.1:9/"], workers=1, output=f"file://{tmp_path}/missing/pages.jsonl")
    assert not os.listdir(tmp_path)


def test_a_store_named_by_a_path(tmp_path: Path, pages: list[str]) -> None:
    list(cormorant.fetch(pages[:3], workers=1, output=f"file://{tmp_path}/pages.jsonl"))
    with pytest.raises(UsageError, match=rf"name it so: file://{tmp_path}/pages\.jsonl"):
        cormorant.read(tmp_path / "pages.jsonl")
    with pytest.raises(UsageError, match=r"holds no index\.jsonl"):
        cormorant.read(f"{tmp_path}/")


def test_a_folder_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "pages.jsonl").mkdir()
    with pytest.raises(UsageError, match=r"pages\.jsonl is a folder; name an object in it"):
        cormorant.fetch(["http://127.0.0.1:9/"], workers=1, output=f"file://{tmp_path}/pages.jsonl")


@pytest.mark.parametrize("where", ["", "file://"])
def test_books_that_are_gone_are_told(tmp_path: Path, pages: list[str], where: str) -> None:
    words = {"workers": 1, "shards": 2, "job": tmp_path / "job", "output": f"{where}{tmp_path}/pages.jsonl"}
    list(cormorant.fetch(pages[:40], **words))
    shutil.rmtree(tmp_path / ("pages.jsonl.shards/0000" if where else "job/shards/0000"))
    with pytest.raises(OutputError, match=r"knows 0 of the [\d,]+ lines .*put back what is gone"):
        list(cormorant.fetch(pages[:40], **words))


def test_a_driver_that_dies_while_parts_are_removed_has_merged_all(tmp_path: Path, pages: list[str]) -> None:
    url = f"file://{tmp_path}/pages.jsonl"
    list(cormorant.fetch(pages[:50], workers=2, output=url))
    merge(url, None, None)
    assert found_in(url) == once(pages[:50])
    next(tmp_path.rglob("*.parts/*/part-*")).unlink()
    assert found_in(url) == once(pages[:50])
    for _ in range(2):
        remove_parts(url)
        assert found_in(url) == once(pages[:50])


def test_a_caller_who_leaves_early_gets_the_rest_from_the_job(tmp_path: Path, pages: list[str]) -> None:
    """What was handed to a loop is published when the loop has asked for more: then it does not come again."""
    url, folder = f"file://{tmp_path}/pages.jsonl", str(tmp_path / "job")
    words = {"workers": 2, "output": url, "job": folder, "delay": 0.02, "concurrency": 4}
    first = []
    with contextlib.closing(cormorant.fetch(pages, **words)) as run:
        for outcome in run:
            first.append(outcome.url)
            if len(first) == 120:
                break
    rest = [one.url for one in cormorant.fetch(pages, **words)]
    assert Counter(first) | Counter(rest) == once(pages)
    assert len(rest) < PAGES, "nothing was published before the end"
    assert found_in(url) == once(pages)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"output": "s3://bucket/pages.jsonl"}, r"one worker writes local files; .* add -w 1"),
        ({"output": "s3://bucket/pages", "workers": 2, "format": "folder"}, "a store holds jsonl, csv, .*, not folder"),
        ({"output": "s3://bucket/pages/", "workers": 2}, r"names no object: give one, such as \S+/pages/pages\.jsonl"),
        ({"output": "memory://pages.jsonl", "workers": 2}, "each worker has a memory of its own"),
        (
            {"output": "https://a.example/pages.jsonl", "workers": 2},
            "is a page; name a path, or a store by its own scheme",
        ),
        ({"output": "https://a.example/pages.jsonl"}, "is a page; name a path"),
        ({"output": "s3://bucket/pages.sqlite", "workers": 2}, "not sqlite"),
        ({"output": "odd://bucket/pages.jsonl", "workers": 2}, "cannot open odd://.*known are s3://"),
        ({"output": "s3://bucket/pages.jsonl", "workers": 2, "job": "s3://bucket/job"}, "a job's folder is a local"),
        ({"since": "s3://bucket/pages.jsonl"}, "since reads a local output"),
    ],
)
def test_what_a_store_cannot_do_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: dict[str, object], match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=match):
        cormorant.fetch(["http://a.example/"], **words)
    assert not os.listdir(tmp_path), "a folder was made of the URL"


def test_a_job_whose_journals_lie_in_a_store_says_so(tmp_path: Path, pages: list[str]) -> None:
    url, folder = f"file://{tmp_path}/pages.jsonl", str(tmp_path / "job")
    list(cormorant.fetch(pages[:3], workers=1, output=url, job=folder))
    for ask in (lambda: Job.look(folder), lambda: Job.retry(folder, ["timeout"])):
        with pytest.raises(UsageError, match="journals in the store"):
            ask()


def test_a_job_whose_shards_are_gone_does_not_wait_for_them(tmp_path: Path, pages: list[str]) -> None:
    url, folder = f"file://{tmp_path}/pages.jsonl", str(tmp_path / "job")
    list(cormorant.fetch(pages[:3], workers=1, output=url, job=folder))
    stored.remove(url)
    with pytest.raises(OutputError, match=r"what job .* has put there is gone"):
        cormorant.fetch(pages[:3], workers=1, output=url, job=folder)


def test_a_crawl_hands_links_over_though_workers_die(tmp_path: Path, truth: Truth) -> None:
    (tmp_path / "deaths").mkdir()
    url = f"dying://{tmp_path}/pages.jsonl"
    words = {"scope": "any", "robots": False, "breaker": 0, "retries": 0}
    alone = reached(cormorant.crawl([truth.url(0)], delay=0.0, per_host=0, **words))
    run = cormorant.crawl([truth.url(0)], workers=2, output=url, parse=parse, delay=0.02, concurrency=4, **words)
    outcomes = list(itertools.islice(run, 20))
    for number in range(3):
        (tmp_path / "deaths" / str(number)).touch()
    outcomes += list(run)
    assert not list((tmp_path / "deaths").iterdir()), "nobody died"
    assert reached(outcomes) == alone
    assert reached(cormorant.read(url)) == alone
    assert max(Counter(one.url for one in outcomes).values()) == 1


def test_the_pace_leaves_ten_times_what_all_shards_took() -> None:
    often, seldom = Pace(0.1), Pace(1_000.0)
    for pace in (often, seldom):
        with pace.asking(1):
            time.sleep(0.05)
    before = often.seconds
    with often.asking(2):
        time.sleep(0.05)
    assert before >= 0.5
    assert often.seconds >= before + 0.5
    assert often.idle_seconds == pytest.approx(often.seconds / 10)
    assert (seldom.seconds, seldom.idle_seconds) == (1_000.0, 0.5)


# --- what the tests stand on ---


def _plan(target: str) -> Plan:
    return Plan(
        is_crawl=False,
        words={},
        parse=None,
        since=None,
        split="host",
        shards=1,
        folder="",
        is_lasting=False,
        streams=False,
        target=target,
        format=None,
        overwrite=False,
        rotate_bytes=None,
        publish_seconds=1000.0,
    )


class _owned:
    """A shard in the hands of a worker, without the worker."""

    def __init__(self, plan: Plan, epoch: int) -> None:
        station = plan.station()
        snapshots = Snapshots(plan, 0, epoch, Pace(plan.publish_seconds))
        job = snapshots.open_journal()
        options = station.options
        frontier = job.frontier(options.header, options.timeout)
        self.share = Share(0, job, Split("host", 1), station.scheduler, frontier)
        self.share.commits.keep_letters(self.share)
        self.share.snapshots = snapshots
        snapshots.begin(self.share)

    def __enter__(self) -> Share:
        return self.share

    def __exit__(self, *_: object) -> None:
        self.share.close()


def _write(share: Share, url: str) -> None:
    """Have a shard get a line and fetch it, as its worker would."""
    taken = share.lines.taken
    share.take(batch(LIST, 0, taken, [LineOver(url.encode(), taken + 1)]))
    step = share.scheduler.next(time.monotonic())
    assert isinstance(step, Fetch)
    page = cormorant.Page(url=url, input=url, status=200, body=b"x")
    share.scheduler.settle(Done(ticket=step.ticket, value=page), time.monotonic())
    assert share.output is not None
    for outcome in share.scheduler.outcomes():
        share.output.write(outcome)
        share.commits.count(outcome)


def _full(*_: object) -> None:
    raise OutputError("the store is full")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
