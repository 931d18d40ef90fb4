"""`--job`, `cormorant job` and `cormorant resume` from outside: a run that was stopped ends as one that was not.

Runs that are stopped or killed are processes of their own; what is refused, and looked at, runs here.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cormorant as library
from cormorant.cli.app import app
from cormorant.jobs import FIXED
from rude.crawling import ROBOTS

PLAIN, MAPS = ROBOTS["plain"], ROBOTS["maps"]
HASTY = ("--delay", "0.03", "--retries", "0")
GO_ON = "to go on, run the same command again, or: cormorant resume"


@pytest.fixture
def here(cormorant, monkeypatch):
    """Runs a command in this process, in the folder of the others; returns its exit code, stdout and stderr."""

    def run(*words, folder="."):
        monkeypatch.chdir(cormorant.folder / folder)
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result.exit_code, result.stdout, result.stderr

    return run


def cut(cormorant, rude, words, hits, number=signal.SIGINT):
    """Run until `hits` more requests have come in, then send the signal; returns exit code and stderr."""
    before = len(rude.log())
    process = cormorant.start(*words)
    rude.wait_log(lambda log: len(log) >= before + hits)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    return process.returncode, err.decode()


def kill_when_committed(cormorant, words, done, folder="job"):
    """Run until that many outcomes are committed, as far as one can see from outside, then kill -9."""
    process = cormorant.start(*words)
    progress = cormorant.folder / folder / "progress.json"
    cormorant.wait_until(lambda: progress.exists() and json.loads(progress.read_text())["done"] >= done)
    process.kill()
    process.communicate(timeout=30)


def read(cormorant, name):
    return list(library.read(cormorant.folder / name))


def ends(outcomes):
    """Count (path, kind or status)."""
    return Counter((outcome.url.split("/", 3)[-1], str(outcome.kind or outcome.status)) for outcome in outcomes)


def sums(err):
    """Return the summary's numbers by their labels; of a run that goes on they are those of the whole job."""
    found = {
        label.strip(): int(number) for number, label in re.findall(r"^ {1,9}(\d+)  ([A-Za-z ]+?)(?:  |$)", err, re.M)
    }
    found |= {label: int(number) for number, label in re.findall(r"; (\d+) (retries|redirects followed)", err)}
    return found | {"saved": int(re.search(r"saved (\d+) record", err)[1])}


def paths(rude, since=0):
    return [hit.path for hit in rude.log()[since:]]


# --- a list ---

FORMATS = {
    "serial": "out.jsonl",
    "pool": "out.csv",
    "process": "out.jsonl.gz",
    "thread": "out.warc.gz",
    "greenlet": "out.parquet",
    "gevent": "out.sqlite",
    "asyncio": "pages/",
}
ENGINES = list(FORMATS)


def of_all_kinds(cormorant, rude):
    """Write a list with an end of each kind; what needs two attempts is last, behind where the runs are stopped."""
    slow = [rude.url(f"/slow/0.1?{number}") for number in range(6)]
    lines = ["# mine", slow[0], "no url", slow[1], "", slow[0], *slow[2:], "b\u00fccher nowhere", slow[1]]
    lines += [rude.url("/status/404"), rude.url("/redir/2"), rude.url("/drop"), rude.url("/flaky/job/1")]
    return cormorant.list(*lines)


WHOLE = {"ok": 8, "http error": 1, "network": 1, "no URL": 2, "duplicate": 2, "saved": 12}
WHOLE |= {"retries": 2, "redirects followed": 2}


