"""`cormorant compare` as a user runs it: table, files, and what is refused before minutes are spent."""

import json
import signal

import pytest

psutil = pytest.importorskip("psutil")
pytest.importorskip("granian")

SMALL = ("compare", "--pages", "20", "--repeat", "1", "--no-claims", "-e", "serial,greenlet", "-c", "8")
MINE = "def double(item):\n    return item * 2\n"


@pytest.mark.slow
def test_table_report_and_json(cormorant):
    pytest.importorskip("matplotlib")
    code, out, err = cormorant.run(*SMALL, "--json", "c.json")
    assert code == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert [row[:3] for row in rows if row[1:2] in (["greenlet"], ["serial"])] == [
        ["1", "greenlet", "8"],
        ["2", "serial", "1"],
    ]
    assert "cormorant: trial 2 of 2" in err
    document = json.loads((cormorant.folder / "c.json").read_bytes())
    assert {trial["engine"] for trial in document["trials"]} == {"serial", "greenlet"}
    keys = "engine workers concurrency pages_per_second wall_seconds cpu_seconds peak_rss_bytes threads processes "
    keys += "context_switches_voluntary context_switches_involuntary"
    assert all(set(keys.split()) <= set(trial) for trial in document["trials"])
    assert {"machine", "versions", "work", "command"} <= set(document)
    assert document["command"].startswith("cormorant compare --pages 20")
    report = (cormorant.folder / "report.html").read_text()
    assert "<svg" in report
    assert "greenlet" in report


@pytest.mark.slow
def test_json_on_stdout_is_data_alone_and_quiet_is_quiet(cormorant):
    code, out, err = cormorant.run(*SMALL, "--no-html", "--json", "-", "-q")
    assert code == 0
    assert json.loads(out)["format"] == "cormorant-comparison/1"
    assert err == ""


@pytest.mark.slow
def test_a_function_of_ones_own_over_json_items(cormorant):
    (cormorant.folder / "mine.py").write_text(MINE)
    items = cormorant.list("1", "[2]", '"x"', name="items.jsonl")
    words = ("--work", "mine:double", "-i", items, "-e", "thread,gevent", "-c", "2", "--repeat", "1", "--no-html")
    code, out, err = cormorant.run("compare", *words, "--no-claims", "--json", "-")
    assert code == 0, err
    assert [(trial["engine"], trial["ok"]) for trial in json.loads(out)["trials"]] == [("thread", 3), ("gevent", 3)]


@pytest.mark.slow
def test_a_report_of_ours_is_replaced(cormorant):
    pytest.importorskip("matplotlib")
    (cormorant.folder / "report.html").write_text('<!doctype html><meta name="generator" content="cormorant 0">')
    code, _, err = cormorant.run(*SMALL)
    assert code == 0, err
    assert "<svg" in (cormorant.folder / "report.html").read_text()


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_measured(cormorant):
    words = ("compare", "--pages", "20", "--repeat", "50", "-e", "greenlet", "-c", "8", "--no-html", "--json", "c.json")
    process = cormorant.start(*words)
    while b"trial 3 of" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 7
    document = json.loads((cormorant.folder / "c.json").read_bytes())
    assert document["stopped"]
    assert len(document["trials"]) == 2
    assert b"greenlet" in out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_other_signals_end_it_as_ctrl_c_does(cormorant, number):
    words = ("compare", "--pages", "20", "--repeat", "50", "-e", "greenlet", "-c", "8", "--no-html", "--json", "c.json")
    process = cormorant.start(*words)
    while b"trial 2 of" not in process.stderr.readline():
        pass
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 7
    assert len(json.loads((cormorant.folder / "c.json").read_bytes())["trials"]) == 1


SLEEP = ("--work", "time:sleep", "-i", "items.jsonl", "-e", "process", "-c", "2", "--timeout", "1m", "--no-claims")


def asleep(cormorant, *words):
    """Start a comparison that sleeps; returns it once its trial has workers, and all that it has started."""
    cormorant.list("50", "50", name="items.jsonl")
    process = cormorant.start("compare", *SLEEP, *words)
    own = psutil.Process(process.pid)
    cormorant.wait_until(lambda: len(own.children(recursive=True)) >= 4)  # the trial, its warden, two workers
    return process, own.children(recursive=True)


