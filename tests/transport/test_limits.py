"""Our own limits, being stopped, and many hops at once: what a transport owes the process it lives in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cormorant.messages import Kind, Outcome
from cormorant.options import Options
from cormorant.transport import Curl
from cormorant.transport.resolver import Resolved
from driving import BlockingDriver, EventedDriver, asking
from rude import Rude, body

TESTS = Path(__file__).parent.parent

# --- our own limits, in a process of their own ---

CHILD = """
import json, os, resource, sys
from driving import DRIVERS, asking
from cormorant.options import Options
from cormorant.transport import Curl
from cormorant.transport.resolver import Resolved

def peak_bytes():
    try:
        with open("/proc/self/status") as status:  # ru_maxrss remembers the parent's, VmHWM does not
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024

kind, *links = json.loads(sys.argv[1])
"""


def run_child(kind: str, links: list[str], script: str) -> Any:
    """Run `script` after `CHILD` in a new process and return what it printed."""
    path = os.pathsep.join([str(TESTS), *sys.path])
    command = [sys.executable, "-c", CHILD + script, json.dumps([kind, *links])]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_memory_stays_flat_under_bombs_and_endless_bodies(rude: Rude, kind_of_transport: str) -> None:
    """64 MB behind a few KB, and bodies without end, stop at 1 MiB; the process hardly grows."""
    paths = [*(f"/{name}/bomb" for name in ("gzip", "deflate", "br", "zstd")), "/infinite", "/infinite/chunked"]
    grown, kinds = run_child(
        kind_of_transport,
        [rude.url("/gzip/ok"), *map(rude.url, paths)],
        """
driver = DRIVERS[kind](Curl(Options(max_body=1024 * 1024)))
assert driver.fetch(asking(links[0])).ok
before = peak_bytes()
outcomes = driver.fetch_all([asking(link) for link in links[1:]])
print(json.dumps([peak_bytes() - before, [outcome.kind for outcome in outcomes]]))
""",
    )
    assert kinds == ["too_large"] * len(paths)
    assert grown < 24 * 1024 * 1024


def test_running_out_of_descriptors_is_local(rude: Rude, kind_of_transport: str) -> None:
    """EMFILE is our own limit, never the host's fault; with descriptors again, pages come again."""
    failure, phase, page = run_child(
        kind_of_transport,
        [rude.url("/ok")],
        """
driver = DRIVERS[kind](Curl(Options()))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
failure = driver.fetch(asking(links[0]))
for descriptor in held:
    os.close(descriptor)
page = driver.fetch(asking(links[0]))
print(json.dumps([failure.kind, failure.message, page.status]))
""",
    )
    assert (failure, page) == ("local", 200), phase


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.usefixtures("trusted")
def test_more_hops_than_descriptors_are_pages_or_local(scheme: str, rude: Rude) -> None:
    """200 hops at once under 64 descriptors: not one is booked as a refusal, a TLS fault or a timeout."""
    link = rude.url("/slow/0.2") if scheme == "http" else rude.https_url("/slow/0.2")
    kinds = run_child(
        "evented",
        [link],
        """
driver = DRIVERS[kind](Curl(Options()))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
outcomes = driver.fetch_all([asking(f"{links[0]}?{n}") for n in range(200)])
print(json.dumps([outcome.kind for outcome in outcomes]))
""",
    )
    assert set(kinds) == {None, "local"}


# --- being stopped ---


def test_interrupt_ends_a_fetch_under_way(rude: Rude) -> None:
    """Another thread's `interrupt` frees a fetch that would have waited 30 seconds."""
    driver = BlockingDriver(Curl(Options()))
    came: list[Outcome] = []
    fetching = threading.Thread(target=lambda: came.append(driver.fetch(asking(rude.url("/hang"), 30.0))))
    fetching.start()
    rude.wait_log(lambda hits: bool(hits))
    driver.transport.interrupt()
    fetching.join(5)
    assert not fetching.is_alive()
    assert came[0].kind is Kind.CANCELLED
    driver.close()


