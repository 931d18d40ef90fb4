"""`cormorant fetch` from outside: what goes in, what comes out, and the exit code."""

import gzip
import json
import os
import subprocess

import pytest

ENGINES = ("serial", "pool", "process", "thread", "greenlet", "gevent", "asyncio")


def available(engine):
    if engine == "gevent":
        pytest.importorskip("gevent")
    return engine


@pytest.mark.parametrize("engine", ENGINES)
def test_every_url_ends_in_one_record(cormorant, rude, engine):
    urls = [rude.url(f"/ok/{number}") for number in range(5)]
    name = cormorant.list("# mine", *urls, "", "no url", rude.url("/status/404"), urls[0])
    code, out, err = cormorant.run("fetch", "-i", name, "-e", available(engine))
    found = {
        record["url"]: (record["line"], record["ok"], record["status"], record["kind"])
        for record in cormorant.records(out)
    }
    assert code == 1
    assert found == {
        **{url: (line, True, 200, None) for line, url in enumerate(urls, 2)},
        "no url": (8, False, None, "bad_url"),
        rude.url("/status/404"): (9, False, 404, None),
    }
    assert "8 URLs in" in err
    for row in ("5  ok           200: 5", "1  http error   404: 1", "1  no URL       bad_url: 1", "1  duplicate"):
        assert row in err
    assert "saved 7 records to stdout" in err
    assert "Traceback" not in err


def test_good(cormorant, rude):
    code, out, err = cormorant.run("fetch", rude.url("/ok/1"), rude.url("/ok/2"), "-o", "pages.jsonl")
    assert (code, out) == (0, "")
    assert len(cormorant.records((cormorant.folder / "pages.jsonl").read_text())) == 2
    assert "saved 2 records to pages.jsonl" in err


def test_an_empty_list_is_good(cormorant):
    assert cormorant.run("fetch", "-i", cormorant.list("# nothing"), "-q") == (0, "", "")


def test_nothing_succeeded(cormorant, rude):
    code, out, err = cormorant.run("fetch", "http://127.0.0.1:1/", rude.url("/status/500"))
    assert code == 3
    assert len(cormorant.records(out)) == 2
    assert "network      connect: 1" in err


def test_quiet_says_nothing(cormorant, rude):
    code, out, err = cormorant.run("fetch", "-q", rude.url())
    assert (code, err) == (0, "")
    assert len(cormorant.records(out)) == 1


def test_stdin_into_a_pipe(cormorant, rude):
    lines = f"{rude.url('/ok/1')}\n{rude.url('/ok/2')}\n".encode()
    code, out, _ = cormorant.run("fetch", "-i", "-", "-o", "-", input=lines)
    assert code == 0
    assert sorted(record["line"] for record in cormorant.records(out)) == [1, 2]


def test_stdin_is_read_only_when_told(cormorant, rude):
    reading, writing = os.pipe()
    try:
        process = cormorant.start("fetch", rude.url(), stdin=reading)
        out, _ = process.communicate(timeout=30)  # nobody ever writes or closes: would hang if stdin were read
    finally:
        os.close(reading)
        os.close(writing)
    assert process.returncode == 0
    assert len(cormorant.records(out.decode())) == 1


def test_a_page_comes_out_while_stdin_is_still_open(cormorant, rude):
    process = cormorant.start("fetch", "-i", "-", "-o", "-", stdin=subprocess.PIPE)
    for number in range(2):
        url = rude.url(f"/ok/{number}")
        process.stdin.write(f"{url}\n".encode())
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["url"] == url
    process.stdin.close()
    assert process.wait(30) == 0


def test_a_silent_stdin_does_not_hold_up_a_page(cormorant, rude):
    """The page is on its way while the reader waits for a line that never ends."""
    process = cormorant.start("fetch", rude.url("/slow/0.1"), "-i", "-", "-o", "-", stdin=subprocess.PIPE)
    process.stdin.write(b"http://half.a.line")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["status"] == 200


def test_bytes_that_are_no_text_are_one_bad_url(cormorant, rude):
    (cormorant.folder / "urls.txt").write_bytes(b"http://127.0.0.1/\xff\n" + rude.url().encode() + b"\n")
    code, out, _ = cormorant.run("fetch", "-i", "urls.txt")
    assert code == 1
    assert {record["line"]: record["kind"] for record in cormorant.records(out)} == {1: "bad_url", 2: None}


