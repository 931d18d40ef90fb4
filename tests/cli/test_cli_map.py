"""`cormorant map`: the user's own function from the command line."""

import pytest

MINE = """
import time

def double(item):
    return item * 2

def nap(item):
    time.sleep(0.5)
    return item

def page(url):
    import cormorant
    return cormorant.get(url).status

def fails(item):
    raise KeyError(item)

def patched(item):
    from gevent import monkey
    return monkey.is_module_patched("socket")

async def later(item):
    import asyncio
    await asyncio.sleep(0)
    return item

def mixed(item):
    if item == 2:
        raise ValueError("two")
    return item
"""
ENGINES = ("serial", "pool", "process", "thread", "greenlet", "gevent", "asyncio")


@pytest.fixture
def mine(cormorant):
    (cormorant.folder / "mine.py").write_text(MINE)
    return cormorant


@pytest.fixture(params=ENGINES)
def engine(request):
    if request.param == "gevent":
        pytest.importorskip("gevent")
    return request.param


def test_lines_are_items_of_text(mine, engine):
    code, out, err = mine.run("map", "mine:double", "-i", mine.list("1", "# two", "", " 3 "), "-e", engine)
    assert code == 0, err
    found = {record["item"]: record["value"] for record in mine.records(out)}
    assert found == {"1": "11", "# two": "# two# two", " 3 ": " 3  3 "}
    assert "3 items in" in err


def test_get_inside_a_function(mine, rude, engine):
    code, out, err = mine.run("map", "mine:page", "-i", mine.list(rude.url()), "-e", engine)
    assert code == 0, err
    assert mine.records(out)[0]["value"] == 200


def test_json_by_suffix_or_by_word(mine):
    values = '[1]\nnull\n"x"\n'
    (mine.folder / "items.jsonl").write_text(values)
    for words, input in ((["-i", "items.jsonl"], None), (["-i", "-", "--json"], values.encode())):
        code, out, err = mine.run("map", "mine:later", *words, "-e", "asyncio", input=input)
        assert code == 0, err
        assert [record["item"] for record in mine.records(out)] == [[1], None, "x"]


def test_a_line_that_is_no_json_keeps_what_was_done(mine):
    (mine.folder / "items.jsonl").write_text("1\n2\noops\n")
    code, out, err = mine.run("map", "mine:double", "-i", "items.jsonl", "-o", "-")
    assert code == 2
    assert sorted(record["value"] for record in mine.records(out)) == [2, 4]
    assert "line 3" in err


def test_failures_are_results(mine):
    code, out, err = mine.run("map", "mine:fails", "-i", mine.list("a"), "-e", "thread")
    assert code == 3
    (record,) = mine.records(out)
    assert (record["ok"], record["kind"]) == (False, "callback")
    assert "KeyError" in record["message"]
    assert "1  function     callback: 1" in err


def test_some_failures(mine):
    (mine.folder / "items.jsonl").write_text("1\n2\n3\n")
    assert mine.run("map", "mine:mixed", "-i", "items.jsonl", "-o", "out.jsonl", "-q") == (1, "", "")


def test_gevent_is_patched_before_the_function_is_imported(mine):
    pytest.importorskip("gevent")
    code, out, _ = mine.run("map", "mine:patched", "-i", mine.list("a"), "-e", "gevent")
    assert (code, mine.records(out)[0]["value"]) == (0, True)
    # Ten naps of half a second overlap, whoever reads the list and shows the progress.
    _, _, err = mine.run("map", "mine:nap", "-i", mine.list(*range(10)), "-e", "gevent", "-c", "10")
    seconds = float(err.split(" items in ")[1].split("s")[0])
    assert seconds < 2.5


def test_a_slow_stdin_under_gevent_stops_nobody(mine):
    """The reader waits in a real thread: were it a greenlet, its read would stop every other one."""
    import json
    import subprocess

    pytest.importorskip("gevent")
    process = mine.start("map", "mine:nap", "-i", "-", "-e", "gevent", "-o", "-", stdin=subprocess.PIPE)
    process.stdin.write(b"first\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["value"] == "first"
    process.stdin.write(b"second\n")
    process.stdin.close()
    assert json.loads(process.stdout.readline())["value"] == "second"
    assert process.wait(30) == 0


def test_an_async_function_belongs_to_asyncio(mine):
    code, out, err = mine.run("map", "mine:later", "-i", mine.list("a"), "-e", "thread")
    assert (code, out) == (2, "")
    assert "asyncio" in err


def test_a_function_that_hangs_meets_its_deadline(mine):
    code, out, _ = mine.run("map", "mine:nap", "-i", mine.list("a"), "-e", "thread", "--timeout", "100ms")
    assert code == 3
    assert mine.records(out)[0]["kind"] == "timeout"


def test_get_under_patched_gevent_reuses_its_connections(cormorant, rude):
    """In a patched process poll() would switch, inside libcurl, as soon as a connection is used again."""
    (cormorant.folder / "mine.py").write_text("import cormorant\ndef size(url): return len(cormorant.get(url).body)\n")
    pages = [rude.url(f"/ok/{number}", host=f"127.0.0.{1 + number % 5}") for number in range(120)]
    code, out, err = cormorant.run(
        "map", "mine:size", "-i", cormorant.list(*pages), "-e", "gevent", "-c", "8", "-o", "-"
    )
    assert code == 0, err
    assert [record["ok"] for record in cormorant.records(out)] == [True] * 120


@pytest.mark.parametrize("engine", ["thread", "process"])
def test_what_a_function_prints_is_no_data(cormorant, engine):
    (cormorant.folder / "mine.py").write_text("def chatty(item):\n    print('debug', item)\n    return item\n")
    code, out, err = cormorant.run("map", "mine:chatty", "-i", cormorant.list("a", "b"), "-e", engine)
    assert code == 0
    assert {record["value"] for record in cormorant.records(out)} == {"a", "b"}
    assert err.count("debug") == 2
