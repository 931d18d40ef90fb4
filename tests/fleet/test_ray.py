"""A fleet on Ray: two nodes on this machine, their workers, nodes and drivers killed in the middle of a run."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cormorant
from cormorant.errors import EngineLost, MissingPackage, UsageError
from cormorant.lab import site
from cormorant.messages import Outcome
from cormorant.sinks.stored import epochs

needs_ray = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("ray") is None, reason="Ray is not installed: pip install ray"
)
slow = pytest.mark.slow

NODES = Path(__file__).with_name("ray_nodes.py")
PAGES = 600
WORKLOAD = site.Workload(pages=PAGES, hosts=20, latency="constant:0.005", not_found=20, cut=10, redirect=20, gzip=60)
SLOWLY = 0.1  # between pages of a host: a run of a few seconds


class Nodes:
    """The cluster in its own process."""

    def __init__(self) -> None:
        command = [sys.executable, str(NODES)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address, _, head = self._process.stdout.readline().strip().partition(" ")
        self.raylets = [int(head)]
        self.add()

    def add(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("add", file=self._process.stdin, flush=True)
        self.raylets.append(int(self._process.stdout.readline()))

    def actors(self, raylet: int) -> list[int]:
        """Return the pids of the workers of a node."""
        return [pid for pid in children(raylet) if command(pid).startswith("ray::Seat")]

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    # what this process reads when it imports Ray is what the nodes have read
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    nodes = Nodes()
    yield nodes
    nodes.close()


@pytest.fixture(scope="module")
def pages() -> Iterator[list[str]]:
    pytest.importorskip("granian")
    with site.running(WORKLOAD) as running:
        yield list(running.urls())


def children(parent: int) -> list[int]:
    done = subprocess.run(["ps", "--ppid", str(parent), "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(pid) for pid in done.stdout.split()]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def ends(outcomes: list[Outcome]) -> Counter[tuple[str, object, bytes]]:
    return Counter((one.input or one.url, getattr(one, "kind", None) or one.status, one.body) for one in outcomes)


def expected(pages: list[str]) -> Counter[tuple[str, object, bytes]]:
    known = {url: site.expected(WORKLOAD, url) for url in pages}
    return Counter((url, end.kind or end.status, end.body) for url, end in known.items())


def with_a_blow(run: Iterator[Outcome], at: int, blow: Callable[[], None]) -> list[Outcome]:
    """Return all outcomes of a run, with something done after so many."""
    outcomes = list(itertools.islice(run, at))
    blow()
    return outcomes + list(run)


@slow
@needs_ray
def test_the_same_outcomes_as_one_worker(nodes: Nodes, pages: list[str]) -> None:
    alone = ends(list(cormorant.fetch(pages, concurrency=32)))
    assert ends(list(cormorant.fetch(pages, concurrency=32, workers=4, cluster=nodes.address))) == alone
    assert alone == expected(pages)


@slow
@needs_ray
def test_a_killed_actor_is_replaced(nodes: Nodes, pages: list[str]) -> None:
    killed = []

    def blow() -> None:
        seats = [pid for raylet in nodes.raylets for pid in nodes.actors(raylet)]
        assert len(seats) == 4
        killed.append(seats[0])
        os.kill(seats[0], signal.SIGKILL)

    run = cormorant.fetch(pages, delay=SLOWLY, workers=4, cluster=nodes.address)
    began = time.monotonic()
    assert ends(with_a_blow(run, 100, blow)) == expected(pages)
    assert killed
    assert time.monotonic() - began < 15.0  # its process is known to be dead: nobody waits for a lease


DRIVER = """
import sys, cormorant
if __name__ == "__main__":
    pages = open(sys.argv[1]).read().split()
    run = cormorant.fetch(pages, delay=0.1, workers=2, cluster=sys.argv[2], job=sys.argv[3], output=sys.argv[4])
    for count, _ in enumerate(run, 1):
        print(count, flush=True)
