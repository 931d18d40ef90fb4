"""`cormorant trace` and `cormorant explain` as a user runs them."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cormorant import engines
from cormorant.lab.trace import explanation

SOURCE = Path(explanation.__file__).parents[2]
INSTALLED = [name for name in engines.names() if engines.missing(name) is None]
EVENT = re.compile(r"^ *[\d,.]+ ms [┃│ ]* (job \d+|loop) +\S+ +(.+)$")


def events(out):
    """Return (job or loop, the rest) of each line of a time line."""
    return [found.groups() for found in map(EVENT.match, out.splitlines()) if found]


def without(package, folder, cormorant):
    """Let the command run as if `package` were not installed."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")
    cormorant.environment["PYTHONPATH"] += f":{folder}"


@pytest.mark.parametrize("engine", INSTALLED)
def test_a_time_line_of_every_engine(cormorant, rude, engine):
    code, out, err = cormorant.run("trace", rude.url("/ok/1"), rude.url("/status/404"), "-e", engine, "-c", 2)
    assert (code, err) == (0, "")
    said = [(who, what.split("  ")[0]) for who, what in events(out)]
    for job in ("job 0", "job 1"):
        own = [what for who, what in said if who == job]
        assert own[0].startswith("released")
        assert [what for what in own if what.startswith("began")]
        assert [what for what in own if what.startswith("settled")]
    assert f"engine {engine}: 2 jobs, {engines.width(engine, 2)} at once" in out
    assert "libcurl timings" in out


def test_a_time_line_names_switches_waits_and_sockets(cormorant, rude):
    _, out, _ = cormorant.run("trace", rude.url("/slow/0.1"), "-e", "greenlet")
    own = [what for who, what in events(out) if who == "job 0"]
    assert [what.split()[1] for what in own if what.startswith("switch")] == ["in", "out", "in", "out"]
    assert re.search(r"(epoll|kqueue) returned with 1 ready after 1?\d\d\.\d\d ms", out)
    assert re.search(r"tell when fd \d+ is readable", out)
    assert "greenlet.settrace" in out


def test_asyncio_says_which_loop_it_runs_on(cormorant, rude):
    _, out, _ = cormorant.run("trace", rude.url("/ok"), "-e", "asyncio")
    assert "note: asyncio runs on Python's own loop" in out


def test_without_urls_it_traces_the_embedded_pages(cormorant):
    pytest.importorskip("granian")
    code, out, err = cormorant.run("trace", "-e", "thread")
    assert (code, err) == (0, "")
    assert {"/hang/", "/slow/", "/redirect/", "/page/"} <= set(re.findall(r"/[a-z]+/", out))
    assert re.search(r"settled +timeout", out)


def test_without_granian_the_embedded_pages_name_the_pip_line(cormorant, tmp_path_factory):
    without("granian", tmp_path_factory.mktemp("site"), cormorant)
    code, out, err = cormorant.run("trace")
    assert (code, out) == (2, "")
    assert "pip install 'cormorant[lab]'" in err


def test_the_files_it_writes(cormorant, rude):
    pytest.importorskip("matplotlib")
    urls = cormorant.list(rude.url("/ok/1"), rude.url("/ok/2"))
    words = ("trace", "-i", urls, "--chrome", "trace.json", "--svg", "trace.svg", "--json", "events.json")
    code, out, err = cormorant.run(*words)
    assert code == 0
    assert [line.split()[-1] for line in err.splitlines()] == ["trace.json", "trace.svg", "events.json"]
    assert json.loads((cormorant.folder / "trace.json").read_text())["traceEvents"]
    assert (cormorant.folder / "trace.svg").read_text().rstrip().endswith("</svg>")
    recorded = json.loads((cormorant.folder / "events.json").read_text())
    assert len(recorded["events"]) == len(events(out))
    assert [job["target"] for job in recorded["jobs"]] == [rude.url("/ok/1"), rude.url("/ok/2")]
    code, out, err = cormorant.run(*words)
    assert (code, out) == (2, "")
    assert "--overwrite" in err
    assert cormorant.run(*words, "--overwrite")[0] == 0


