"""`cormorant doctor`: each check against machines that are fed, the facts from files that are fed, and the command."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cormorant import engines
from cormorant.lab.doctor import cgroup, checks, facts
from cormorant.lab.doctor.checks import State, Wish
from cormorant.lab.doctor.facts import Libcurl, Machine, Resolver
from cormorant.transport import exchange

GOOD_CURL = Libcurl(
    version=(8, 5, 0),
    features=frozenset({"SSL", "HTTP2", "IPV6", "ASYNCHDNS"}),
    name="libcurl/8.5.0",
    certificates="/etc/ssl/cert.pem",
    certificates_error=None,
)
GOOD = Machine(
    system="linux",
    files_soft=4096,
    files_hard=8192,
    ports=(32768, 60999),
    ports_reused=2,
    resolver=Resolver(nameservers=("10.0.0.1",), seconds=0.001),
    cores_shown=4,
    cores_allowed=4,
    group=cgroup.Group(),
    memory_bytes=64 << 30,
    processes=None,
    pid_max=32768,
    threads_max=60000,
    tasks=300,
    libcurl=GOOD_CURL,
    libcurl_error=None,
    packages=dict.fromkeys(facts.PACKAGES, "1.0"),
    alarm_is_free=True,
)


def wish(engine: str = "greenlet", concurrency: int = 64, **rest: Any) -> Wish:
    return Wish(engine=engine, concurrency=concurrency, **rest)


def machine(**changes: Any) -> Machine:
    return dataclasses.replace(GOOD, **changes)


def curl(**changes: Any) -> Libcurl:
    return dataclasses.replace(GOOD_CURL, **changes)


def test_a_good_machine_has_no_fault() -> None:
    found = checks.examine(GOOD, wish())
    assert {check.name: check.state for check in found if check.state is not State.OK} == {}
    assert len({check.name for check in found}) == len(found) == 11
    assert all(check.found for check in found)


@pytest.mark.parametrize("engine", engines.names())
def test_every_engine_can_be_asked_for(engine: str) -> None:
    wanted = wish(engine, engines.facts(engine).default_concurrency)
    assert all(check.state is State.OK for check in checks.examine(GOOD, wanted))


@pytest.mark.parametrize(
    ("changes", "wanted", "state", "found", "fix"),
    [
        ({"files_soft": 64}, wish(), State.PROBLEM, "room for 8 at once", "ulimit -n 176"),
        ({"files_soft": 175}, wish(), State.PROBLEM, "64 x 2 + 48 = 176 are needed", "ulimit -n 176"),
        ({"files_soft": 176}, wish(), State.OK, "= 176 are needed", None),
        ({"files_soft": 256, "files_hard": None}, wish("process", 30), State.PROBLEM, "= 348", "ulimit -n 348"),
        ({"files_soft": None, "files_hard": None}, wish("thread", 9999), State.OK, "unlimited", None),
        ({"files_hard": 4096}, wish("thread", 3000), State.PROBLEM, "= 6,048", "LimitNOFILE=6048"),
        ({"files_hard": 4096, "system": "darwin"}, wish("thread", 3000), State.PROBLEM, "", "launchctl limit maxfiles"),
    ],
    ids=str,
)
def test_open_files(changes: Any, wanted: Wish, state: State, found: str, fix: str | None) -> None:
    check = checks.files(machine(**changes), wanted)
    assert check.state is state
    assert found in check.found
    assert fix in check.fix if fix is not None and check.fix is not None else check.fix is None and fix is None


@pytest.mark.usefixtures("monkeypatch")
def test_the_room_for_files_is_the_one_the_engines_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft in (60, 100, 1000):
        monkeypatch.setattr(resource, "getrlimit", lambda _which, soft=soft: (soft, soft))
        room = engines.width("thread", 5000)
        check = checks.files(machine(files_soft=soft, files_hard=soft), wish("thread", 5000))
        assert f"room for {room:,} at once" in check.found


@pytest.mark.parametrize(
    ("changes", "concurrency", "state", "says"),
    [
        ({"ports": (50000, 50099)}, 200, State.PROBLEM, "100 (50000 to 50099)"),
        ({"ports": (50000, 50499)}, 200, State.WARNING, "500 (50000"),
        ({}, 200, State.OK, "470 new ones a second"),
        ({"ports_reused": 0}, 200, State.OK, "never used again"),
        ({"ports": None}, 200, State.OK, "cannot be told"),
    ],
    ids=str,
)
def test_local_ports(changes: Any, concurrency: int, state: State, says: str) -> None:
    check = checks.ports(machine(**changes), wish(concurrency=concurrency))
    assert check.state is state
    assert says in check.found
    assert (check.fix is None) == (state is State.OK)


@pytest.mark.parametrize(
    ("about", "state", "says", "fix"),
    [
        (Resolver(nameservers=(), seconds=0.001), State.WARNING, "no nameserver", "echo 'nameserver 9.9.9.9' |"),
        (Resolver(nameservers=("10.0.0.1",), error="no answer"), State.PROBLEM, "no answer", "127.0.0.1 localhost"),
        (Resolver(nameservers=("10.0.0.1",), seconds=0.9), State.WARNING, "localhost is slow", "127.0.0.1 localhost"),
        (Resolver(nameservers=("10.0.0.1", "10.0.0.2"), seconds=0.001), State.WARNING, "takes 20 s", "timeout:2"),
        (Resolver(nameservers=("10.0.0.1", "10.0.0.2"), timeout=1, seconds=0.001), State.OK, "takes 4 s", None),
    ],
    ids=str,
)
def test_the_resolver(about: Resolver, state: State, says: str, fix: str | None) -> None:
    check = checks.resolver(machine(resolver=about))
    assert check.state is state
    assert says in check.found
    assert (fix or "") in (check.fix or "")
    assert (check.fix is None) == (fix is None)


def test_no_fix_only_looks_and_none_has_a_placeholder() -> None:
    """Each is a line to paste that changes something."""
    bad = machine(
        files_soft=64,
        ports=(50000, 50010),
        resolver=Resolver(nameservers=()),
        group=cgroup.Group(tasks=10, tasks_now=9, unit="cormorant.service"),
    )
    fixes = [check.fix for check in checks.examine(bad, wish("process")) if check.fix is not None]
    assert len(fixes) >= 4
    assert not [fix for fix in fixes if fix.startswith("cat ") or "UNIT" in fix]


@pytest.mark.parametrize(
    ("changes", "state", "says", "fix"),
    [
        ({"group": cgroup.Group(cores=0.5)}, State.WARNING, "0.5 of the 4 cores", "-e process -c 1"),
        ({"group": cgroup.Group(cores=2.5)}, State.WARNING, "2.5 by the quota", "-e process -c 3"),
        ({"group": cgroup.Group(cores=8.0)}, State.OK, "4 cores, all usable", None),
        ({"cores_allowed": 2}, State.WARNING, "2 by affinity", "-e process -c 2"),
        ({}, State.OK, "4 cores", None),
    ],
    ids=str,
)
def test_cores(changes: Any, state: State, says: str, fix: str | None) -> None:
    check = checks.cores(machine(**changes), wish())
    assert check.state is state
    assert says in check.found
    assert (check.fix or "").endswith(fix or "")
    assert (check.fix is None) == (fix is None)


def test_memory() -> None:
    tight = machine(group=cgroup.Group(memory_bytes=512 << 20))
    check = checks.memory(tight, wish(concurrency=64, max_body=64 << 20))
    assert check.state is State.WARNING
    assert "the control group allows 512 MB; at worst 64 pages x 2 x --max-body are 8 GB" in check.found
    assert check.fix == "cormorant fetch … -c 64 --max-body 2048K"
    assert checks.memory(tight, wish(concurrency=64, max_body=2 << 20)).state is State.OK
    assert "64 Python processes" in checks.memory(GOOD, wish("process", 64)).found
    assert checks.memory(machine(memory_bytes=None), wish()).state is State.OK


@pytest.mark.parametrize(
    ("changes", "wanted", "state", "fix"),
    [
        ({"processes": 100}, wish("thread", 500), State.PROBLEM, "ulimit -u 1004"),
        ({"processes": 100}, wish("serial", 1), State.OK, None),
        ({"group": cgroup.Group(tasks=100, tasks_now=60)}, wish("pool", 50), State.PROBLEM, "--pids-limit 116"),
        ({"group": cgroup.Group(tasks=200, tasks_now=60)}, wish("pool", 50), State.OK, None),
        ({"group": cgroup.Group(tasks=200, tasks_now=60)}, wish("process", 50), State.PROBLEM, "--pids-limit 213"),
        (
            {"group": cgroup.Group(tasks=100, tasks_now=60, unit="a.service")},
            wish("pool", 50),
            State.PROBLEM,
            "sudo systemctl set-property a.service TasksMax=116",
        ),
        (
            {"group": cgroup.Group(tasks=100, tasks_now=60, unit="--user app.slice")},
            wish("pool", 50),
            State.PROBLEM,
            "systemctl --user set-property app.slice TasksMax=116",
        ),
        ({"pid_max": 1000, "tasks": 700}, wish("thread", 500), State.PROBLEM, "sysctl -w kernel.pid_max=1704"),
        ({"threads_max": 1000, "tasks": 700}, wish("thread", 500), State.PROBLEM, "kernel.threads-max=1704"),
        ({"pid_max": 1000, "threads_max": None, "tasks": 400}, wish("thread", 500), State.OK, None),
    ],
    ids=str,
)
def test_threads_and_processes(changes: Any, wanted: Wish, state: State, fix: str | None) -> None:
    check = checks.tasks(machine(**changes), wanted)
    assert check.state is state
    assert (fix or "") in (check.fix or "")
    assert (check.fix is None) == (fix is None)


@pytest.mark.parametrize(
    ("about", "state", "says"),
    [
        (None, State.PROBLEM, "no module"),
        (curl(version=(7, 79, 1)), State.PROBLEM, "at least 7.80.0"),
        (curl(version=(7, 80, 0)), State.OK, "brotli and zstd are not used"),
        (curl(features=frozenset({"HTTP2", "IPV6"})), State.PROBLEM, "without TLS"),
        (curl(features=frozenset({"SSL", "IPV6", "ASYNCHDNS"})), State.WARNING, "no HTTP/2"),
        (curl(features=frozenset({"SSL", "IPV6", "HTTP2"})), State.WARNING, "cannot time out"),
    ],
    ids=["none", "old", "least", "no-tls", "no-http2", "no-asynchdns"],
)
def test_libcurl(about: Libcurl | None, state: State, says: str) -> None:
    check = checks.libcurl(about, "no module named pycurl")
    assert check.state is state
    assert says in check.found
    assert (check.fix is None) == (state is State.OK)


def test_packages_and_engines_that_are_missing() -> None:
    absent = {**GOOD.packages, "gevent": None, "psutil": None, "granian": None}
    check = checks.packages(absent)
    assert (check.state, check.fix) == (State.OK, "pip install 'cormorant[gevent,lab]'")
    assert checks.packages({**absent, "greenlet": None}).state is State.PROBLEM
    check = checks.engine(absent, wish("gevent"))
    assert (check.state, check.fix) == (State.PROBLEM, "pip install 'cormorant[gevent]'")
    assert "Python's own loop" in checks.engine({**absent, "uvloop": None}, wish("asyncio")).found
    assert checks.engine(absent, wish("serial", 5)).state is State.WARNING


def test_an_alarm_that_is_taken() -> None:
    assert checks.alarm(False, wish("greenlet")).state is State.WARNING
    assert checks.alarm(False, wish("process")).state is State.OK


# --- facts ---


def tree(root: Path, **files: str) -> Path:
    for path, text in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def test_a_group_of_version_2(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/app/worker\n",
        "sys/fs/cgroup/cpu.max": "max 100000\n",
        "sys/fs/cgroup/app/cpu.max": "50000 100000\n",
        "sys/fs/cgroup/app/worker/cpu.max": "400000 100000\n",
        "sys/fs/cgroup/app/memory.max": "536870912\n",
        "sys/fs/cgroup/app/worker/memory.max": "max\n",
        "sys/fs/cgroup/app/worker/pids.max": "100\n",
        "sys/fs/cgroup/app/worker/pids.current": "7\n",
    }
    found = cgroup.read(tree(tmp_path, **files))
    assert found == cgroup.Group(cores=0.5, memory_bytes=512 << 20, tasks=100, tasks_now=7)


@pytest.mark.parametrize(
    ("path", "limited", "unit"),
    [
        ("/system.slice/cormorant.service", "/system.slice/cormorant.service", "cormorant.service"),
        ("/user.slice/user-7.slice/session-1.scope", "/user.slice/user-7.slice", "user-7.slice"),
        ("/user.slice/user@7.service/app.slice/a.scope", "/user.slice/user@7.service/app.slice", "--user app.slice"),
        ("/user.slice/user@7.service/app.slice/a.scope", "/user.slice/user@7.service", "user@7.service"),
        ("/", "/", None),
        ("/docker/abc", "/docker/abc", None),
    ],
    ids=str,
)
def test_the_unit_whose_limit_it_is(tmp_path: Path, path: str, limited: str, unit: str | None) -> None:
    folder = f"sys/fs/cgroup{limited}".rstrip("/")
    files = {"proc/self/cgroup": f"0::{path}\n", f"{folder}/pids.max": "100\n", f"{folder}/pids.current": "7\n"}
    (tmp_path / f"sys/fs/cgroup{path}").mkdir(parents=True, exist_ok=True)
    found = cgroup.read(tree(tmp_path, **files))
    assert (found.tasks, found.tasks_now, found.unit) == (100, 7, unit)


def test_a_group_of_version_1_whose_path_is_the_hosts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/docker/abc\n3:pids:/docker/abc\n2:cpu,cpuacct:/docker/abc\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
        "sys/fs/cgroup/pids/pids.max": "max\n",
    }
    assert cgroup.read(tree(tmp_path, **files)) == cgroup.Group(cores=1.5, memory_bytes=256 << 20)


def test_no_limits(tmp_path: Path) -> None:
    assert cgroup.read(tmp_path) == cgroup.Group()
    files = {
        "proc/self/cgroup": "4:memory:/\n2:cpu:/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    assert cgroup.read(tree(tmp_path, **files)) == cgroup.Group()


def test_resolv_conf(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# mine\nsearch a.example\nnameserver 10.0.0.1\nnameserver ::1\noptions rotate timeout:1 attempts:3\n\n"
    )
    found = facts.resolver(path)
    assert (found.nameservers, found.timeout, found.attempts) == (("10.0.0.1", "::1"), 1, 3)
    assert found.seconds is not None
    assert facts.resolver(tmp_path / "none").nameservers == ()


def test_a_resolver_that_hangs_does_not_hang_the_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket
    import threading

    let_go = threading.Event()
    monkeypatch.setattr(facts, "LOOKUP_SECONDS", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: let_go.wait(30))
    found = facts.resolver(tmp_path / "none")
    let_go.set()
    assert found.error == "no answer within 0.05 s"


@pytest.fixture
def looked_up_anew() -> Iterator[None]:
    """Let the bundle be looked up as by a command that has just begun: it is looked up once in a process."""
    exchange.ca_options.cache_clear()
    yield
    exchange.ca_options.cache_clear()


@pytest.mark.parametrize(("name", "says"), [("none.pem", "no such file"), ("cert.pem", "holds no PEM certificate")])
@pytest.mark.usefixtures("looked_up_anew")
def test_certificates_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    facts.machine()  # what was right a moment ago is not kept
    (tmp_path / "cert.pem").write_text("hello")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
    check = checks.certificates(facts.machine().libcurl)
    assert check.state is State.PROBLEM
    assert says in check.found
    assert check.fix == 'export SSL_CERT_FILE="$(python -m certifi)"'


def test_this_machine_is_read() -> None:
    here = facts.machine()
    assert (here.files_soft, here.files_hard) == tuple(
        None if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    assert here.cores_shown == os.cpu_count()
    assert here.libcurl is not None
    assert here.libcurl.version >= checks.LEAST_LIBCURL
    assert "SSL" in here.libcurl.features
    assert here.packages["greenlet"] is not None
    if sys.platform == "linux":
        assert here.tasks is not None
        assert here.pid_max is not None
        assert 0 < here.tasks < here.pid_max
        assert here.threads_max is not None


# --- the command ---


def doctor(*words: str, files: int | None = None) -> subprocess.CompletedProcess[str]:
    source = str(Path(engines.__file__).parents[2])

    def lower() -> None:
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    command = [sys.executable, "-m", "cormorant", "doctor", *words]
    environment = {**os.environ, "PYTHONPATH": source}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, preexec_fn=lower, check=False
    )


def test_a_problem_is_an_exit_code_with_its_fix() -> None:
    answer = doctor("-c", "100", "-e", "thread", files=64)
    assert answer.returncode == 1, answer.stderr
    (at,) = [number for number, line in enumerate(answer.stdout.splitlines()) if line.startswith("problem")]
    problem, fix = answer.stdout.splitlines()[at : at + 2]
    assert "open files: ulimit -n is 64 (at most 64); 100 x 2 + 48 = 248 are needed" in problem
    assert "nofile 248" in fix


def test_json_is_one_object() -> None:
    answer = doctor("--json", "-c", "100", files=64)
    assert answer.returncode == 1, answer.stderr
    report = json.loads(answer.stdout)
    assert (report["engine"], report["concurrency"]) == ("greenlet", 100)
    (files,) = [check for check in report["checks"] if check["name"] == "open files"]
    assert files["state"] == "problem"
    assert {"name", "state", "found", "fix"} == set(files)


def test_wrong_usage() -> None:
    for words, says in ((("-e", "fibre"), "choose one of serial"), (("-e", "auto"), "for fetch and map")):
        answer = doctor(*words)
        assert answer.returncode == 2
        assert says in answer.stderr