"""


@slow
@needs_ray
def test_a_killed_driver_leaves_no_worker_and_its_job_goes_on(nodes: Nodes, pages: list[str], tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("\n".join(pages))
    (tmp_path / "driver.py").write_text(DRIVER)
    words = [tmp_path / "driver.py", tmp_path / "urls.txt", nodes.address, tmp_path / "job", tmp_path / "pages.jsonl"]
    run = [sys.executable, *map(str, words)]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert any(line == "300\n" for line in driver.stdout)
        seats = [pid for raylet in nodes.raylets for pid in nodes.actors(raylet)]
        driver.kill()
    assert len(seats) == 2
    done = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    assert 0 < len(done.stdout.split()) < PAGES
    assert ends(list(cormorant.read(str(tmp_path / "pages.jsonl")))) == expected(pages)
    assert not any(map(command, seats))


@slow
@needs_ray
def test_what_was_started_here_ends_with_the_driver(pages: list[str], tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("\n".join(pages))
    (tmp_path / "driver.py").write_text(DRIVER)
    words = [tmp_path / "driver.py", tmp_path / "urls.txt", "local", tmp_path / "job", tmp_path / "pages.jsonl"]
    with subprocess.Popen([sys.executable, *map(str, words)], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert any(line == "10\n" for line in driver.stdout)
        raylets = [pid for pid in children(driver.pid) if "raylet" in command(pid).partition("\0")[0]]
        ours = [*raylets, *(pid for raylet in raylets for pid in children(raylet) if "Seat" in command(pid))]
        assert len(ours) == 3
        driver.kill()
    until = time.monotonic() + 15.0
    while any(map(command, ours)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(command, ours))


@slow
@needs_ray
def test_nodes_that_die_or_are_cut_off_are_survived(nodes: Nodes, pages: list[str], tmp_path: Path) -> None:
    nodes.add()
    _, dying, cut_off = nodes.raylets
    orphans: list[int] = []

    def blow() -> None:
        orphans.extend(nodes.actors(cut_off))
        doomed = nodes.actors(dying)
        assert len(doomed) == len(orphans) == 2
        for pid in [dying, *doomed, cut_off]:
            os.kill(pid, signal.SIGKILL)

    output = str(tmp_path / "pages.jsonl")
    run = cormorant.fetch(
        pages, delay=SLOWLY, workers=6, cluster=nodes.address, job=str(tmp_path / "job"), output=output
    )
    outcomes = with_a_blow(run, 100, blow)
    assert ends(outcomes) == expected(pages)
    assert ends(list(cormorant.read(output))) == expected(pages)
    assert not any(map(command, orphans))


@slow
@needs_ray
def test_shards_in_a_store_are_taken_over(
    nodes: Nodes, pages: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cormorant.fleet.plan.PUBLISH_SECONDS", 0.5)
    output = f"file://{tmp_path}/pages.jsonl"

    def blow() -> None:
        os.kill(next(pid for raylet in nodes.raylets for pid in nodes.actors(raylet)), signal.SIGKILL)

    run = cormorant.fetch(pages, delay=SLOWLY, workers=2, cluster=nodes.address, output=output)
    assert ends(with_a_blow(run, 100, blow)) == expected(pages)
    assert ends(list(cormorant.read(output))) == expected(pages)
    assert len(set(epochs(output).values())) == 2


@needs_ray
def test_an_address_that_is_open_to_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("CORMORANT_TRUST_NETWORK", raising=False)
    with pytest.raises(UsageError, match="RAY_AUTH_MODE=token"):
        list(cormorant.fetch(["http://a.example/"], workers=1, cluster="192.0.2.1:6379"))
    with pytest.raises(UsageError, match=r"'nonsense' is no cluster: give local, auto"):
        list(cormorant.fetch(["http://a.example/"], workers=1, cluster="nonsense"))
    with pytest.raises(UsageError, match="Ray's client"):
        list(cormorant.fetch(["http://a.example/"], workers=1, cluster="ray://127.0.0.1:10001"))


@needs_ray
def test_a_cluster_that_is_not_there_is_told(nodes: Nodes) -> None:
    del nodes  # what Ray reads when it is imported is settled
    with pytest.raises(EngineLost, match=r"no cluster answers at 127\.0\.0\.1:9"):
        list(cormorant.fetch(["http://a.example/"], workers=1, cluster="127.0.0.1:9"))


def test_without_ray_the_fix_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'cormorant\[ray\]'"):
        list(cormorant.fetch(["http://a.example/"], workers=1, cluster="local"))