def test_the_sums_of_a_run_that_is_not_stopped(cormorant, rude, here):
    rude.clear_log()
    code, _, err = here("fetch", "-i", of_all_kinds(cormorant, rude), "-o", "out.jsonl", "--retries", "1")
    assert (code, sums(err)) == (1, WHOLE)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_list_begun_under_one_engine_goes_on_under_another(cormorant, rude, here, engine):
    for package in {"greenlet": ("pyarrow",), "thread": ("fastwarc",), "gevent": ("gevent",)}.get(engine, ()):
        pytest.importorskip(package)
    other, output = ENGINES[(ENGINES.index(engine) + 3) % len(ENGINES)], FORMATS[engine]
    rude.clear_log()
    begin = ("fetch", "-i", of_all_kinds(cormorant, rude), "-o", output, "--job", "job", "-c", "2", "--retries", "1")
    begin += ("--per-host", "0")
    number = signal.SIGTERM if ENGINES.index(engine) % 2 else signal.SIGINT
    code, err = cut(cormorant, rude, (*begin, "-e", engine), 2, number)
    assert code == 7, err
    assert f"{GO_ON} job" in err
    assert 1 <= sums(err)["saved"] < 12
    code, _, err = cormorant.run("resume", "job", "-e", other)
    assert (code, sums(err)) == (1, WHOLE), err
    assert f"engine {other}" in err
    assert "BUG" not in err
    assert "job job goes on: " in err
    outcomes = read(cormorant, output.rstrip("/"))
    assert Counter((one.line, one.input) for one in outcomes).most_common(1)[0][1] == 1
    assert [one.line for one in sorted(outcomes, key=lambda one: one.line)] == [
        2,
        3,
        4,
        7,
        8,
        9,
        10,
        11,
        13,
        14,
        15,
        16,
    ]
    slow = [path for path in paths(rude) if path.startswith("/slow")]
    assert len(slow) == len(set(slow)) == 6
    asked = len(rude.log())
    code, _, again = here(*begin, "-e", "greenlet")
    assert (code, sums(again), len(rude.log())) == (1, WHOLE, asked)
    assert len(read(cormorant, output.rstrip("/"))) == 12


@pytest.mark.parametrize("keep", [False, True], ids=["once", "keep duplicates"])
def test_several_lists_and_kill_9(cormorant, rude, here, keep):
    """Of what was handed over in the last second nothing is lost, and nothing is there twice."""
    rude.clear_log()
    urls = [rude.url(f"/slow/0.05?{number}") for number in range(30)]
    packed = gzip.compress("\n".join([*urls[10:30], urls[3], "no url"]).encode())
    (cormorant.folder / "b.txt.gz").write_bytes(packed)
    first = cormorant.list(*urls[2:10], "no url", "", "# a comment", urls[2], name="a.txt")
    words = ("fetch", *urls[:2], urls[0], "-i", first, "-i", "b.txt.gz", "-o", "out.jsonl", "--job", "job")
    words += ("-c", "1", *(["--keep-duplicates"] if keep else []))
    kill_when_committed(cormorant, words, 3)
    code, _, err = cormorant.run(*words)
    assert code == 1, err
    assert "its last run ended without a word (process" in err
    twice = 3 if keep else 0
    assert sums(err) == {"ok": 30 + twice, "no URL": 2, "saved": 32 + twice} | ({} if keep else {"duplicate": 3})
    records = read(cormorant, "out.jsonl")
    wanted = Counter([*urls, "no url", "no url"] + ([urls[0], urls[2], urls[3]] if keep else []))
    assert Counter(one.input for one in records) == wanted
    assert len(rude.log()) - 30 - twice <= 25 + 1  # what a kill costs: a second of work, and what is under way
    state = json.loads(here("job", "job", "--json")[1])
    assert (state["done"], state["left"], state["is_list_read"], state["running"]) == (32 + twice, 0, True, None)
    assert os.listdir(cormorant.folder / "job") == ["journal.sqlite"]


def test_ctrl_c_twice_stops_at_once_and_goes_on(cormorant, rude):
    rude.clear_log()
    urls = [rude.url("/ok/1"), rude.url("/retry-after/0"), *(rude.url(f"/hang/{number}") for number in range(2))]
    words = ("fetch", "-i", cormorant.list(*urls), "-o", "out.jsonl", "--job", "job", "--timeout", "400ms")
    process = cormorant.start(*words[:-1], "60s")
    rude.wait_log(lambda log: len(log) == 4)
    process.send_signal(signal.SIGINT)
    assert b"stopping" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"stopped at once; {GO_ON} job" in err.decode()
    code, _, err = cormorant.run(*words)
    assert (code, sums(err)) == (1, {"ok": 1, "http error": 1, "network": 2, "saved": 4})
    assert sorted(one.line for one in read(cormorant, "out.jsonl")) == [1, 2, 3, 4]


