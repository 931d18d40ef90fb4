"""`cormorant compare` as a user runs it: table, files, and what is refused before minutes are spent."""

import json
import signal

import pytest

pytest.importorskip("psutil")
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "'report.html' exists and is not one of ours"),
        (("--no-html", "--json", "notes.json"), "'notes.json' exists and is not one of ours"),
        (("--html", "nowhere/report.html"), "'nowhere/report.html' cannot be written"),
        (("--html", "r.html", "-c", "many"), "whole numbers with commas"),
        (("--html", "r.html", "-e", "thread,no"), "no engine 'no'"),
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