def test_interrupt_finds_the_connection_that_is_in_use(rude: Rude) -> None:
    """With several kept connections it is the hung one that ends, not the one opened last."""
    driver = BlockingDriver(Curl(Options()))
    for host in ("127.0.0.1", "localhost"):
        assert driver.fetch(asking(rude.url("/ok", host=host))).ok
    came: list[Outcome] = []
    fetching = threading.Thread(target=lambda: came.append(driver.fetch(asking(rude.url("/hang"), 20.0))))
    fetching.start()
    first, _, hung = rude.wait_log(lambda hits: len(hits) == 3)
    driver.transport.interrupt()
    fetching.join(5)
    assert not fetching.is_alive()
    assert hung.port == first.port
    assert came[0].kind is Kind.CANCELLED
    driver.close()


def test_interrupt_ends_a_fetch_that_still_connects(deaf_url: str) -> None:
    """The same while the connection is not there yet."""
    driver = BlockingDriver(Curl(Options(connect_timeout=30)))
    came: list[Outcome] = []
    fetching = threading.Thread(target=lambda: came.append(driver.fetch(asking(deaf_url, 30.0))))
    fetching.start()
    fetching.join(0.2)
    assert fetching.is_alive()
    driver.transport.interrupt()
    fetching.join(5)
    assert not fetching.is_alive()
    assert came[0].kind is Kind.CANCELLED
    driver.close()