def test_rotated_parts(cormorant, rude):
    rude.clear_log()
    name = cormorant.list(*(rude.url(f"/slow/0.1?{number}") for number in range(12)))
    words = ("fetch", "-i", name, "-o", "out.jsonl", "--rotate", "1K", "--job", "job", "-c", "2", "-e", "auto")
    assert cut(cormorant, rude, words, 4, signal.SIGTERM)[0] == 7
    assert cormorant.run(*words)[0] == 0
    parts = sorted(path.name for path in cormorant.folder.glob("out*.jsonl"))
    assert parts[:2] == ["out-00001.jsonl", "out-00002.jsonl"]
    assert parts[-1] == "out.jsonl"
    assert sorted(one.line for one in read(cormorant, "out.jsonl")) == list(range(1, 13))


def test_from_another_working_directory(cormorant, rude):
    rude.clear_log()
    name = cormorant.list(*(rude.url(f"/slow/0.1?{number}") for number in range(6)))
    (cormorant.folder / "old.jsonl").write_text("")
    (cormorant.folder / "mine.py").write_text("def status(page):\n    return page.status\n")
    words = ("fetch", "-i", name, "-o", "out.jsonl", "--since", "old.jsonl", "--job", "jobs/one", "-c", "2")
    assert cut(cormorant, rude, (*words, "--parse", "mine:status"), 2)[0] == 7
    elsewhere = cormorant.folder / "elsewhere"
    elsewhere.mkdir()
    cormorant.folder = elsewhere
    code, _, err = cormorant.run("resume", "../jobs/one")
    assert code == 0, err
    assert list(elsewhere.iterdir()) == []
    assert sorted((one.line, one.data) for one in read(cormorant, "../out.jsonl")) == [(n, 200) for n in range(1, 7)]


def test_a_page_that_is_to_be_tried_again_is_so_by_the_next_run(cormorant, rude):
    """Its second attempt would come a minute later; the next run begins with its first."""
    rude.clear_log()
    urls = [rude.url("/busy-once/job/60"), rude.url("/ok/1", "127.0.0.2")]
    words = ("fetch", "-i", cormorant.list(*urls), "-o", "out.jsonl", "--job", "job", "--retries", "2")
    process = cormorant.start(*words)
    progress = cormorant.folder / "job" / "progress.json"
    cormorant.wait_until(lambda: progress.exists() and json.loads(progress.read_text())["done"] == 1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, sums(err.decode())["retries"]) == (7, 1)
    assert "1 of 2 URLs left" in err.decode()
    code, _, err = cormorant.run(*words)
    assert (code, sums(err)) == (0, {"ok": 2, "retries": 1, "saved": 2})
    assert Counter(paths(rude)) == {"/busy-once/job/60": 2, "/ok/1": 1}


