"""Workers as actors of a Ray cluster: on this machine (`local`), or on many.

Ray starts processes and carries lists of messages; it repeats nothing, restarts nothing, and stores nothing: what
counts is in the shards' books. A worker has one `put` and one `take` under way, each with all that waits, never a call
a page. A thread here keeps calling while the driver's caller is slow.

Each answer bears the worker's clock, and the next call brings it back, with the number of messages that came: so a
worker knows what the driver has heard, and up to when. It commits what the driver has (`Post.flush`), and leaves
`LEAVE_SECONDS` after it was heard last (`member.py`). No earlier may its death be told where only its node, or the way
to it, is known to be lost: an orphan was seen to go on for 14 s.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cormorant.errors import EngineLost, MissingPackage, UsageError
from cormorant.fleet.actor import CALL_SECONDS, PLACE_SECONDS, Actor
from cormorant.fleet.seat import Seat
from cormorant.interfaces import Member

LOCAL = "local"
KNOCK_SECONDS = 5.0
LOOK_SECONDS = 5.0  # how often the cluster is asked whether it is there
LOST_SECONDS = 30.0  # without an answer to that; Ray itself ends the process after 60 s
CLOSE_SECONDS = 3.0  # until the actors are gone: what they hold is somebody else's next
OBJECT_STORE_BYTES = 256 * 1024 * 1024
TRUST = "CORMORANT_TRUST_NETWORK"

log = logging.getLogger(__name__)


class RayCluster:
    """Implements `interfaces.Cluster`. `address`: "local", "auto" or HOST:PORT of a head node.

    Where its nodes need not `sees_our_folders`, a worker that dies takes along what its function was at.

    Raises MissingPackage without Ray, and UsageError for an address that anybody on the network may use.
    """

    is_leased = True

    def __init__(self, address: str, *, sees_our_folders: bool = True) -> None:
        if importlib.util.find_spec("ray") is None:
            raise MissingPackage("a cluster needs the package ray: pip install 'cormorant[ray]'")
        if address.startswith("ray://"):
            raise UsageError(f"{address} is for Ray's client; run this on a node of the cluster: HOST:6379, or auto")
        if address not in (LOCAL, "auto"):
            if not address.rpartition(":")[2].isdecimal():
                raise UsageError(f"{address!r} is no cluster: give local, auto, or its head, such as 10.0.0.1:6379")
            _check_trust(address)
        self._address, self._sees_our_folders = address, sees_our_folders
        self._ray: Any = None
        self._is_ours = False
        self._actors: list[Actor] = []
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._news = threading.Event()
        self._answered_at = 0.0
        self._is_closed = False

    def start(self, number: int, told: bytes, marks: Path) -> Actor:
        """Start a worker. Raises EngineLost when the cluster cannot be reached."""
        if self._ray is None:
            self._connect()
        marks.touch()  # what an actor knows a shared folder by
        place = self._ray.remote(Seat).options(
            num_cpus=self._cpus(), max_restarts=0, max_task_retries=0, max_concurrency=2
        )
        actor = Actor(number, marks, self._events, self._news)
        actor.sit(self._ray, place.remote(told, os.fspath(marks) if self._sees_our_folders else "", os.getcwd()))
        self._actors.append(actor)
        self._events.put(actor.call)
        return actor

    def _cpus(self) -> int:
        """How many cores the next actor claims: none where all are ours, or where the one of the dead is lost, too."""
        if self._address == LOCAL:
            return 0
        living = sum(not actor.is_lost for actor in self._actors)
        return int(living == len(self._actors) or living < self._ray.cluster_resources().get("CPU", 0))

    def _connect(self) -> None:
        _prepare(self._address == LOCAL)
        import ray

        if not ray.is_initialized():
            try:
                _knock(self._address)
                with _own_signals():
                    ray.init(**_words(self._address))
            except Exception as error:  # Ray raises whatever it meets
                raise EngineLost(_unreachable(self._address, error)) from error
            self._is_ours = True
        self._ray = ray
        if self._address != LOCAL:
            _check_trust(ray.get_runtime_context().gcs_address)
        self._answered_at = time.monotonic()
        start_new_thread(self._run, ())
        start_new_thread(self._look, ())

    def _run(self) -> None:
        """Do all calls, in the one thread that does."""
        called_at = 0.0
        while not self._is_closed:
            with suppress(queue.Empty):
                self._events.get(timeout=CALL_SECONDS)()
            if time.monotonic() - called_at >= CALL_SECONDS:
                called_at = time.monotonic()
                for actor in list(self._actors):
                    actor.call(is_beat=True)

    def _look(self) -> None:
        """Ask the head whether our node lives; where the head is gone, the question hangs."""
        ours = self._ray.get_runtime_context().get_node_id()
        while not self._is_closed:
            with suppress(Exception):
                if any(node["Alive"] for node in self._ray.nodes() if node["NodeID"] == ours):
                    self._answered_at = time.monotonic()
            time.sleep(LOOK_SECONDS)

    def wait(self, members: Sequence[Member], seconds: float) -> None:
        """Wait until one has said something or died, at most so long. Raises EngineLost when the cluster is lost."""
        self._news.wait(seconds)
        self._news.clear()
        now = time.monotonic()
        if self._ray is not None and now - self._answered_at > LOST_SECONDS:
            raise EngineLost(
                f"this node has been no part of a living cluster for {LOST_SECONDS:.0f} s; see to its head, or to Ray "
                "here, then run it again: a job goes on"
            )
        for actor in self._actors:
            if actor.is_waiting_for_place(now):
                have = self._ray.cluster_resources().get("CPU", 0)
                raise EngineLost(
                    f"worker {actor.number} has found no place for {PLACE_SECONDS:.0f} s: the cluster has {have:.0f} "
                    "cores; start more nodes, or give fewer workers (-w), then run it again: a job goes on"
                )

    def close(self) -> None:
        """Kill all actors, and let go of the cluster; one that was started here ends. Safe to call twice."""
        for actor in self._actors:
            actor.kill()
        until = time.monotonic() + CLOSE_SECONDS
        while any(actor.is_called for actor in self._actors) and time.monotonic() < until:
            time.sleep(CALL_SECONDS / 100)
        self._is_closed = True
        self._actors.clear()
        if self._is_ours:
            self._is_ours = False
            with _own_signals(), suppress(Exception):  # whatever is lost there is not missed
                self._ray.shutdown()

    def __repr__(self) -> str:
        return f"<RayCluster {self._address} of {len(self._actors)} actors>"


# --- reaching a cluster ---


def _prepare(is_local: bool) -> None:
    """Settle what Ray reads when it is imported, unless the user did: no reports, and where it listens."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if is_local and "ray" not in sys.modules:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # off: on loopback alone, on any system
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as Ray does by itself, with a warning


def _words(address: str) -> dict[str, Any]:
    words: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": False}
    if address != LOCAL:
        return words | {"address": address}
    return words | {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES, "address": LOCAL}


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()


def _check_trust(address: str) -> None:
    """Raise UsageError where whoever reaches the address may run code there, and nobody said that it is safe."""
    host = address.rpartition(":")[0].strip("[]") or address
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    is_safe = os.environ.get("RAY_AUTH_MODE", "").lower() == "token" or os.environ.get(TRUST) == "1"
    if host != "localhost" and not is_safe:
        raise UsageError(
            f"whoever reaches {address} may run code on that cluster. Have all its nodes and this shell use a token: "
            f"export RAY_AUTH_MODE=token (docs/cluster.md); or, in a network of your own, export {TRUST}=1"
        )


def _unreachable(address: str, error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    if address == LOCAL:
        return f"Ray did not start here ({first}); is there room in /tmp, and memory? `ray status` and `ray stop` help"
    return (
        f"no cluster answers at {address} ({first}); start one: `ray start --head` there and `ray start --address=...` "
        "here, or give --cluster local; a job goes on when it is run again"
    )


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what the program does at a signal: Ray puts an exit in its place."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
