"""`cormorant crawl` from outside: seeds in, records out, what is refused, and how it ends."""

import json
import signal

import pytest
from typer.testing import CliRunner

from cormorant.cli.app import app
from cormorant.cli.choices import options_in
from cormorant.options import CRAWL_DEFAULTS, Options
from rude.crawling import ROBOTS

PLAIN = ROBOTS["plain"]
HASTY = ("--delay", "0", "--per-host", "4", "--retries", "0")


def ends(cormorant, text):
    return sorted(
        (record["url"].split("/", 3)[3], record["kind"] or record["status"]) for record in cormorant.records(text)
    )


def test_a_site(cormorant, rude):
    words = ("crawl", rude.url("/web/home", PLAIN), *HASTY, "--report-skipped", "skipped.jsonl", "-o", "site.jsonl")
    code, out, err = cormorant.run(*words)
    assert (code, out) == (1, "")
    records = cormorant.records((cormorant.folder / "site.jsonl").read_text())
    assert len(records) == 17
    assert records[0]["found"] == {"depth": 0, "source": "", "text": "", "lastmod": None}
    by_path = {record["url"].split("/", 3)[3]: record for record in records}
    assert by_path["web/ab"]["found"]["depth"] == 2
    assert by_path["private/a"]["message"] == "robots.txt: Disallow: /private (for *)"
    assert (by_path["private/a"]["kind"], by_path["private/a"]["phase"]) == ("blocked", "robots")
    skipped = cormorant.records((cormorant.folder / "skipped.jsonl").read_text())
    assert [(one["url"], one["reason"], one["depth"]) for one in skipped] == [
        ("http://127.0.0.2:1/elsewhere", "scope", 2)
    ]
    for row in (
        "17 URLs in",
        "2  not allowed  blocked: 2",
        "1  left out     scope: 1",
        "saved 17 records to site.jsonl",
    ):
        assert row in err
    assert "1 robots.txt and sitemaps read" in err
    assert "BUG" not in err


def test_what_robots_refuses_is_no_failure(cormorant, rude):
    seed = rude.url("/web/a", PLAIN)
    words = ("crawl", seed, *HASTY, "--depth", "1", "--include", "/web/a|/private")
    code, out, _ = cormorant.run(*words)
    assert code == 0
    assert ("private/a", "blocked") in ends(cormorant, out)
    assert cormorant.run("crawl", rude.url("/private/a", PLAIN), *HASTY, "-q")[0] == 3


def test_seeds_from_files_and_stdin(cormorant, rude):
    listed = cormorant.list("# mine", rude.url("/ok/1"), rude.url("/ok/2"), name="seeds.txt")
    given = rude.url("/ok/3")
    code, out, _ = cormorant.run("crawl", listed, given, *HASTY)
    assert code == 0
    assert ends(cormorant, out) == [("ok/1", 200), ("ok/2", 200), ("ok/3", 200)]
    assert {record["line"] for record in cormorant.records(out)} == {2, 3, None}
    code, out, _ = cormorant.run("crawl", "-i", "-", *HASTY, input=f"{given}\n".encode())
    assert (code, ends(cormorant, out)) == (0, [("ok/3", 200)])


def test_a_page_to_one_host_at_a_time_unless_told_otherwise(cormorant, rude):
    rude.clear_log()
    assert cormorant.run("crawl", rude.url("/links/6"), "--delay", "0", "-q")[0] == 0
    assert rude.peak() == 1
    assert rude.log()[0].path == "/robots.txt"


def test_without_robots(cormorant, rude):
    code, out, _ = cormorant.run("crawl", rude.url("/private/a", PLAIN), "--no-robots", *HASTY)
    assert (code, ends(cormorant, out)) == (0, [("private/a", 200)])


def test_every_option_reaches_the_api(monkeypatch):
    seen = []
    monkeypatch.setattr("cormorant.cli.crawl.run", lambda words: seen.append(words) or 0)
    words = (
        "--scope domain --depth 3 --include a --include b --exclude c --max-pages 10 --max-pages-per-host 5 --sitemaps "
        "--prefer d --obey-meta --drop-tracking --report-skipped x.jsonl -i more.txt --parse m:f -o out/ --delay 2s"
    )
    result = CliRunner().invoke(app, ["crawl", "http://a.example/", *words.split()])
    assert result.exit_code == 0, result.output
    (given,) = seen
    wanted = {"seeds": ["http://a.example/"], "input": ["more.txt"], "parse": "m:f", "report_skipped": "x.jsonl"}
    wanted |= {"output": "out/", "scope": "domain", "depth": 3, "include": ["a", "b"], "exclude": ["c"]}
    wanted |= {"prefer": ["d"], "delay": 2.0}
    wanted |= {"max_pages": 10, "max_pages_per_host": 5, "sitemaps": True, "obey_meta": True, "drop_tracking": True}
    assert {name: given[name] for name in wanted} == wanted


def test_the_defaults_are_those_of_the_api(monkeypatch):
    seen = []
    monkeypatch.setattr("cormorant.cli.crawl.run", lambda words: seen.append(words) or 0)
    CliRunner().invoke(app, ["crawl", "http://a.example/"])
    assert Options.of(options_in(seen[0])) == Options(**CRAWL_DEFAULTS)


