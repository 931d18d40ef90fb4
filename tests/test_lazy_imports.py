"""Importing cormorant imports no engine and nothing heavy; choosing an engine imports that engine's packages alone.

Each case is a fresh interpreter that says which modules it holds at its end.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "ada_url",
    "asyncio",
    "backports.zstd",
    "brotli",
    "certifi",
    "charset_normalizer",
    "concurrent.futures",
    "gevent",
    "granian",
    "greenlet",
    "msgspec",
    "multiprocessing",
    "protego",
    "publicsuffixlist",
    "pycurl",
    "rich",
    "selectolax",
    "sqlite3",
    "ssl",
    "threading",
    "typer",
    "uvloop",
}
CONCURRENCY = {"asyncio", "concurrent.futures", "gevent", "granian", "greenlet", "multiprocessing", "uvloop"}
CRAWLING = {"protego", "publicsuffixlist", "selectolax"}
ENGINES = {"serial", "pool", "process", "thread", "greenlet", "gevent", "asyncio"}

# What an engine may bring with it, of all that is in CONCURRENCY. asyncio itself imports concurrent.futures.
OWN = {
    "serial": set(),
    "pool": {"multiprocessing"},
    "process": {"multiprocessing", "concurrent.futures"},
    "thread": {"concurrent.futures"},
    "greenlet": {"greenlet"},
    "gevent": {"gevent", "greenlet"},
    "asyncio": {"asyncio", "concurrent.futures", "greenlet", "uvloop"},
}


def loaded_after(code: str) -> set[str]:
    """Return the modules a fresh interpreter holds after `code`, without those it began with."""
    script = (
        "import sys\nbefore = set(sys.modules)\n"
        f"{code}\n"
        "sys.stderr.flush(); print(); print(__import__('json').dumps(sorted(set(sys.modules) - before)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout.splitlines()[-1]))


def engine_modules(loaded: set[str]) -> set[str]:
    """Return the names of the engines whose files were imported."""
    return {name for name in ENGINES if f"cormorant.engines.{name}" in loaded}


def test_import_cormorant_imports_no_other_module_of_ours() -> None:
    loaded = loaded_after("import cormorant")
    assert {name for name in loaded if name.startswith("cormorant")} == {"cormorant"}
    assert not loaded & HEAVY


def test_import_cormorant_starts_and_patches_nothing() -> None:
    loaded_after(
        "import _thread, os, signal, socket\n"
        "def state():\n"
        "    handlers = [signal.getsignal(number) for number in signal.valid_signals()]\n"
        "    return handlers, _thread._count(), len(os.listdir('/dev/fd')), socket.socket, dict(os.environ)\n"
        "first = state(); import cormorant; assert state() == first, (first, state())"
    )


@pytest.mark.parametrize("name", ["Page", "Options", "FetchError", "Found"])
def test_a_message_or_option_brings_no_engine_and_no_wire(name: str) -> None:
    loaded = loaded_after(f"import cormorant; cormorant.{name}")
    assert not engine_modules(loaded)
    assert not loaded & (CONCURRENCY | CRAWLING | {"pycurl", "rich", "typer"})


@pytest.mark.parametrize("name", ["fetch", "afetch", "get", "aget", "map", "crawl", "acrawl"])
def test_a_public_function_brings_no_engine_and_no_wire_until_it_is_called(name: str) -> None:
    loaded = loaded_after(f"import cormorant; cormorant.{name}")
    assert not engine_modules(loaded)
    assert not loaded & (CONCURRENCY | {"pycurl", "rich", "typer", "selectolax"})


def test_a_list_without_robots_brings_nothing_of_a_crawl() -> None:
    loaded = loaded_after("import cormorant; list(cormorant.fetch(['no URL'], engine='serial'))")
    assert not loaded & {"publicsuffixlist", "selectolax", "sqlite3"}


def test_the_table_of_engines_imports_none_of_them() -> None:
    loaded = loaded_after("from cormorant import engines; [engines.missing(name) for name in engines.names()]")
    assert not engine_modules(loaded)
    assert not loaded & (CONCURRENCY | {"pycurl"})


def test_every_engine_is_in_the_table_of_this_file() -> None:
    from cormorant import engines

    assert set(engines.names()) == ENGINES == set(OWN)


@pytest.mark.parametrize("engine", OWN)
def test_choosing_an_engine_imports_that_one_alone(engine: str) -> None:
    if engine == "gevent":
        pytest.importorskip("gevent")
    loaded = loaded_after(
        f"import cormorant\nif __name__ == '__main__': list(cormorant.fetch(['no URL'], engine={engine!r}))"
    )
    assert engine_modules(loaded) == {engine}
    assert loaded & CONCURRENCY <= OWN[engine]
    assert not loaded & {"rich", "typer"}


def test_an_engine_without_its_package_names_the_pip_line() -> None:
    loaded = loaded_after(
        "import cormorant\n"
        "sys.modules['gevent'] = None  # as if it were not installed\n"
        "try:\n"
        "    list(cormorant.fetch(['https://a.example/'], engine='gevent'))\n"
        "except cormorant.MissingPackage as error:\n"
        "    assert \"pip install 'cormorant[gevent]'\" in str(error), error\n"
        "    assert isinstance(error, ImportError)\n"
        "else:\n"
        "    raise SystemExit('no error')\n"
    )
    assert not engine_modules(loaded)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["fetch", "--help"],
        ["crawl", "--help"],
        ["plan", "--help"],
        ["map", "--help"],
        ["site", "--help"],
        ["compare", "--help"],
        ["trace", "--help"],
        ["explain", "--help"],
        ["engines"],
    ],
)
def test_asking_the_command_line_imports_no_wire_and_no_engine(words: list[str]) -> None:
    loaded = loaded_after(
        f"sys.argv = ['cormorant', *{words!r}]\n"
        "from cormorant.cli.app import app\n"
        "try:\n"
        "    app(prog_name='cormorant')\n"
        "except SystemExit as ending:\n"
        "    assert not ending.code, ending.code\n"
    )
    assert not engine_modules(loaded)
    assert not loaded & (CONCURRENCY | CRAWLING | {"ada_url", "brotli", "certifi", "pycurl", "ssl"})
