"""`cormorant fetch --since` and `--robots` from outside: what an earlier run knew, and what a host allows."""

import pytest

from rude.crawling import ROBOTS

PAGES = ("etag", "date", "both", "changing")


def outcomes(cormorant, text):
    return {record["url"].rpartition("/")[2]: record["status"] for record in cormorant.records(text)}


@pytest.mark.parametrize(
    ("first", "since"),
    [
        (("-o", "first.jsonl"), "first.jsonl"),
        (("-o", "first.jsonl.gz"), "first.jsonl.gz"),
        (("-o", "first/"), "first"),
    ],
    ids=["lines", "gzip", "folder"],
)
def test_what_has_not_changed_is_not_fetched_again(cormorant, rude, first, since):
    rude.clear_log()
    urls = [rude.url(f"/validated/{page}") for page in PAGES]
    name = cormorant.list(*urls, rude.url("/ok/1"), name="urls.txt")
    if since.endswith(".gz"):
        import gzip

        code, out, _ = cormorant.run("fetch", "-i", name, "-o", "-")
        (cormorant.folder / since).write_bytes(gzip.compress(out.encode()))
    else:
        code, _, _ = cormorant.run("fetch", "-i", name, *first)
    assert code == 0
    code, out, err = cormorant.run("fetch", "-i", name, "--since", since)
    assert code == 0
    assert outcomes(cormorant, out) == {"etag": 304, "date": 304, "both": 304, "changing": 200, "1": 200}
    assert "304 unchanged: 3  200: 2" in err


def test_the_second_run_can_be_asked_in_its_turn(cormorant, rude):
    url = rude.url("/validated/both")
    for run, (status, more) in enumerate([(200, ()), (304, ("--since", "0.jsonl")), (304, ("--since", "1.jsonl"))]):
        assert cormorant.run("fetch", url, "-o", f"{run}.jsonl", "-q", *more)[0] == 0
        text = (cormorant.folder / f"{run}.jsonl").read_text()
        assert [record["status"] for record in cormorant.records(text)] == [status]


def test_a_page_that_was_cut_is_fetched_again_whole(cormorant, rude):
    url = rude.url("/validated/etag")
    assert cormorant.run("fetch", url, "--max-body", "10", "-o", "0.jsonl", "-q")[0] == 3
    code, out, _ = cormorant.run("fetch", url, "--since", "0.jsonl")
    assert (code, outcomes(cormorant, out)) == (0, {"etag": 200})


def test_a_page_that_has_not_changed_is_not_parsed(cormorant, rude):
    (cormorant.folder / "mine.py").write_text("def size(page):\n    return 100 // len(page.body)\n")
    url = rude.url("/validated/etag")
    assert cormorant.run("fetch", url, "-o", "0.jsonl", "-q")[0] == 0
    code, out, _ = cormorant.run("fetch", url, "--since", "0.jsonl", "--parse", "mine:size")
    assert code == 0
    assert [(record["status"], record["data"]) for record in cormorant.records(out)] == [(304, None)]


def test_validators_stay_with_their_origin(cormorant, rude):
    """A page that answers with a redirect now must not hand another URL its validators."""
    rude.clear_log()
    url = rude.url("/ok/1")
    assert cormorant.run("fetch", url, "-o", "0.jsonl", "-q")[0] == 0
    lines = (cormorant.folder / "0.jsonl").read_text()
    target = rude.url("/redir?to=/echo")
    forged = lines.replace(url, target).replace('"headers":[', '"headers":[["ETag","\\"x\\""],')
    (cormorant.folder / "0.jsonl").write_text(forged)
    code, out, _ = cormorant.run("fetch", target, "--since", "0.jsonl")
    (record,) = cormorant.records(out)
    assert (code, record["status"]) == (0, 200)
    assert "If-None-Match" not in record["body"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--since", "missing.jsonl"), "since: cannot read missing.jsonl"),
        (("--since", "urls.txt"), "holds no record of ours"),
        (("--since", "0.jsonl", "-o", "0.jsonl", "--overwrite"), "'0.jsonl' is both the list and the output"),
    ],
    ids=["missing", "no-run", "output"],
)
def test_what_is_refused_says_how_to_put_it_right(cormorant, rude, words, says):
    cormorant.list(rude.url())
    assert cormorant.run("fetch", rude.url(), "-o", "0.jsonl", "-q")[0] == 0
    before = (cormorant.folder / "0.jsonl").read_text()
    code, out, err = cormorant.run("fetch", rude.url(), *words)
    assert (code, out) == (2, "")
    assert says in err
    assert (cormorant.folder / "0.jsonl").read_text() == before


# --- robots for lists ---


def test_a_list_keeps_to_robots_when_told(cormorant, rude):
    urls = [rude.url(path, ROBOTS["plain"]) for path in ("/ok/1", "/private/x")]
    code, out, err = cormorant.run("fetch", *urls, "--robots")
    assert code == 0  # to be refused is no failure
    found = {(record["kind"], record["status"], record["phase"]) for record in cormorant.records(out)}
    assert found == {(None, 200, None), ("blocked", None, "robots")}
    assert "1  not allowed  blocked: 1" in err
    assert "1 robots.txt and sitemaps read" in err
    assert cormorant.run("fetch", *urls)[0] == 0
    assert cormorant.run("fetch", urls[1], "--robots", "-q")[0] == 3


@pytest.mark.parametrize("engine", ["serial", "pool", "process", "thread", "greenlet", "gevent", "asyncio"])
def test_since_and_robots_under_every_engine(cormorant, rude, engine):
    if engine == "gevent":
        pytest.importorskip("gevent")
    urls = [rude.url(path, ROBOTS["plain"]) for path in ("/validated/etag", "/private/x")]
    for run, wanted in enumerate(({200, "blocked"}, {304, "blocked"})):
        more = ("--since", "0.jsonl") if run else ()
        code, _, err = cormorant.run("fetch", *urls, "--robots", "-e", engine, "-o", f"{run}.jsonl", *more)
        assert code == 0, err
        text = (cormorant.folder / f"{run}.jsonl").read_text()
        assert {record["kind"] or record["status"] for record in cormorant.records(text)} == wanted