@pytest.mark.parametrize("option", ["--chrome", "--svg", "--json"])
def test_a_file_that_exists_is_left_alone_before_anything_is_fetched(cormorant, rude, option):
    (cormorant.folder / "mine").write_text("mine")
    url = rude.url(f"/ok/not-fetched{option}")
    code, out, err = cormorant.run("trace", url, option, "mine")
    assert (code, out) == (2, "")
    assert "'mine' exists; name another file or add --overwrite" in err
    assert (cormorant.folder / "mine").read_text() == "mine"
    assert not [hit for hit in rude.log() if "not-fetched" in hit.path]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--json", "nowhere/trace.json"), "its folder is not there"),
        (("--json", "."), "it is a folder"),
        (("--json", "one", "--chrome", "./one"), "two outputs have the same name"),
        (("-i", "urls.txt", "--json", "urls.txt", "--overwrite"), "both the list and the output"),
        (("-e", "greenlets"), "no engine 'greenlets'"),
        (("-i", "missing.txt"), "cannot read the list"),
    ],
)
def test_misuse_is_one_line_and_exit_2(cormorant, words, said):
    cormorant.list("http://127.0.0.1:1/")
    code, out, err = cormorant.run("trace", "http://127.0.0.1:1/", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_without_matplotlib_the_picture_is_refused_before_anything_is_fetched(cormorant, rude, tmp_path_factory):
    without("matplotlib", tmp_path_factory.mktemp("site"), cormorant)
    code, out, err = cormorant.run("trace", rude.url("/ok/no-picture"), "--svg", "trace.svg")
    assert (code, out) == (2, "")
    assert "pip install 'cormorant[lab]'" in err
    assert not [hit for hit in rude.log() if "no-picture" in hit.path]


def test_a_file_that_cannot_be_written_is_exit_4(cormorant, rude):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    code, _, err = cormorant.run("trace", rude.url("/ok"), "--json", "/dev/full", "--overwrite")
    assert code == 4
    assert "cannot write '/dev/full'" in err


def test_many_events_are_cut_and_all_shows_them(cormorant, rude):
    urls = cormorant.list(*(rude.url(f"/ok/{number}") for number in range(15)))
    _, short, _ = cormorant.run("trace", "-i", urls)
    _, long, _ = cormorant.run("trace", "-i", urls, "--all")
    assert len(events(short)) == 200
    left_out = re.search(r"^([\d,]+) events more left out; --all shows them$", short, re.M)
    total = re.search(r"([\d,]+) events in", short)
    assert int(left_out[1].replace(",", "")) + 200 == int(total[1].replace(",", ""))
    assert "left out" not in long
    assert len(events(long)) == int(re.search(r"([\d,]+) events in", long)[1].replace(",", ""))


def test_nothing_a_terminal_would_obey_reaches_it(cormorant, rude):
    hostile = "no URL \x1b[31mred\x1b]0;title\x07 \u202etxt.exe"
    code, out, err = cormorant.run("trace", "--", hostile, f"{rude.url('/ok/')}?\x1b[2J\u202e")
    assert code == 0
    assert not set("\x1b\x07\u202e\x9b") & set(out + err)
    assert "no URL \\x1b[31mred" in out
    assert "\\u202etxt.exe" in out


def test_it_prints_where_the_terminal_knows_ascii_only(cormorant, rude):
    cormorant.environment["PYTHONIOENCODING"] = "ascii"
    code, out, err = cormorant.run("trace", rude.url("/ok"))
    assert (code, err) == (0, "")
    assert "\\u25b6 " in out


def test_a_reader_who_leaves_is_no_error_and_gets_the_files(cormorant, rude):
    process = cormorant.start("trace", rude.url("/slow/0.3"), "--json", "events.json")
    process.stdout.close()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 141
    assert b"Traceback" not in err
    assert json.loads((cormorant.folder / "events.json").read_text())["events"]


@pytest.mark.parametrize("option", ["--json", "--chrome", "--svg"])
def test_a_dash_is_stdout_and_the_time_line_is_on_stderr(cormorant, rude, option):
    if option == "--svg":
        pytest.importorskip("matplotlib")
    code, out, err = cormorant.run("trace", rude.url("/ok/1"), option, "-")
    assert code == 0
    assert not (cormorant.folder / "-").exists()
    assert [who for who, _ in events(err) if who == "job 0"]
    if option == "--svg":
        assert out.rstrip().endswith("</svg>")
    else:
        assert json.loads(out)["events" if option == "--json" else "traceEvents"]


def test_only_one_dash(cormorant):
    code, out, err = cormorant.run("trace", "http://127.0.0.1:1/", "--json", "-", "--svg", "-")
    assert (code, out) == (2, "")
    assert "give - to one of them" in err


def test_a_reader_of_the_data_who_leaves_is_no_error(cormorant, rude):
    process = cormorant.start("trace", rude.url("/slow/0.3"), "--json", "-")
    process.stdout.close()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 141
    assert b"Traceback" not in err


@pytest.mark.parametrize("engine", INSTALLED)
def test_ctrl_c_breaks_off_and_keeps_what_was_heard(cormorant, rude, engine):
    urls = cormorant.list(rude.url(f"/hang/{engine}"), rude.url("/ok/never", host="127.0.0.2"))
    rude.clear_log()
    process = cormorant.start("trace", "-i", urls, "-e", engine, "-c", "1", "--json", "events.json")
    cormorant.wait_until(rude.log)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 7, err
    assert b"Traceback" not in err
    assert b"KeyboardInterrupt" not in err
    assert b"note: the run was broken off by Ctrl-C" in out
    recorded = json.loads((cormorant.folder / "events.json").read_text())
    assert recorded["broke_off"] is True
    assert "released" in {event["what"] for event in recorded["events"]}
    assert [job["job"] for job in recorded["jobs"]] == [0]


# --- explain ---


@pytest.mark.parametrize("engine", INSTALLED)
def test_explain_shows_the_functions_as_they_stand_in_the_source(cormorant, engine):
    code, out, err = cormorant.run("explain", engine, "--no-trace")
    assert (code, err) == (0, "")
    named = re.findall(r"^(\w+/\w+\.py):(\d+)  ([\w.]+)(?:, without its last \d+ lines?)?$", out, re.M)
    assert [name for _, _, name in named] == [path.split(":")[1] for path in explanation.of(engine).essence]
    assert f"engines/{engine}.py" in {file for file, _, _ in named}
    for file, line, name in named:
        there = (SOURCE / file).read_text().splitlines()[int(line) - 1].strip()
        assert re.match(rf"(async )?def {name.split('.')[-1]}\(", there)
        assert f"\n{there}\n" in out
    assert '"""' not in out
    assert 20 <= len(out.splitlines()) <= 35
    assert "timer of libcurl" not in out  # our own deadline ends a hung page
    for word in ("waits ", "costs ", "a hung page "):
        assert re.search(f"^{word}", out, re.M)
    assert "The live trace is left out (--no-trace)." in out


def test_every_engine_is_explained():
    assert tuple(explanation.EXPLANATIONS) == engines.names()


@pytest.mark.parametrize("engine", INSTALLED)
def test_explain_traces_three_pages_live_and_fits_a_screen(cormorant, engine):
    pytest.importorskip("granian")
    code, out, err = cormorant.run("explain", engine)
    assert (code, err) == (0, "")
    assert 30 <= len(out.splitlines()) <= 45
    assert f"engine {engine}: 3 jobs" in out
    turns = re.findall(r"^ *([\d.]+) ms  (the loop|jobs? [\d, ]+?) +(\S.*)$", out, re.M)
    assert [float(at) for at, _, _ in turns] == sorted(float(at) for at, _, _ in turns)
    ends = re.findall(r"(?:delivered|returns) (\w+)", out)
    assert sorted(ends) == ["200", "200", "timeout"]
    assert out.count("handed over") == 3
    if engines.facts(engine).one_loop:
        assert re.search(r"^ *[\d.]+ ms  jobs 0, 1, 2 +switch in, switch out$", out, re.M)
        assert re.search(r"the loop +waits( \d+ times, together)? \d{2,}\.\d\d ms; 1 ready at last", out)


def test_explain_without_granian_says_what_is_left_out(cormorant, tmp_path_factory):
    without("granian", tmp_path_factory.mktemp("site"), cormorant)
    code, out, err = cormorant.run("explain", "serial")
    assert code == 0
    assert "SerialEngine.collect" in out
    assert "the live trace is left out" in err
    assert "pip install 'cormorant[lab]'" in err


def test_explain_an_unknown_engine(cormorant):
    code, out, err = cormorant.run("explain", "greenlets")
    assert (code, out) == (2, "")
    assert "no engine 'greenlets'; choose one of serial" in err


@pytest.mark.parametrize("command", ["trace", "explain"])
def test_asking_for_help_imports_nothing_heavy(command):
    code = (
        f"import sys\nsys.argv = ['cormorant', {command!r}, '--help']\n"
        "from cormorant.cli.app import app\n"
        "try:\n    app(prog_name='cormorant')\nexcept SystemExit:\n    pass\n"
        "heavy = {'pycurl', 'greenlet', 'asyncio', 'matplotlib', 'granian', 'gevent'} & set(sys.modules)\n"
        "sys.exit(','.join(sorted(heavy)) or 0)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