# --- refused before anything is asked ---


REFUSED = [
    ((), "nowhere to begin"),
    (("seedz.txt",), "'seedz.txt' is no file, and no URL either; write https://seedz.txt or name a file"),
    (("URL", "-i", "missing.txt"), "missing.txt"),
    (("URL", "--include", "("), "include '(' is no regular expression"),
    (("URL", "--exclude", "["), "exclude '[' is no regular expression"),
    (("URL", "--prefer", "*"), "prefer '*' is no regular expression"),
    (("URL", "--scope", "world"), "write one of host, domain, prefix, any"),
    (("URL", "--polite-by", "street"), "give one of host, domain, address"),
    (("URL", "--delay", "-1"), "-1"),
    (("URL", "--parse", "nowhere:f"), "nowhere"),
    (("URL", "-e", "carrier-pigeon"), "carrier-pigeon"),
    (("URL", "--report-skipped", "there.jsonl"), "there.jsonl exists; pass --overwrite"),
    (("URL", "--report-skipped", "new.jsonl", "-o", "new.jsonl"), "'new.jsonl' is already a list or the output"),
    (("seeds.txt", "--report-skipped", "seeds.txt", "--overwrite"), "'seeds.txt' is already a list or the output"),
    (("URL", "--report-skipped", "new.jsonl", "-o", "there.jsonl"), "there.jsonl exists; pass --overwrite"),
]


@pytest.mark.parametrize(("words", "says"), REFUSED, ids=lambda value: " ".join(value)[:50] if value else "nothing")
def test_what_is_refused_says_how_to_put_it_right(cormorant, rude, words, says):
    cormorant.list(rude.url(), name="seeds.txt")
    cormorant.list("precious", name="there.jsonl")
    rude.clear_log()
    code, out, err = cormorant.run("crawl", *(rude.url() if word == "URL" else word for word in words))
    assert (code, out) == (2, "")
    assert says in " ".join(err.split())
    assert "Traceback" not in err
    assert rude.log() == []
    assert {path.name for path in cormorant.folder.iterdir()} == {"seeds.txt", "there.jsonl"}
    assert (cormorant.folder / "seeds.txt").read_text() == f"{rude.url()}\n"
    assert (cormorant.folder / "there.jsonl").read_text() == "precious\n"


@pytest.mark.parametrize("word", ["--depth", "--max-pages", "--max-pages-per-host"])
def test_numbers_below_what_makes_sense(cormorant, word):
    code, _, err = cormorant.run(
        "crawl", "http://a.example/", word, "-1", env=cormorant.environment | {"COLUMNS": "200"}
    )
    assert code == 2
    assert f"Invalid value for '{word}'" in err
    assert "should be greater than or equal to" in err


def test_a_report_that_cannot_be_written(cormorant, rude):
    code, _, err = cormorant.run("crawl", rude.url(), "--report-skipped", "missing/x.jsonl", "-o", "out.jsonl")
    assert code == 4
    assert "mkdir -p missing" in err
    assert not (cormorant.folder / "out.jsonl").exists()


# --- how it ends ---


def test_ctrl_c_ends_in_order_and_the_output_is_whole(cormorant, rude):
    rude.clear_log()
    words = ("crawl", rude.url("/maze/0"), rude.url("/web/home", ROBOTS["hung"]), "--timeout", "2", "--delay", "0.02")
    process = cormorant.start(*words, "-o", "site.jsonl", "--report-skipped", "skipped.jsonl")
    cormorant.wait_until(lambda: len(rude.log()) > 10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7
    assert b"stopping; waiting for what is in flight" in err
    assert b"site.jsonl holds what is done" in err
    assert b"not reached" in err
    assert b"BUG" not in err
    records = cormorant.records((cormorant.folder / "site.jsonl").read_text())
    assert len(records) >= 8
    assert all(record["ok"] for record in records)
    cormorant.records((cormorant.folder / "skipped.jsonl").read_text())


def test_ctrl_c_twice_stops_at_once_with_whole_lines(cormorant, rude):
    rude.clear_log()
    process = cormorant.start(
        "crawl", rude.url("/maze/0"), rude.url("/hang", "127.0.0.2"), "--delay", "0.02", "-o", "site.jsonl"
    )
    cormorant.wait_until(lambda: sum("/maze" in hit.path for hit in rude.log()) > 5)
    process.send_signal(signal.SIGINT)
    assert b"stopping; waiting" in process.stderr.readline()  # sooner the two might be heard as one
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert cormorant.records((cormorant.folder / "site.jsonl").read_text())


def test_a_reader_who_leaves_ends_it_quietly(cormorant, rude):
    process = cormorant.start("crawl", rude.url("/maze/0"), *HASTY)
    assert json.loads(process.stdout.readline())["status"] == 200
    process.stdout.close()
    assert process.wait(30) == 141


def test_help_names_what_a_crawl_keeps_to():
    result = CliRunner().invoke(app, ["crawl", "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for word in ("--scope", "--report-skipped", "--robots", "A crawl is polite", "default: 1s"):
        assert word in result.output
