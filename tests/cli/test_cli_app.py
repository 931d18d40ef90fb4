"""The command itself: help, version, what it imports, and how it ends when something breaks."""

import dataclasses
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cormorant import engines
from cormorant.cli.app import app
from cormorant.cli.choices import DEFAULTS, options_in
from cormorant.errors import CormorantError, EngineLost, MissingPackage, OutputError, UsageError
from cormorant.options import Options
from cormorant.sinks import FORMATS

COMMANDS = ("fetch", "map", "engines", "site", "demo", "doctor")


def help_of(*words):
    result = CliRunner().invoke(app, [*words, "-h"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    return result.output


def test_alone_it_shows_its_help_and_exits_2(cormorant):
    code, out, err = cormorant.run()
    assert code == 2
    assert "fetch" in out + err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    assert (
        help_of(command) == CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    )
    assert command in help_of()


def test_the_help_of_fetch_has_every_option_of_the_api():
    text = help_of("fetch")
    for field in dataclasses.fields(Options):
        assert f"--{field.name.replace('_', '-')}" in text
    for word in (*FORMATS, *engines.names(), "[default: 30s]", "[default: 64M]", "[default: 8]", "Examples"):
        assert word in text
    for panel in ("Input", "Output", "Speed and politeness", "Limits and retries", "Request"):
        assert panel in text


def test_the_defaults_are_those_of_the_api(monkeypatch):
    """What fetch hands over when nothing is said equals `Options()`."""
    seen = []
    monkeypatch.setattr("cormorant.cli.fetch.run", lambda words: seen.append(Options.of(options_in(words))) or 0)
    assert CliRunner().invoke(app, ["fetch", "http://a.example/"]).exit_code == 0
    assert seen == [Options()]
    assert DEFAULTS["timeout"] == 30.0


def test_every_option_reaches_the_api(monkeypatch):
    seen = []
    monkeypatch.setattr("cormorant.cli.fetch.run", lambda words: seen.append(Options.of(options_in(words))) or 0)
    words = (
        "-e gevent -c 7 --timeout 2m --connect-timeout 500ms --max-body 1.5M --no-body --retries 3 --per-host 2 "
        "--delay 1.5 --no-allow-private -H Accept:text/plain -A tester/1 -x http://127.0.0.1:3128 -k --keep-duplicates "
        "--watchdog 250ms --jitter 0.5 --polite-by domain --max-delay 10s --max-retry-after 1m --throttle --breaker 4 "
        "--robots"
    )
    result = CliRunner().invoke(app, ["fetch", "http://a.example/", *words.split()])
    assert result.exit_code == 0, result.output
    wanted = Options(
        engine="gevent",
        concurrency=7,
        timeout=120.0,
        connect_timeout=0.5,
        max_body=1572864,
        no_body=True,
        retries=3,
        per_host=2,
        delay=1.5,
        allow_private=False,
        header=(("Accept", "text/plain"),),
        user_agent="tester/1",
        proxy="http://127.0.0.1:3128",
        insecure=True,
        keep_duplicates=True,
        watchdog=0.25,
        jitter=0.5,
        polite_by="domain",
        max_delay=10.0,
        max_retry_after=60.0,
        throttle=True,
        breaker=4,
        robots=True,
    )
    assert seen == [wanted]
    for field in dataclasses.fields(Options):
        assert getattr(wanted, field.name) != getattr(Options(), field.name), "say something new for this one too"


def test_what_the_engine_refuses_leaves_the_output_alone(cormorant):
    (cormorant.folder / "mine_async.py").write_text("async def later(item): pass\n")
    (cormorant.folder / "out.jsonl").write_text("precious\n")
    words = ("map", "mine_async:later", "-i", cormorant.list("1"), "-e", "thread", "-o", "out.jsonl", "--overwrite")
    code, _, err = cormorant.run(*words)
    assert code == 2
    assert "'asyncio' only" in err
    assert (cormorant.folder / "out.jsonl").read_text() == "precious\n"


def test_help_imports_no_engine_and_no_libcurl():
    code = (
        "import sys; sys.argv = ['cormorant', '--help']\n"
        "from cormorant.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('MODULES', *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    modules = set(done.stdout.partition("MODULES ")[2].split())
    assert "cormorant.cli.fetch" in modules
    unwanted = {"pycurl", "gevent", "greenlet", "asyncio", "uvloop", "multiprocessing", "granian", "pydantic"}
    assert not modules & unwanted
    assert not [name for name in modules if name.startswith(("cormorant.engines", "cormorant.lab", "cormorant.sinks"))]


def test_a_worker_process_imports_no_command_line():
    """The console script imports `cormorant.cli`, and so does every worker process that is started from it."""
    code = "import sys; from cormorant.cli import main; print('typer' in sys.modules, 'rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("word", ["-V", "--version"])
def test_version(word):
    result = CliRunner().invoke(app, [word])
    assert result.exit_code == 0
    assert "Python 3." in result.output


def test_engines_are_listed_one_a_line():
    result = CliRunner().invoke(app, ["engines"])
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.output.splitlines() if line.strip() and line.split()[0].isalpha()]
    assert tuple(names[1:]) == engines.names()


def test_an_engine_that_is_missing_names_its_pip_line(monkeypatch):
    monkeypatch.setattr(
        engines, "missing", lambda name: "pip install 'cormorant[gevent]'" if name == "gevent" else None
    )
    listed = CliRunner().invoke(app, ["engines"])
    assert "to install gevent: pip install 'cormorant[gevent]'" in listed.output
    for words in (["fetch", "http://a.example/"], ["map", "os:getpid", "-i", __file__]):
        refused = CliRunner().invoke(app, [*words, "-e", "gevent"])
        assert refused.exit_code == 2
        assert "pip install 'cormorant[gevent]'" in refused.stderr


def test_doctor():
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    for word in ("libcurl/", "ulimit -n", "greenlet", *engines.names()):
        assert word in result.output


def test_the_site_lists_its_urls():
    result = CliRunner().invoke(app, ["site", "--urls", "--pages", "40", "--port", "8123"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) == 40
    assert all(line.startswith("http://127.0.0.") and ":8123/" in line for line in result.output.splitlines())


class Broken:
    """A worker whose run ends with an error after one record."""

    def __init__(self, sink, error, real):
        self._sink, self._error, self._real = sink, error, real

    def __getattr__(self, name):
        return getattr(self._real, name)

    def run(self):
        for outcome in self._real.run():
            yield outcome
            raise self._error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineLost("all workers died"), 5),
        (OutputError("cannot write x"), 4),
        (UsageError("no"), 2),
        (MissingPackage("no"), 2),
    ],
    ids=["engine", "output", "usage", "package"],
)
def test_an_error_half_way_has_its_code_and_keeps_what_was_written(monkeypatch, tmp_path, rude, error, code):
    from cormorant import opening

    real = opening.open_fetch
    monkeypatch.setattr(opening, "open_fetch", lambda *words, **more: Broken(words[3], error, real(*words, **more)))
    out = tmp_path / "out.jsonl"
    result = CliRunner().invoke(app, ["fetch", rude.url(), rude.url("/slow/5"), "-o", str(out)])
    assert result.exit_code == code
    assert f"cormorant: {error}" in result.stderr
    assert len(out.read_text().splitlines()) == 1
    assert "saved 1 record" in result.stderr