def test_a_list_that_breaks_off_loses_nothing(cormorant, rude):
    lines = "".join(f"{rude.url('/ok')}?{number}\n" for number in range(3000))
    packed = gzip.compress(lines.encode())
    (cormorant.folder / "urls.txt.gz").write_bytes(packed[:-20])
    code, out, err = cormorant.run("fetch", "-i", "urls.txt.gz", "-c", "8")
    assert code == 2
    assert "the list broke off: urls.txt.gz" in err
    assert all(record["ok"] for record in cormorant.records(out))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fetch"], "nothing to fetch"),
        (["fetch", "-i", "missing.txt"], "missing.txt"),
        (["fetch", "-i", "-", "-i", "-"], "only once"),
        (["fetch", "http://a.example/", "-e", "grenlet"], "greenlet"),
        (["fetch", "http://a.example/", "-c", "0"], "give 1 or more"),
        (["fetch", "http://a.example/", "--max-body", "10X"], "10M"),
        (["fetch", "http://a.example/", "--timeout", "0"], "more than 0"),
        (["fetch", "http://a.example/", "--timeout", "soon"], "500ms"),
        (["fetch", "http://a.example/", "-H", "no colon"], "Name: value"),
        (["fetch", "http://a.example/", "-H", "X-A: b\r\nX-C: d"], "line break"),
        (["fetch", "http://a.example/", "-o", "pages.what"], "pages.what"),
        (["fetch", "http://a.example/", "--format", "xml"], "xml"),
        (["fetch", "http://a.example/", "--parse", "nowhere:f"], "nowhere"),
        (["fetch", "http://a.example/", "--time-out", "3"], "--timeout"),
        (["fetch", "http://a.example/", "-i", "list.jsonl", "-o", "list.jsonl", "--overwrite"], "both the list"),
        (["fetch", "http://a.example/", "-o", "list.jsonl"], "--overwrite"),
        (["fech", "http://a.example/"], "fetch"),
        (["map"], "MODULE:FUNCTION"),
        (["map", "os:getpid"], "no items"),
        (["map", "os:nothing", "-i", "list.jsonl"], "getpid"),
        (["demo", "-e", "grenlet"], "greenlet"),
        (["site", "--latency", "often"], "lognormal"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_message_and_exit_2(cormorant, words, said):
    cormorant.list("1", name="list.jsonl")
    code, out, err = cormorant.run(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert (cormorant.folder / "list.jsonl").read_text() == "1\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_exit_4(cormorant, rude):
    with open("/dev/full", "wb") as full:
        code, _, err = cormorant.run("fetch", rude.url(), stdout=full)
    assert code == 4
    assert "No space left" in err
    assert "Traceback" not in err


def test_a_folder_that_is_missing_is_exit_4(cormorant, rude):
    code, _, err = cormorant.run("fetch", rude.url(), "-o", "nowhere/pages.jsonl")
    assert code == 4
    assert "nowhere" in err


def test_a_reader_that_left_is_a_quiet_end(cormorant, rude):
    lines = "".join(f"{rude.url('/ok')}?{number}\n" for number in range(20_000)).encode()
    (cormorant.folder / "urls.txt").write_bytes(lines)
    process = cormorant.start("fetch", "-i", "urls.txt", "-o", "-")
    assert json.loads(process.stdout.readline())["ok"]
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr.read() == b""


def test_a_closed_stderr_is_nobodys_business(cormorant, rude):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = cormorant.start("fetch", rude.url(), stderr=writing)
    finally:
        os.close(writing)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert len(cormorant.records(out.decode())) == 1


def test_the_options_reach_the_wire(cormorant, rude):
    words = ("-H", "X-Mine: yes", "--header", "Accept: text/x-rude", "-A", "tester/1", "--no-body")
    code, out, _ = cormorant.run("fetch", rude.url("/echo"), *words[:-1])
    assert code == 0
    echoed = cormorant.records(out)[0]["body"]
    for said in ("tester/1", "text/x-rude", "yes"):
        assert said in echoed
    code, out, _ = cormorant.run("fetch", rude.url("/ok"), "--no-body")
    assert (code, cormorant.records(out)[0]["body"]) == (0, "")


def test_max_body_and_timeout_have_units(cormorant, rude):
    code, out, _ = cormorant.run(
        "fetch", rude.url("/bytes/5000"), rude.url("/hang"), "--max-body", "1K", "--timeout", "300ms"
    )
    assert code == 3
    assert sorted(record["kind"] for record in cormorant.records(out)) == ["timeout", "too_large"]


def test_keep_duplicates(cormorant, rude):
    _, out, err = cormorant.run("fetch", rude.url(), rude.url(), "--keep-duplicates")
    assert len(cormorant.records(out)) == 2
    assert "duplicate" not in err


@pytest.mark.parametrize("engine", ["thread", "greenlet", "gevent", "process"])
def test_a_parse_function_of_the_current_folder(cormorant, rude, engine):
    (cormorant.folder / "mine.py").write_text("def length(page):\n    return {'bytes': len(page.body)}\n")
    code, out, err = cormorant.run("fetch", rude.url("/bytes/1234"), "--parse", "mine:length", "-e", available(engine))
    assert (code, cormorant.records(out)[0]["data"]) == (0, {"bytes": 1234}), err


def test_fetching_under_gevent_patches_nothing(cormorant, rude):
    pytest.importorskip("gevent")
    (cormorant.folder / "mine.py").write_text(
        "def patched(page):\n    from gevent import monkey\n    return monkey.is_module_patched('socket')\n"
    )
    _, out, _ = cormorant.run("fetch", rude.url(), "--parse", "mine:patched", "-e", "gevent")
    assert cormorant.records(out)[0]["data"] is False


def test_the_log_has_plain_lines(cormorant, rude):
    """stderr is no terminal here: nothing in it but lines."""
    _, _, err = cormorant.run("fetch", rude.url())
    assert "\x1b" not in err
    assert "\r" not in err