def test_a_page_that_fails_while_a_run_is_stopped_is_counted_as_tried_again(cormorant, rude):
    rude.clear_log()
    words = ("fetch", rude.url("/partial/100"), rude.url("/drip"), "-o", "out.jsonl", "--job", "job", "--retries", "1")
    process = cormorant.start(*words, "--timeout", "400ms")
    rude.wait_log(lambda log: len(log) >= 2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 7
    before = len(rude.log())
    code, _, err = cormorant.run(*words, "--timeout", "200ms")
    assert (code, sums(err)["network"]) == (3, 2)
    assert len(rude.log()) == 2 + sums(err)["retries"], (before, err)


def test_the_gap_holds_on_the_servers_clock(cormorant, rude):
    """Also for a host of which only what is not read yet has more: with one at once nothing is read ahead."""
    rude.clear_log()
    name = cormorant.list(*(rude.url(f"/slow/0.05?{number}") for number in range(3)))
    words = ("fetch", "-i", name, "-o", "out.jsonl", "--job", "job", "--delay", "1.5", "-c", "1")
    assert cut(cormorant, rude, words, 1)[0] == 7
    assert cut(cormorant, rude, words, 1)[0] == 7
    first, second = rude.log()
    assert (second.t_ns - first.t_ns) / 1e9 >= 1.5 - 0.005


# --- what is refused ---


@pytest.fixture
def done(cormorant, rude, here):
    """A job that is done: its words."""
    rude.clear_log()
    name = cormorant.list(rude.url("/ok/1"), rude.url("/ok/2"))
    words = ("fetch", "-i", name, "-o", "out.jsonl", "--job", "job")
    assert here(*words)[0] == 0
    return words


CHANGED = [
    (("-i", "MORE"), "input .*urls.txt, and now it is input .*urls.txt .*more.txt: the job remembers"),
    (("--keep-duplicates",), "keep-duplicates False, and now it is keep-duplicates True"),
    (("--format", "csv"), "format nothing, and now it is format csv: the job knows what it has written there"),
    (("--since", "out.jsonl"), "since nothing, and now it is since .*out.jsonl"),
    (("http://a.example/",), "urls nothing, and now it is urls http://a.example/"),
]


@pytest.mark.parametrize(("more", "words"), CHANGED, ids=[words[1].partition(" ")[0] for words in CHANGED])
def test_what_is_fixed(cormorant, rude, here, done, more, words):
    more = [cormorant.list("x", name="more.txt") if word == "MORE" else word for word in more]
    code, _, err = here(*done, *more)
    assert code == 2
    assert re.search(rf"job job was begun with {words}", err), err
    assert "run it as it was begun, or begin another job folder" in err


def test_the_command_and_the_output_are_fixed_too(here, rude, done):
    code, _, err = here("crawl", "urls.txt", "-o", "out.jsonl", "--job", "job")
    assert (code, "was begun with command fetch, and now it is command crawl" in err) == (2, True)
    code, _, err = here("fetch", "-i", "urls.txt", "-o", "other.jsonl", "--job", "job")
    assert (code, "out.jsonl, and now it is output" in err) == (2, True)
    assert not os.path.exists("other.jsonl")


def test_what_is_free(rude, here, done):
    rude.clear_log()
    free = "-e thread -c 3 --timeout 3 --delay 1 --retries 5 --header a:b --rotate 1G --robots --max-body 5 --no-body"
    assert here(*done, *free.split())[0] == 0
    assert here("fetch", "-i", "./urls.txt", "-o", "./out.jsonl", "--job", "./job", "-q") == (0, "", "")
    assert here("resume", "job", "-q", "-c", "5") == (0, "", "")
    assert rude.log() == []


def test_what_is_refused_is_not_remembered(rude, here, done):
    for wrong, why in (("-c", "0"), "concurrency is 0"), (("-e", "pigeon"), "no engine 'pigeon'"):
        code, _, err = here("resume", "job", *wrong)
        assert (code, why in err) == (2, True)
    assert here("resume", "job")[0] == 0
    assert "engine thread, 3 at once" in here("resume", "job", "-e", "thread", "-c", "3")[2]
    assert "engine thread, 3 at once" in here("resume", "job")[2]


def test_a_list_that_changed(cormorant, rude, here, done):
    with (cormorant.folder / "urls.txt").open("a") as file:
        file.write(f"{rude.url('/ok/3')}\n")
    for words in (done, ("resume", "job")):
        code, _, err = here(*words)
        assert code == 2
        assert re.search(r"urls.txt had \d+ bytes and has \d+ since the job was begun", err), err
        assert "pass --accept-changed-list" in err
    code, _, err = here("resume", "job", "--accept-changed-list")
    assert (code, sums(err)) == (0, {"ok": 3, "saved": 3})
    assert here(*done)[0] == 0
    os.unlink(cormorant.folder / "urls.txt")
    code, _, err = here(*done)
    assert code == 2
    assert "cannot read the list" in err


def test_a_list_that_breaks_off_is_read_on_once_it_is_mended(cormorant, rude, here):
    lines = [rude.url(f"/ok/{number}") for number in range(60)]
    whole = gzip.compress("".join(f"{line}\n" for line in lines[:40]).encode(), compresslevel=0)
    broken, last = cormorant.folder / "one.gz", cormorant.folder / "two.txt"
    broken.write_bytes(whole[: len(whole) // 2])
    last.write_text("".join(f"{line}\n" for line in lines[40:]))
    words = ("fetch", "-i", "one.gz", "-i", "two.txt", "-o", "out.jsonl", "--job", "job")
    for _ in range(2):  # it is told every time
        code, _, err = here(*words)
        assert code == 2
        assert "the list broke off: one.gz" in err
        assert "(--accept-changed-list)" in err
    assert "the list is not read to its end" in here("job", "job")[1]
    broken.write_bytes(whole)
    code, _, err = here(*words, "--accept-changed-list")
    assert (code, sums(err)) == (0, {"ok": 60, "saved": 60})
    assert sorted(one.url for one in read(cormorant, "out.jsonl")) == sorted(lines)


def test_a_report_that_was_never_begun_is_nobodys(cormorant, rude, here):
    (cormorant.folder / "there.jsonl").write_text("precious")
    (cormorant.folder / "precious.jsonl").write_text("precious")
    words = ("crawl", rude.url("/ok/1"), "--no-robots", "--delay", "0", "--job", "job", "--report-skipped")
    assert here(*words, "new.jsonl", "-o", "there.jsonl")[0] == 2
    code, _, err = here(*words, "precious.jsonl", "-o", "out.jsonl")
    assert (code, "precious.jsonl exists" in err) == (2, True), err
    assert (cormorant.folder / "precious.jsonl").read_text() == "precious"
    assert here(*words, "new.jsonl", "-o", "out.jsonl")[0] == 0


def test_who_looks_leaves_word_of_a_run_that_was_killed(cormorant, rude, here):
    rude.clear_log()
    name = cormorant.list(rude.url("/ok/1"), rude.url("/slow/5"))
    words = ("fetch", "-i", name, "-o", "out.jsonl", "--job", "job")
    process = cormorant.start(*words)
    rude.wait_log(lambda hits: hits)
    process.kill()
    process.wait()
    assert here("job", "job")[0] == 0
    assert "its last run ended without a word" in here(*words, "--timeout", "0.2")[2]


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("http://a.example/",), "give -o FILE beside --job"),
        (("http://a.example/", "-o", "-"), "give -o FILE beside --job"),
        (("http://a.example/", "-o", "/dev/null", "--format", "csv", "--overwrite"), "name a file"),
        (("-i", "-", "-o", "x.jsonl"), "save the list to a file, and give -i FILE"),
        (("-i", "PIPE", "-o", "x.jsonl"), "save the list to a file, and give that"),
        (("-i", "missing.txt", "-o", "x.jsonl"), "missing.txt"),
        (("http://a.example/", "-o", "x.what"), "cannot tell from 'x.what' what to write"),
        (("http://a.example/", "-o", "x.jsonl", "-e", "pigeon"), "pigeon"),
    ],
    ids=["no output", "stdout", "device", "stdin", "pipe", "missing list", "no format", "engine"],
)
def test_what_a_job_cannot_be(cormorant, here, words, fix):
    reading, writing = os.pipe()
    os.close(writing)
    words = [f"/dev/fd/{reading}" if word == "PIPE" else word for word in words]
    code, _, err = here("fetch", *words, "--job", "job")
    os.close(reading)
    assert (code, fix in err) == (2, True), err
    assert not (cormorant.folder / "x.jsonl").exists()