@pytest.mark.slow
def test_ctrl_c_before_the_first_trial_is_over_says_that_nothing_was_measured(cormorant):
    process, started = asleep(cormorant, "--json", "c.json", "--html", "r.html")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (7, b"")
    assert b"nothing was measured" in err
    assert b"Traceback" not in err
    assert not (cormorant.folder / "c.json").exists()
    assert not (cormorant.folder / "r.html").exists()
    cormorant.wait_until(lambda: not any(map(is_there, started)))


@pytest.mark.slow
def test_killed_it_takes_its_trial_and_the_workers_with_it(cormorant):
    process, started = asleep(cormorant, "--no-html")
    process.kill()
    cormorant.wait_until(lambda: not any(map(is_there, started)))


@pytest.mark.slow
def test_ctrl_c_while_the_origin_is_measured(cormorant):
    process = cormorant.start("compare", "--no-html", "--no-claims", "--repeat", "1", "-e", "greenlet")
    own = psutil.Process(process.pid)
    cormorant.wait_until(lambda: len(own.children(recursive=True)) >= 2)  # the site, and the first who asks it
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (7, b"")
    assert b"nothing was measured" in err
    assert b"trial 1 of" not in err


def is_there(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_an_output_that_fails_loses_neither_the_table_nor_the_report(cormorant):
    pytest.importorskip("matplotlib")
    code, out, err = cormorant.run(*SMALL, "--json", "/dev/full")
    assert code == 4
    assert "cannot write '/dev/full'" in err
    assert "greenlet" in out
    assert "<svg" in (cormorant.folder / "report.html").read_text()


@pytest.mark.slow
def test_an_empty_file_and_a_device_are_written_to_and_quiet_says_nothing(cormorant):
    pytest.importorskip("matplotlib")
    (cormorant.folder / "report.html").touch()
    code, _, err = cormorant.run(*SMALL, "--json", "/dev/null", "-q")
    assert (code, err) == (0, "")
    assert (cormorant.folder / "report.html").stat().st_size > 10_000
    assert [path.name for path in cormorant.folder.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "'report.html' exists and is not one of ours"),
        (("--no-html", "--json", "notes.json"), "'notes.json' exists and is not one of ours"),
        (("--html", "nowhere/report.html"), "'nowhere/report.html' cannot be written"),
        (("--html", "r.html", "-c", "many"), "whole numbers with commas"),
        (("--html", "r.html", "-e", "thread,no"), "no engine 'no'"),
        (("--html", "r.html", "-e", ""), "no engine to compare; name some of serial"),
        (("--html", "r.html", "--timeout", "0"), "timeout is 0"),
        (("--html", "r.html", "--per-host", "-1"), "per_host is -1"),
        (("--html", "r.html", "--work", "mine:nothing", "-i", "items.txt"), "there is no module 'mine'"),
        (("--html", "r.html", "--work", "os:getcwd", "http://a.example/"), "takes its items from -i FILE"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(cormorant, words, said):
    pytest.importorskip("matplotlib")
    (cormorant.folder / "report.html").write_text("<p>my own</p>")
    (cormorant.folder / "notes.json").write_text('{"mine": 1}')
    cormorant.list("a", name="items.txt")
    code, out, err = cormorant.run("compare", "--no-claims", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert "trial 1" not in err
    assert (cormorant.folder / "report.html").read_text() == "<p>my own</p>"
    assert (cormorant.folder / "notes.json").read_text() == '{"mine": 1}'


@pytest.mark.slow
def test_a_broken_trial_is_exit_1_and_shown(cormorant):
    (cormorant.folder / "mine.py").write_text("import os\n\ndef leave(item):\n    os._exit(3)\n")
    words = ("--work", "mine:leave", "-i", cormorant.list("a", name="items.txt"), "-e", "serial", "--repeat", "1")
    code, out, _ = cormorant.run("compare", *words, "--no-html", "--no-claims")
    assert code == 1
    assert "broke" in out
    assert "exit code 3" in out