@pytest.fixture
def rude_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every name that is looked up beside the loop be 127.0.0.1."""
    monkeypatch.setattr("cormorant.transport.evented.lookup", lambda name: Resolved(addresses=("127.0.0.1",)))


by_address_and_name = pytest.mark.parametrize("host", ["127.0.0.1", "rude.example"], ids=["address", "name"])


@by_address_and_name
@pytest.mark.usefixtures("rude_example")
def test_cancel_drops_a_hop_and_its_connection(host: str, rude: Rude) -> None:
    """A cancelled hop is never delivered, its connection is closed, others go on; unknown keys are ignored."""
    driver = EventedDriver(Curl(Options()))
    came: list[Outcome] = []
    key = driver.transport.start(asking(rude.url("/hang", host=host)), came.append)
    driver.transport.start(asking(rude.url("/slow/0.1")), came.append)
    driver.loop.run_until(lambda: len(rude.log()) == 2, most=0.01)
    driver.transport.cancel(key)
    driver.transport.cancel(key)
    driver.transport.cancel(object())
    driver.loop.run_until(lambda: bool(came))
    assert [outcome.url for outcome in came] == [rude.url("/slow/0.1")]
    hung = next(hit for hit in rude.wait_log(lambda hits: all(hit.ended for hit in hits)) if hit.path == "/hang")
    assert hung.ended == "gone"
    assert driver.fetch(asking(rude.url("/ok"))).body == body(rude.url("/ok"))
    assert len(came) == 1
    driver.close()


@pytest.mark.usefixtures("rude_example")
def test_cancel_while_the_name_is_looked_up(rude: Rude) -> None:
    """A hop cancelled before it has an address asks nothing of anybody."""
    driver = EventedDriver(Curl(Options()))
    came: list[Outcome] = []
    driver.transport.cancel(driver.transport.start(asking(rude.url("/ok", host="rude.example")), came.append))
    assert driver.fetch(asking(rude.url("/ok/2", host="rude.example"))).ok
    assert [hit.path for hit in rude.log()] == ["/ok/2"]
    assert came == []
    driver.close()


@by_address_and_name
@pytest.mark.usefixtures("rude_example")
def test_close_delivers_nothing_and_forgets_every_socket(host: str, rude: Rude) -> None:
    """`close` drops hops under way and kept connections; the loop is left with nothing to watch."""
    driver = EventedDriver(Curl(Options()))
    came: list[Outcome] = []
    driver.transport.start(asking(rude.url("/ok", host=host)), came.append)
    driver.loop.run_until(lambda: bool(came))
    driver.transport.start(asking(rude.url("/hang", host=host)), came.append)
    driver.loop.run_until(lambda: len(rude.log()) == 2, most=0.01)
    driver.transport.close()
    driver.transport.close()
    assert driver.loop.watched == {}
    assert len(came) == 1
    rude.wait_log(lambda hits: all(hit.ended for hit in hits))
    driver.close()


# --- evented alone ---


def test_a_hung_hop_delays_nobody(rude: Rude) -> None:
    """Fifty good pages come while ten hang, each exactly once, and then the ten time out."""
    driver = EventedDriver(Curl(Options()))
    order: list[str] = []
    paths = [f"/hang?{n}" for n in range(10)] + [f"/ok/{n}" for n in range(50)]
    for path in paths:
        driver.transport.start(asking(rude.url(path), 0.6), lambda outcome: order.append(outcome.kind or outcome.url))
    driver.loop.run_until(lambda: len(order) == 60)
    assert order[50:] == [Kind.TIMEOUT] * 10
    assert sorted(order[:50]) == sorted(rude.url(path) for path in paths[10:])
    driver.close()


def test_deliver_may_start_the_next_hop_and_cancel_another(rude: Rude) -> None:
    """`deliver` is called outside libcurl, so anything may be asked of the transport there."""
    driver = EventedDriver(Curl(Options()))
    came: list[Outcome] = []
    hung = driver.transport.start(asking(rude.url("/hang")), came.append)

    def deliver(outcome: Outcome) -> None:
        came.append(outcome)
        driver.transport.cancel(hung)
        if len(came) < 20:
            driver.transport.start(asking(rude.url(f"/ok/{len(came)}")), deliver)

    driver.transport.start(asking(rude.url("/ok/0")), deliver)
    assert came == [], "delivered from inside start"
    driver.loop.run_until(lambda: len(came) == 20)
    assert [page.body for page in came] == [body(rude.url(f"/ok/{n}")) for n in range(20)]
    driver.close()


def ended_together(driver: EventedDriver, rude: Rude, deliver: Callable[[Outcome], None]) -> list[object]:
    """Start ten hops whose answers all wait on their sockets, so that one round ends them all; returns the keys."""
    urls = [rude.url(f"/slow/0.2?{number}") for number in range(10)]
    keys = [driver.transport.start(asking(url), deliver) for url in urls]
    driver.loop.run_until(lambda: len(rude.log()) == 10, most=0.01)
    rude.wait_log(lambda hits: all(hit.ended for hit in hits))
    return keys


def test_deliver_may_close_the_transport(rude: Rude) -> None:
    """A loop that has seen enough may close from inside `deliver`; what ended in the same round is dropped."""
    driver = EventedDriver(Curl(Options()))
    came: list[Outcome] = []

    def deliver(outcome: Outcome) -> None:
        came.append(outcome)
        driver.transport.close()

    ended_together(driver, rude, deliver)
    driver.loop.run_until(lambda: bool(came))
    assert len(came) == 1
    driver.close()


def test_deliver_may_cancel_what_ended_in_the_same_round(rude: Rude) -> None:
    """A hop that is cancelled is not delivered, though its answer is there already."""
    driver = EventedDriver(Curl(Options()))
    came: list[Outcome] = []

    def deliver(outcome: Outcome) -> None:
        came.append(outcome)
        for key in keys:
            driver.transport.cancel(key)

    keys = ended_together(driver, rude, deliver)
    driver.loop.run_until(lambda: bool(came))
    url = rude.url("/ok")
    assert driver.fetch(asking(url)).body == body(url)
    assert len(came) == 1
    driver.close()


def test_cancel_of_a_delivered_hop_does_not_touch_the_next_one(rude: Rude) -> None:
    """A key is good for one hop: used late, it must not drop a stranger that came after it."""
    driver = EventedDriver(Curl(Options()))
    came: list[Outcome] = []
    old = driver.transport.start(asking(rude.url("/ok/1")), came.append)
    driver.loop.run_until(lambda: len(came) == 1)
    driver.transport.start(asking(rude.url("/ok/2")), came.append)
    driver.transport.cancel(old)
    driver.loop.run_until(lambda: len(came) == 2, seconds=5)
    assert came[1].body == body(rude.url("/ok/2"))
    driver.close()


def test_an_idle_transport_does_not_keep_its_loop_busy(rude: Rude) -> None:
    """With nothing under way a loop is woken a few times at most, not for ever."""
    driver = EventedDriver(Curl(Options()))
    assert driver.fetch(asking(rude.url("/ok"))).ok
    before = driver.loop.wakes
    for _ in range(20):
        driver.loop.turn(0.01)
    assert driver.loop.wakes - before <= 2
    driver.close()