def test_an_output_that_is_there(cormorant, rude, here):
    (cormorant.folder / "out.jsonl").write_text("mine\n")
    words = ("fetch", rude.url("/ok/1"), "-o", "out.jsonl", "--job", "job")
    for _ in range(2):
        code, _, err = here(*words)
        assert (code, "out.jsonl exists; pass --overwrite" in err) == (2, True)
    assert (cormorant.folder / "out.jsonl").read_text() == "mine\n"
    assert here(*words, "--overwrite")[0] == 0
    assert here(*words, "--overwrite")[0] == 0  # and now it is the job's
    assert len(read(cormorant, "out.jsonl")) == 1


@pytest.mark.parametrize("harm", [os.unlink, lambda path: os.truncate(path, 5)], ids=["removed", "cut"])
def test_an_output_that_somebody_else_changed(cormorant, rude, here, done, harm):
    rude.clear_log()
    harm(cormorant.folder / "out.jsonl")
    code, _, err = here(*done)
    assert code == 4
    assert "out.jsonl: " in err
    assert "changed by somebody else; put it back, or begin a new job with a new output" in err
    assert rude.log() == []


def test_a_folder_that_is_no_job(cormorant, here):
    (cormorant.folder / "full").mkdir()
    cormorant.list("x", name="full/file")
    words = ("fetch", "http://a.example/", "-o", "out.jsonl", "--job")
    assert "full is not empty and holds no job; name a new folder" in here(*words, "full")[2]
    assert "urls.txt is a file; name a folder" in here(*words, cormorant.list("x"))[2]
    for command in (("job", "none"), ("resume", "none"), ("job", "none", "--retry", "dns")):
        assert "none holds no job; begin one: cormorant fetch" in here(*command)[2]


# --- to look on, and to try again ---