def test_a_sum_that_is_wrong_is_told_as_a_bug(monkeypatch, rude):
    from cormorant.worker import Worker

    real = Worker.statistics
    monkeypatch.setattr(Worker, "statistics", lambda self: dataclasses.replace(real(self), duplicates=1))
    result = CliRunner().invoke(app, ["fetch", rude.url()])
    assert result.exit_code == 1
    assert "BUG, please report it: the numbers do not add up: 1 were offered but 2 are accounted for" in result.stderr


def test_a_bug_of_ours_is_not_dressed_up(monkeypatch, rude):
    """Only what `errors.py` draws is a message; anything else keeps its traceback, and the sink is closed."""
    from cormorant import opening

    real = opening.open_fetch
    broken = RuntimeError("ours")
    monkeypatch.setattr(opening, "open_fetch", lambda *words, **more: Broken(words[3], broken, real(*words, **more)))
    result = CliRunner().invoke(app, ["fetch", rude.url()])
    assert isinstance(result.exception, RuntimeError)


def test_every_error_of_the_tree_has_a_code():
    from cormorant.cli.exits import code_of

    assert {kind: int(code_of(kind("x"))) for kind in (UsageError, MissingPackage, OutputError, EngineLost)} == {
        UsageError: 2,
        MissingPackage: 2,
        OutputError: 4,
        EngineLost: 5,
    }
    assert code_of(CormorantError("x")) == 1


def test_the_width_that_is_told_is_the_one_that_runs(cormorant, rude):
    _, _, said = cormorant.run("fetch", rude.url("/ok/1"), rude.url("/ok/2"), "-e", "serial", "-c", "9", "-o", "-")
    assert "engine serial, 1 at once" in said
