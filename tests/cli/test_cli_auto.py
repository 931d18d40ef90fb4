"""`--engine auto` on the command line: it chooses, says why, and every line of the list still ends exactly once."""

import os
import re
import signal
from collections import Counter

import pytest

MINE = """
import time

def nap(item):
    time.sleep(0.03)
    return item

def burn(item):
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
    return item

def page(url):
    import cormorant
    return cormorant.get(url).status

def sleepy(item):
    with open("begun", "a") as file:
        file.write(f"{item}\\n")
    time.sleep(0.5)
    return item

def parse(page):
    return len(page.body)
"""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.fixture
def mine(cormorant):
    (cormorant.folder / "mine.py").write_text(MINE)
    return cormorant


@pytest.mark.parametrize(
    ("function", "engine", "because"),
    [
        ("nap", "thread", "waiting elsewhere"),
        pytest.param("burn", "process", "it computes", marks=pytest.mark.skipif(CORES < 2, reason="needs two cores")),
    ],
    ids=["nap", "burn"],
)
def test_a_function_goes_where_its_time_goes(mine, function, engine, because):
    items = [str(number) for number in range(40)]
    code, out, err = mine.run("map", f"mine:{function}", "-i", mine.list(*items), "-e", "auto")
    assert code == 0, err
    assert Counter(record["item"] for record in mine.records(out)) == Counter(items)
    (why,) = [line for line in err.splitlines() if line.startswith("cormorant: auto: ")]
    assert because in why
    assert f"engine {engine}, " in why
    width = re.search(r"(\d+) at once", why)[1]
    assert f"engine {engine} (auto), {width} at once" in err


def test_a_function_that_waits_in_get_goes_to_greenlet(mine, rude):
    urls = [rude.url(f"/slow/0.05?{number}") for number in range(40)]
    rude.clear_log()
    code, out, err = mine.run("map", "mine:page", "-i", mine.list(*urls), "-e", "auto")
    assert code == 0, err
    assert Counter(record["item"] for record in mine.records(out)) == Counter(urls)
    assert "auto: engine greenlet, " in err
    assert "waiting for pages" in err
    assert max(Counter(hit.path for hit in rude.log()).values()) == 1


@pytest.mark.parametrize("words", [(), ("--parse", "mine:parse")], ids=["plain", "parse"])
def test_every_url_is_fetched_once(mine, rude, words):
    urls = [rude.url(f"/slow/0.02?{number}", host=f"127.0.0.{1 + number % 5}") for number in range(100)]
    rude.clear_log()
    code, out, err = mine.run("fetch", "-i", mine.list(*urls), "-e", "auto", *words)
    assert code == 0, err
    assert Counter(record["url"] for record in mine.records(out)) == Counter(urls)
    hits = Counter((hit.host, hit.path) for hit in rude.log())
    assert len(hits) == 100
    assert set(hits.values()) == {1}
    assert "cormorant: auto: engine greenlet, " in err
    assert "engine greenlet (auto), " in err


def test_the_number_asked_for_is_kept_and_quiet_is_quiet(mine):
    name = mine.list(*range(30))
    code, _, err = mine.run("map", "mine:nap", "-i", name, "-e", "auto", "-c", "5")
    assert code == 0
    assert "engine thread (auto), 5 at once" in err
    assert mine.run("map", "mine:nap", "-i", name, "-e", "auto", "-c", "5", "-q")[2] == ""


def test_ctrl_c_in_the_probe(mine):
    """One call is under way then: it is finished, nothing else is begun, and no engine is chosen."""
    process = mine.start("map", "mine:sleepy", "-i", mine.list(*range(50)), "-e", "auto", "-o", "out.jsonl")
    begun = mine.folder / "begun"
    mine.wait_until(begun.exists)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7, err
    assert len(mine.records((mine.folder / "out.jsonl").read_text())) == len(begun.read_text().split()) <= 2
    assert b"Traceback" not in err
    assert b"auto: " not in err


def test_ctrl_c_after_the_probe(mine):
    process = mine.start("map", "mine:sleepy", "-i", mine.list(*range(500)), "-e", "auto", "-o", "out.jsonl")
    begun = mine.folder / "begun"
    mine.wait_until(lambda: begun.exists() and len(begun.read_text().split()) > 8)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7, err
    assert len(mine.records((mine.folder / "out.jsonl").read_text())) == len(begun.read_text().split()) < 500
    assert b"engine thread (auto)" in err


def test_an_unknown_engine_is_told_of_auto(mine):
    code, _, err = mine.run("fetch", "http://127.0.0.1:1/", "-e", "fibre")
    assert code == 2
    assert "auto" in err