def test_a_job_that_is_looked_at_while_it_runs(cormorant, rude, here):
    rude.clear_log()
    urls = [rude.url("/ok/1"), *(rude.url(f"/hang/{number}") for number in range(3))]
    words = ("fetch", "-i", cormorant.list(*urls), "-o", "out.jsonl", "--job", "job", "--timeout", "300ms", "-c", "2")
    process = cormorant.start(*words, "--timeout", "60s")
    cormorant.wait_until(lambda: "running" in here("job", "job")[1])
    code, _, err = here(*words)
    assert code == 2
    assert f"in use by another run (process {process.pid} on" in err
    assert here("resume", "job")[0] == here("job", "job", "--retry", "dns")[0] == 2
    cormorant.wait_until(lambda: "running" in (out := here("job", "job")[1]) and "1  ok" in out)
    state = json.loads(here("job", "job", "--json")[1])
    assert (state["done"], state["ok"], state["left"], state["is_list_read"]) == (1, 1, 2, False)
    assert str(process.pid) in state["running"]
    process.kill()
    process.communicate()
    _, out, _ = here("job", "job")
    assert "job job: stopped, 1 done\n           1  ok\n           2  left of what was found; the list is not" in out
    process = cormorant.start(*words, "--timeout", "60s")  # nothing comes of it, and yet it is seen
    cormorant.wait_until(lambda: str(process.pid) in here("job", "job")[1])
    process.kill()
    process.communicate()
    assert cormorant.run(*words)[0] == 1
    _, out, _ = here("job", "job")
    assert "job job: done, 4 done\n           1  ok\n           3  timeout\n           0  left" in out
    assert re.search(rf"{4:>12}  {3:>9}  {0:>9}  http://127.0.0.1:\d+\n", out)


def test_what_failed_is_tried_again(cormorant, rude, here):
    rude.clear_log()
    urls = [rude.url("/ok/1"), rude.url("/flaky/a/1"), rude.url("/flaky/b/2"), rude.url("/stall-at/9"), "no url"]
    words = ("fetch", "-i", cormorant.list(*urls), "-o", "out.jsonl", "--job", "job", "--timeout", "150ms")
    code, _, err = here(*words)
    assert (code, sums(err)["ok"]) == (1, 1)
    _, out, _ = here("job", "job", "--retry", "timeout, http_error")
    assert out.startswith("3 wait again  http_error: 2  timeout: 1\ngo on: ")
    assert out.endswith("or: cormorant resume job\n")
    state = json.loads(here("job", "job", "--json")[1])
    assert (state["done"], state["left"], state["failed"], state["http_errors"]) == (2, 3, {"bad_url": 1}, 0)
    code, _, err = here(*words)
    assert code == 1
    wanted = {"ok": 2, "http error": 1, "network": 1, "no URL": 1}
    assert sums(err) == wanted | {"saved": sums(err)["saved"]}
    last = {one.line: str(one.kind or one.status) for one in read(cormorant, "out.jsonl")}
    assert last == {1: "200", 2: "200", 3: "503", 4: "timeout", 5: "bad_url"}
    assert len(read(cormorant, "out.jsonl")) == 8
    assert here("job", "job", "--retry", "connect")[1] == "nothing to try again\n"
    code, _, err = here("job", "job", "--retry", "http_error,late")
    assert code == 2
    assert "'late' cannot be tried again; give some of http_error, dns, connect, tls, timeout," in err


def test_a_job_begun_from_python(cormorant, rude, here):
    output = str(cormorant.folder / "out.jsonl")
    list(library.fetch([rude.url("/ok/1")], output=output, job=str(cormorant.folder / "job")))
    code, _, err = here("resume", "job")
    assert code == 2
    assert "job job was begun by cormorant.fetch: call that again with the same list" in err
    assert "job job: done, 1 done" in here("job", "job")[1]


def test_every_fixed_word_is_one_of_the_commands():
    """A word that was misspelt in FIXED would never be looked at."""
    import inspect

    from cormorant.cli import crawl, fetch

    words = {*inspect.signature(fetch.fetch).parameters, *inspect.signature(crawl.crawl).parameters, "command"}
    assert set(FIXED) <= words


# --- a crawl ---


def crawled(cormorant, rude, words, hits, number=signal.SIGINT):
    """Crawl, stop after so many requests, go on; returns the last exit code and stderr, and what was asked when."""
    rude.clear_log()
    code, err = cut(cormorant, rude, ("crawl", *words, "-o", "cut.jsonl", "--job", "job"), hits, number)
    assert code == 7, err
    before = len(rude.log())
    code, _, err = cormorant.run("crawl", *words, "-o", "cut.jsonl", "--job", "job")
    assert "BUG" not in err
    return code, err, before


