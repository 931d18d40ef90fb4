"""The command with workers, as a user runs it: its outputs, its jobs, its stops, and what it says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disks import can_mount, memory_disk, remount
from fleet_watch import Command, Truth, group_of, reached, wait_until
from typer.testing import CliRunner

import cormorant
from cormorant.cli.app import app
from rude import Rude

pytestmark = [pytest.mark.usefixtures("tidy"), pytest.mark.timeout(120)]

DONE, FAILURES, USAGE, NOT_WRITTEN, STOPPED, KILLED = 0, 1, 2, 4, 7, 130
QUICK = ("--per-host", "0", "--breaker", "0")


def urls_of(folder: Path, name: str) -> Counter[str]:
    """Return how often each URL stands in an output."""
    return Counter(one.url for one in cormorant.read(f"{folder}/{name}"))


def good(rude: Rude, count: int, route: str = "/ok") -> list[str]:
    """Return a list over some hosts whose pages are all there."""
    return [rude.url(f"{route}/{number}", f"127.0.0.{1 + number % 9}") for number in range(count)]


def slow(rude: Rude, count: int, seconds: float) -> list[str]:
    """Return a list of pages that take their time."""
    return [rude.url(f"/slow/{seconds}?{number}", f"127.0.0.{1 + number % 9}") for number in range(count)]


# --- outputs ---


@pytest.mark.parametrize("name", ["pages/", "pages.jsonl", "pages.warc.gz"])
def test_the_parts_go_by_the_name_that_was_given(command: Command, rude: Rude, name: str) -> None:
    urls = good(rude, 40)
    code, out, err = command.run("fetch", "-i", command.list(urls), "-o", name, "-w", 2)
    assert (code, out) == (DONE, "")
    assert urls_of(command.folder, name) == Counter(urls)
    assert re.search(r"40 URLs in .*2 workers, engine greenlet, \d+ at once", err)
    assert re.search(rf"\b40 records to {name}", err)
    code, out, err = command.run("cat", name)
    assert (code, err) == (DONE, "")
    assert Counter(json.loads(line)["url"] for line in out.splitlines()) == Counter(urls)


def test_stdout_is_data(command: Command, rude: Rude) -> None:
    urls = good(rude, 40)
    for words in (["-o", "-"], []):
        code, out, err = command.run("fetch", "-i", command.list(urls), "-w", 2, "-q", *words)
        assert (code, err) == (DONE, "")
        assert Counter(json.loads(line)["url"] for line in out.splitlines()) == Counter(urls)
    assert sorted(os.listdir(command.folder)) == ["urls.txt"]


def test_a_reader_of_stdout_that_leaves_ends_all(command: Command, rude: Rude) -> None:
    process = command.start("fetch", "-i", command.list(slow(rude, 400, 0.05)), "-w", 2, "-q")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 141
    wait_until(lambda: not group_of(process.pid), 5.0)
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_parts_merged_are_one_file(command: Command, rude: Rude) -> None:
    urls = good(rude, 40)
    code, _, err = command.run("fetch", "-i", command.list(urls), "-o", "pages.jsonl", "-w", 2, "--merge")
    assert code == DONE, err
    assert sorted(os.listdir(command.folder)) == ["pages.jsonl", "urls.txt"]
    assert urls_of(command.folder, "pages.jsonl") == Counter(urls)


def test_an_output_that_is_there_is_refused(command: Command, rude: Rude) -> None:
    urls = command.list(good(rude, 20))
    fetch = ["fetch", "-i", urls, "-o", "pages.jsonl", "-q"]
    assert command.run(*fetch, "-w", 2, "--shards", 6)[0] == DONE
    code, _, err = command.run(*fetch, "-w", 1, "--shards", 2)
    assert code == USAGE
    assert "--overwrite" in err
    assert urls_of(command.folder, "pages.jsonl").total() == 20
    command.list(good(rude, 3))
    assert command.run(*fetch, "-w", 1, "--shards", 2, "--overwrite")[0] == DONE
    assert urls_of(command.folder, "pages.jsonl").total() == 3


def test_a_single_file_in_the_way_is_refused_and_overwritten(command: Command, rude: Rude) -> None:
    fetch = ["fetch", "-i", command.list(good(rude, 5)), "-o", "pages.jsonl", "-q"]
    assert command.run(*fetch)[0] == DONE
    assert command.run(*fetch, "-w", 2)[0] == USAGE
    assert command.run(*fetch, "-w", 2, "--overwrite")[0] == DONE
    assert urls_of(command.folder, "pages.jsonl").total() == 5


@pytest.mark.parametrize("command_name", ["fetch", "crawl"])
def test_the_list_is_never_overwritten(command: Command, command_name: str) -> None:
    name = command.list(["http://127.0.0.1:9/"], "list.jsonl")
    code, _, err = command.run(command_name, "-i", name, "-o", name, "--overwrite", "-w", 2, "-q")
    assert (command.folder / name).read_text() == "http://127.0.0.1:9/\n"
    assert (code, "both the list and the output" in err) == (USAGE, True)


def test_what_a_fleet_wrote_is_an_earlier_run(command: Command, rude: Rude) -> None:
    """What did not change since then is not sent again."""
    urls = command.list(rude.url("/validated/etag", f"127.0.0.{host}") for host in range(1, 9))
    assert command.run("fetch", "-i", urls, "-o", "before.jsonl", "-w", 2, "-q")[0] == DONE
    code, _, err = command.run("fetch", "-i", urls, "--since", "before.jsonl", "-o", "after.jsonl", "-w", 2, "-q")
    assert code == DONE, err
    assert {one.status for one in cormorant.read(command.folder / "after.jsonl")} == {304}


@pytest.mark.parametrize("name", ["pages.jsonl", "pages/"])
def test_one_worker_leaves_no_parts_of_a_fleet_beside_its_output(command: Command, rude: Rude, name: str) -> None:
    urls = good(rude, 8)
    assert command.run("fetch", "-i", command.list(urls), "-o", name, "-q", "-w", 2)[0] == DONE
    code, _, err = command.run("fetch", urls[0], "-o", name, "-q")
    assert (code, "--overwrite" in err) == (USAGE, True)
    assert command.run("fetch", urls[0], "-o", name, "-q", "--overwrite")[0] == DONE
    assert urls_of(command.folder, name) == Counter(urls[:1])


def test_the_summary_counts_as_one_worker_does(command: Command, truth: Truth) -> None:
    lines = [*truth.urls[:100], "no url", *truth.urls[:10], "http://127.0.0.1:9/"]
    name = command.list(lines)

    def summary(*words: object) -> list[str]:
        code, _, err = command.run("fetch", "-i", name, "-o", "pages.jsonl", "--overwrite", *QUICK, *words)
        assert code == FAILURES
        alike = err.replace(" in parts: cormorant cat pages.jsonl reads them", "")
        return [line for line in alike.splitlines()[1:] if not line.startswith("worker")]

    assert summary("-w", 3) == summary("-w", 1) == summary()


def test_a_list_of_bytes_that_are_no_text(command: Command, rude: Rude) -> None:
    url = rude.url("/ok/").encode()
    raw = b"\xef\xbb\xbf" + url + b"1\n" + url + b"\xff\xfe\n" + url + "größe\n".encode() + b"\n# no line\n\xff\xff\n"
    (command.folder / "urls.txt").write_bytes(raw)

    def records(*words: object) -> Counter[str]:
        _, out, _ = command.run("fetch", "-i", "urls.txt", "-o", "-", "-q", *words)
        found = map(json.loads, out.splitlines())
        return Counter(f"{one['url']} {one['input']} {one['line']} {one['kind']}" for one in found)

    assert records("-w", 2) == records()


# --- few hosts ---


def test_redirects_to_other_shards_do_not_wait_for_the_end_of_the_list(command: Command, rude: Rude) -> None:
    urls = [rude.url(f"/away/127.0.0.{host + 1}/ok/back", f"127.0.0.{host}") for host in range(1, 9)]
    rude.url("/ok/back", "127.0.0.9")  # it is there, too
    words = [sys.executable, "-m", "cormorant", "fetch", "-i", "-", "-o", "-", "-w", "2", "--shards", "8", "-q"]
    with subprocess.Popen(words, env=command.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(f"{url}\n" for url in urls).encode())
        process.stdin.flush()
        found = [json.loads(process.stdout.readline()) for _ in urls]  # the list is open still
        process.stdin.close()
        assert process.wait() == DONE
    assert Counter(one["input"] for one in found) == Counter(urls)
    assert {one["status"] for one in found} == {200}


def test_a_list_of_one_host_is_told_what_helps(command: Command, rude: Rude) -> None:
    urls = command.list(rude.url(f"/ok/{number}") for number in range(120))
    fetch = ["fetch", "-i", urls, "-w", 2, "--overwrite", "-o", "pages.jsonl"]
    code, _, err = command.run(*fetch)
    assert code == DONE
    assert "100 % of the list lies on hosts that one worker owns" in err
    assert "--split url" in err
    code, _, err = command.run(*fetch, "--split", "url")
    assert code == DONE
    assert "of the list lies" not in err
    assert urls_of(command.folder, "pages.jsonl").total() == 120


# --- what is refused ---


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fetch", "-w", 2, "-e", "process"], "engine 'process'"),
        (["fetch", "-w", 2, "-e", "pool"], "engine 'pool'"),
        (["fetch", "-w", 2, "-e", "auto"], "engine 'auto'"),
        (["crawl", "-w", 2, "-e", "process"], "engine 'process'"),
        (["crawl", "-w", 2, "--report-skipped", "skipped.jsonl"], "--report-skipped is written by one worker"),
        (["fetch", "-w", 2, "--merge"], "--merge is for files"),
        (["fetch", "-w", 2, "--merge", "-o", "pages/"], "-o pages.jsonl"),
        (["fetch", "--merge", "-o", "pages.jsonl"], "merge"),
        (["fetch", "--shards", 3], "-w 4"),
        (["fetch", "--split", "url"], "-w 4"),
        (["fetch", "-w", 2, "--split", "path"], "split"),
        (["crawl", "-w", 2, "--split", "host"], "split"),
        (["fetch", "-w", 0], "-w"),
        (["fetch", "-w", 2, "--shards", 0], "shards"),
        (["fetch", "-w", 2, "--polite-by", "address"], "use split address"),
        (["crawl", "-w", 2, "--polite-by", "address"], "leave workers out"),
        (["fetch", "-w", 4, "--split", "url", "--per-host", 2], "--per-host 4"),
    ],
    ids=lambda words: " ".join(map(str, words)) if isinstance(words, list) else "",
)
def test_what_makes_no_sense_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[Any], said: str
) -> None:
    """In this process: nothing is started before it is refused."""
    monkeypatch.chdir(tmp_path)
    command, *options = map(str, words)
    result = CliRunner().invoke(app, [command, "http://127.0.0.1:9/", *options])
    assert (result.exit_code, result.stdout) == (USAGE, ""), result.stderr
    assert said in " ".join(result.stderr.replace("\u2502", "").split())
    assert not os.listdir(tmp_path)


# --- jobs ---


def state_of(command: Command, job: str = "job") -> dict[str, Any]:
    code, out, err = command.run("job", job, "--json")
    assert code == DONE, err
    state: dict[str, Any] = json.loads(out)
    return state


@pytest.fixture
def few_files() -> Iterator[int]:
    """Let what is started open few files, and more if it asks for them; returns how many."""
    before, few = resource.getrlimit(resource.RLIMIT_NOFILE), 256
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    yield few
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_many_shards_keep_many_files_open(command: Command, rude: Rude, few_files: int) -> None:
    urls = command.list(good(rude, 30))
    code, _, err = command.run(
        "fetch", "-i", urls, "-o", "pages.jsonl", "-w", 1, "--shards", few_files, "--delay", 0, "-q"
    )
    assert (code, err) == (0, "")
    assert urls_of(command.folder, "pages.jsonl").total() == 30


def test_more_shards_than_files_can_be_open_are_refused(command: Command) -> None:
    script = 'ulimit -n 300 && exec "$0" -m cormorant fetch http://127.0.0.1:9/ -w 1 --shards 100'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], env=command.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == USAGE
    assert "100 shards a worker keep 596 files open, and a process may open 300 here" in " ".join(done.stderr.split())


def test_a_job_that_is_done_is_done(command: Command, rude: Rude) -> None:
    urls = good(rude, 40)
    fetch = ["fetch", "-i", command.list(urls), "-o", "pages.jsonl", "--job", "job"]
    assert command.run(*fetch, "-w", 2)[0] == DONE
    state = state_of(command)
    assert (state["done"], state["left"], state["is_list_read"]) == (40, 0, True)
    rude.clear_log()
    for words in (["-w", 3], []):
        code, _, err = command.run(*fetch, *words)
        assert code == DONE, err
    assert rude.log() == []
    assert urls_of(command.folder, "pages.jsonl") == Counter(urls)


def test_what_failed_is_tried_again_on_demand(command: Command, rude: Rude) -> None:
    urls = [*good(rude, 20), rude.url("/status/500", "127.0.0.2"), "http://127.0.0.1:9/", "http://127.0.0.3:9/"]
    fetch = ["fetch", "-i", command.list(urls), "-o", "pages.jsonl", "--job", "job", "-q", "--retries", "0"]
    assert command.run(*fetch, "-w", 2)[0] == FAILURES
    code, out, err = command.run("job", "job", "--retry", "connect,http_error")
    assert code == DONE, err
    assert out.splitlines()[0] == "3 wait again  connect: 2  http_error: 1"
    assert state_of(command)["left"] == 3
    rude.clear_log()
    code, _, err = command.run("resume", "job", "-w", 3, "-q")
    assert code == FAILURES, err
    assert [hit.path for hit in rude.log()] == ["/status/500"]
    assert urls_of(command.folder, "pages.jsonl") == Counter(urls) + Counter(urls[20:])


def test_a_job_begun_by_one_worker_stays_one(command: Command, rude: Rude) -> None:
    fetch = ["fetch", "-i", command.list(good(rude, 5)), "-o", "pages.jsonl", "--job", "job", "-q"]
    assert command.run(*fetch)[0] == DONE
    for words in ([*fetch, "-w", 2], ["resume", "job", "-w", 2]):
        code, _, err = command.run(*words)
        assert code == USAGE
        assert "was begun by one worker" in err
    assert state_of(command)["done"] == 5


def test_the_cut_of_a_job_cannot_change(command: Command, rude: Rude) -> None:
    fetch = ["fetch", "-i", command.list(good(rude, 5)), "-o", "pages.jsonl", "--job", "job", "-q", "-w", 2]
    assert command.run(*fetch, "--shards", 4)[0] == DONE
    for words in (["--shards", 5], ["--split", "host"]):
        code, _, err = command.run(*fetch, *words)
        assert code == USAGE, words
        assert words[0].strip("-") in err


# --- stops ---


def begin(command: Command, rude: Rude, urls: Iterable[str], *words: object) -> Any:
    """Start a job; return when the first pages of it were asked for."""
    rude.clear_log()
    fetch = ["fetch", "-i", command.list(urls), "-o", "pages.jsonl", "--job", "job", "--per-host", 0]
    process = command.start(*fetch, *words)
    rude.wait_log(lambda hits: len(hits) >= 4)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_stop_finishes_what_is_under_way_and_the_job_goes_on(command: Command, rude: Rude, number: int) -> None:
    urls = slow(rude, 60, 0.4)
    process = begin(command, rude, urls, "-w", 2, "-c", 4)
    os.killpg(process.pid, number)
    code, _, err = command.ended(process)
    assert code == STOPPED, err
    assert "stopped before the end" in err
    assert "cormorant resume job" in err
    assert "is gone" not in err
    asked = len(rude.log())
    done = urls_of(command.folder, "pages.jsonl")
    assert done.total() == asked < 60
    assert all(one.ok for one in cormorant.read(command.folder / "pages.jsonl"))
    assert state_of(command)["done"] == asked
    code, _, err = command.run("resume", "job", "-w", 3, "-c", 32)
    assert code == DONE, err
    assert urls_of(command.folder, "pages.jsonl") == Counter(urls)
    assert len(rude.log()) == 60


def test_two_stops_end_at_once(command: Command, rude: Rude) -> None:
    urls = [rude.url(f"/hang/{number}", f"127.0.0.{1 + number % 9}") for number in range(20)]
    process = begin(command, rude, urls, "-w", 2)
    os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(Exception):
        assert b"stopping" in process.stderr.readline()
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = command.ended(process)
    assert code == KILLED, err
    assert "stopped at once" in err
    assert "Traceback" not in err
    assert time.monotonic() - began < 10.0


def test_a_stopped_crawl_goes_on(command: Command, truth: Truth) -> None:
    crawl = ["crawl", truth.url(0), "--scope", "any", "--no-robots", "-o", "pages/", "--job", "job"]
    crawl += ["--delay", "0.03", "--breaker", "0", "--retries", "0"]
    before = truth.asked()
    process = command.start(*crawl, "-w", 2)
    wait_until(lambda: truth.asked() > before + 60)
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = command.ended(process)
    assert code == STOPPED, err
    code, _, err = command.run("resume", "job", "-w", 3)
    assert code == FAILURES, err
    back = list(cormorant.read(f"{command.folder}/pages/"))
    assert max(Counter(one.url for one in back).values()) == 1
    quick: dict[str, Any] = {"delay": 0.0, "per_host": 0, "breaker": 0, "retries": 0, "robots": False}
    assert reached(back) == reached(cormorant.crawl([truth.url(0)], scope="any", **quick))


def test_links_on_their_way_are_not_reached(command: Command, rude: Rude) -> None:
    """The only page known is done when the crawl is stopped; what it led to has its owner not met yet."""
    hosts = [f"127.0.0.{number}" for number in range(2, 10)]
    homes = {rude.url("/web/home", host) for host in hosts}
    crawl = ["crawl", rude.url("/out/" + "/".join(hosts)), "--scope", "any", "--no-robots", "--delay", 0]
    crawl += ["--include", "/out/|/web/home", "-o", "pages.jsonl", "--job", "job", "--parse", "fleet_jobs:stop_the_run"]
    code, _, err = command.run(*crawl, "-w", 2, "--shards", 2)
    assert code == STOPPED, err
    assert re.search(r"\b[1-8]  not reached", err)
    assert "cormorant resume job" in err
    assert 1 <= state_of(command)["left"] <= 8
    while code == STOPPED:
        code, _, err = command.run("resume", "job", "-w", 1)
    assert code == DONE, err
    assert set(urls_of(command.folder, "pages.jsonl")) == {crawl[1], *homes}


# --- a disk that fails ---


@pytest.mark.skipif(not can_mount(), reason="needs root, to mount a small disk")
def test_a_full_disk_is_told_and_room_lets_it_go_on(command: Command, rude: Rude) -> None:
    small = command.folder / "small"
    small.mkdir()
    urls = good(rude, 90, "/bytes/20000?")
    fetch = ["fetch", "-i", command.list(urls), "-o", "small/pages.jsonl", "--job", "job", "-w", 2, "-q"]
    with memory_disk(small, "600k"):
        code, _, err = command.run(*fetch)
        assert code == NOT_WRITTEN, err
        assert re.search(r"cannot write \S*small/pages-s\d{4}\.jsonl", err)
        remount(small, "size=64m")
        code, _, err = command.run("resume", "job", "-w", 3, "-q")
        assert code == DONE, err
        assert urls_of(command.folder, "small/pages.jsonl") == Counter(urls)


def test_an_output_in_a_folder_that_is_not_there_is_told_and_nobody_waits(command: Command, rude: Rude) -> None:
    code, _, err = command.run("fetch", *good(rude, 4), "-o", "nowhere/pages.jsonl", "-w", 2, "-q")
    assert code == NOT_WRITTEN, err
    assert "nowhere" in err
