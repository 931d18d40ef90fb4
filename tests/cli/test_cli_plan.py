"""`cormorant plan` from outside: what is printed before anything is fetched."""

import json

import pytest


def test_the_host_that_decides_is_named_and_nothing_is_fetched(cormorant, rude):
    rude.clear_log()
    urls = [rude.url(f"/ok/{number}") for number in range(5)]
    name = cormorant.list(*urls, urls[0], "no url", rude.url("/ok", "127.0.0.2"))
    code, out, err = cormorant.run("plan", "-i", name, "--delay", "1", "--latency", "500ms")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "6 pages on 2 hosts, 1 duplicates, 1 lines that are no URL"
    assert lines[1] == f"at least 4.5s: {rude.url('')} decides, 0.50s a page assumed"
    assert lines[2].split() == ["4.5s", "5", "requests", rude.url("")]
    assert rude.log() == []


def test_as_json(cormorant):
    code, out, _ = cormorant.run("plan", "http://a.example/1", "http://a.example/2", "--delay", "2s", "--json")
    assert code == 0
    found = json.loads(out)
    host = {"host": "http://a.example", "requests": 2, "seconds": 2.2}
    assert found == {
        "offered": 2,
        "pages": 2,
        "duplicates": 0,
        "bad": 0,
        "hosts": 1,
        "seconds": 2.2,
        "critical": host,
        "slowest": [host],
        "concurrency": 64,
        "latency_seconds": 0.2,
    }


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        (("--robots", "--delay", "1"), 2.2),
        (("--per-host", "1"), 0.4),
        (("-c", "1", "--per-host", "0"), 0.4),
        (("-e", "serial", "--per-host", "0"), 0.4),
        (("--keep-duplicates", "--per-host", "1"), 0.6000000000000001),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options(cormorant, words, seconds):
    urls = ("http://a.example/1", "http://a.example/2", "http://a.example/2")
    code, out, err = cormorant.run("plan", *urls, *words, "--json")
    assert code == 0, err
    assert json.loads(out)["seconds"] == pytest.approx(seconds)


def test_stdin(cormorant):
    code, out, _ = cormorant.run("plan", "-i", "-", input=b"http://a.example/\n")
    assert code == 0
    assert out.startswith("1 page on 1 host\n")


def test_concurrency_decides(cormorant):
    code, out, _ = cormorant.run("plan", *(f"http://h{number}.example/" for number in range(4)), "-c", "2")
    assert code == 0
    assert "at least 0.40s: 2 at once decide" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "nothing to plan: give URLs, or -i FILE"),
        (("-i", "missing.txt"), "missing.txt"),
        (("http://a.example/", "--polite-by", "street"), "give one of host, domain, address"),
        (("http://a.example/", "--delay", "soon"), "soon"),
        (("http://a.example/", "--latency", "-1"), "-1"),
        (("http://a.example/", "-e", "pigeon"), "pigeon"),
        (("http://a.example/", "-e", "auto"), "choose one of"),
        (("http://a.example/", "-c", "0"), "give 1 or more"),
    ],
    ids=lambda value: " ".join(value)[:40] if value else "nothing",
)
def test_what_is_refused_says_how_to_put_it_right(cormorant, words, says):
    code, out, err = cormorant.run("plan", *words)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err