def test_a_crawl_that_was_stopped_ends_as_one_that_was_not(cormorant, rude, here):
    words = (rude.url("/web/home", PLAIN), *HASTY, "--report-skipped", "skipped.jsonl")
    code, _, whole = here("crawl", *words, "-o", "whole.jsonl")
    assert code == 1
    os.rename("skipped.jsonl", "whole-skipped.jsonl")
    code, err, before = crawled(cormorant, rude, words, 7)
    assert (code, sums(err)) == (1, sums(whole))
    assert ends(read(cormorant, "cut.jsonl")) == ends(read(cormorant, "whole.jsonl"))
    asked = paths(rude)
    assert 7 <= before < len(asked)
    assert len(asked) == len(set(asked))  # nothing twice: no page, no robots.txt
    skipped = cormorant.records(Path("skipped.jsonl").read_text())
    assert [(one["url"], one["reason"]) for one in skipped] == [("http://127.0.0.2:1/elsewhere", "scope")]


def test_a_crawl_whose_seed_has_moved_takes_its_scope_along(cormorant, rude, here):
    """What is found after going on lies at the new address, which only the seed's redirect has brought in."""
    words = (rude.url("/away/www.a.localhost/web/home", "a.localhost"), *HASTY)
    assert here("crawl", *words, "-o", "whole.jsonl")[0] == 1
    _, _, before = crawled(cormorant, rude, words, 4, signal.SIGTERM)
    assert ends(read(cormorant, "cut.jsonl")) == ends(read(cormorant, "whole.jsonl"))
    assert len(read(cormorant, "cut.jsonl")) > 10
    pages = [hit for hit in rude.log() if hit.path != "/robots.txt"]
    assert len({(hit.host, hit.path) for hit in pages}) == len(pages)
    assert before <= 6


def test_budgets_and_depth_hold_over_a_stop(cormorant, rude):
    seeds = (rude.url("/maze/0", "127.0.45.1"), rude.url("/maze/0", "127.0.45.2"))
    words = (*seeds, *HASTY, "--max-pages", "12", "--max-pages-per-host", "7", "--report-skipped", "skipped.jsonl")
    code, err, _ = crawled(cormorant, rude, words, 8)
    assert (code, sums(err)["ok"]) == (0, 12)
    pages = read(cormorant, "cut.jsonl")
    assert len({one.url for one in pages}) == 12
    assert max(Counter(one.url.split("/")[2] for one in pages).values()) <= 7
    asked = [hit.path for hit in rude.log() if hit.path != "/robots.txt"]
    assert len(asked) == 12
    skipped = [one["url"] for one in cormorant.records((cormorant.folder / "skipped.jsonl").read_text())]
    assert len(skipped) == len(set(skipped)) == sums(err)["left out"]


def test_depth_and_sitemaps_go_on(cormorant, rude, here):
    words = (rude.url("/maze/0", MAPS), *HASTY, "--depth", "2", "--sitemaps")
    here("crawl", *words, "-o", "whole.jsonl")
    _, err, _ = crawled(cormorant, rude, words, 2)
    assert ends(read(cormorant, "cut.jsonl")) == ends(read(cormorant, "whole.jsonl"))
    asked = paths(rude)
    assert Counter(asked).most_common(1)[0][1] == 1
    assert {"/sitemap/index", "/sitemap/txt", "/sitemap/gz", "/ok/packed", "/ok/line", "/maze/12"} <= set(asked)
    assert "robots.txt and sitemaps read" in err


def test_a_seeds_credentials_are_sent_when_it_goes_on(cormorant, rude):
    address = rude.url("/auth").removeprefix("http://")
    seeds = (rude.url("/slow/0.2"), f"http://user:password@{address}")
    code, err, before = crawled(cormorant, rude, (*seeds, "--no-robots", "--per-host", "1", "--delay", "0"), 1)
    assert (code, before) == (0, 1), err
    assert ends(read(cormorant, "cut.jsonl")) == {("slow/0.2", "200"): 1, ("auth", "200"): 1}
    assert "password" not in (cormorant.folder / "cut.jsonl").read_text()
