"""Claims about who says which connections are ready: epoll (or kqueue), poll and select, and what epoll is not."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import mmap
import resource
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cormorant.lab.claims.claim import Claim, Finding, Values

IDLE = (100, 1_000, 5_000)
FD_SETSIZE = 1024  # select() cannot be asked about a descriptor of this number or above
FIRST_OF_THE_OTHER_END = 2_000
SPARE_DESCRIPTORS = 64
FLAT = 3.0  # times, at the most, from the fewest idle connections to the most
GROWING = 5.0  # times, at the least

_REPEATS = 5
_CALLS_SECONDS = 0.02
_MAPS = Path("/proc/self/maps")


@contextlib.contextmanager
def _connections(idle: int) -> Iterator[list[int]]:
    """Give the descriptors of `idle` connections without news and, last, of one with a byte to read.

    The other ends get high numbers, so that ours are low enough for select().
    """
    with contextlib.ExitStack() as stack:
        ours = []
        for _ in range(idle + 1):
            end, other = socket.socketpair()
            stack.enter_context(end)
            high = fcntl.fcntl(other.fileno(), fcntl.F_DUPFD_CLOEXEC, FIRST_OF_THE_OTHER_END)
            other.close()
            other = stack.enter_context(socket.socket(fileno=high))
            ours.append(end.fileno())
        other.send(b".")
        yield ours


def _microseconds(ask: Callable[[], int]) -> float:
    """Return the price of one call that names one ready connection, the median of some runs."""
    if ask() != 1:
        raise AssertionError("not just the ready one was handed over")
    runs = []
    for _ in range(_REPEATS):
        calls, began = 0, time.perf_counter()
        while (took := time.perf_counter() - began) < _CALLS_SECONDS:
            for _ in itertools.repeat(None, 10):
                ask()
            calls += 10
        runs.append(took / calls * 1e6)
    return statistics.median(runs)


def _epoll(descriptors: list[int]) -> float:
    with select.epoll() as epoll:
        for descriptor in descriptors:
            epoll.register(descriptor, select.EPOLLIN)
        return _microseconds(lambda: len(epoll.poll(0)))


def _kqueue(descriptors: list[int]) -> float:
    system: Any = select  # what a type checker knows of it depends on where it runs
    with contextlib.closing(system.kqueue()) as queue:
        queue.control([system.kevent(descriptor) for descriptor in descriptors], 0, 0)
        return _microseconds(lambda: len(queue.control(None, 100, 0)))


def _poll(descriptors: list[int]) -> float:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return _microseconds(lambda: len(poll.poll(0)))


def _select(descriptors: list[int]) -> float:
    return _microseconds(lambda: len(select.select(descriptors, [], [], 0)[0]))


def _counts() -> list[int]:
    """Return the numbers of idle connections for which this process may open enough files."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return list(IDLE)
    most = min(soft - SPARE_DESCRIPTORS - FIRST_OF_THE_OTHER_END, (soft - SPARE_DESCRIPTORS) // 2)
    return [idle for idle in IDLE if idle <= most]


def _measure() -> Values:
    name, best = ("epoll", _epoll) if hasattr(select, "epoll") else ("kqueue", _kqueue)
    values: Values = {}
    for idle in _counts():
        with _connections(idle) as descriptors:
            values[f"{name}_{idle}_idle_us"] = best(descriptors)
            values[f"poll_{idle}_idle_us"] = _poll(descriptors)
            if max(descriptors) < FD_SETSIZE:
                values[f"select_{idle}_idle_us"] = _select(descriptors)
    return values


def rule(values: Values) -> Finding:
    """Say whether epoll's price stayed within `FLAT` times while poll's grew `GROWING` times or more."""
    prices: dict[str, dict[int, float]] = {}
    for name, microseconds in values.items():
        call, idle, *_ = name.split("_")
        prices.setdefault(call, {})[int(idle)] = microseconds
    if len(prices.get("poll", {})) < 2:
        return Finding(None, "not measured: too few files may be open here; raise the limit with `ulimit -n 16384`")
    grew = {call: each[max(each)] / each[min(each)] for call, each in prices.items()}
    best = next(iter(prices))
    words = (f"{call} " + ", ".join(f"{us:,.1f}" for us in each.values()) for call, each in prices.items())
    counts = " / ".join(f"{idle:,}" for idle in prices[best])
    figure = f"µs a call with 1 ready among {counts} idle: {'; '.join(words)}"
    beyond = max(prices[best]) != max(prices.get("select", {0: 0.0}))
    figure += f" (select ends at descriptor {FD_SETSIZE})" if beyond else ""
    return Finding(grew[best] <= FLAT and grew["poll"] >= GROWING, figure)


def _mappings() -> Values:
    """Use an epoll descriptor, look for memory it shares with us, and ask for some. -1: not Linux."""
    if not (sys.platform == "linux" and _MAPS.exists()):
        return {}
    with select.epoll() as epoll, _connections(1) as descriptors:
        for descriptor in descriptors:
            epoll.register(descriptor, select.EPOLLIN)
        handed_over = len(epoll.poll(0))
        shared = sum("eventpoll" in line for line in _MAPS.read_text().splitlines())
        refused = 0
        try:
            mmap.mmap(epoll.fileno(), mmap.PAGESIZE).close()
        except OSError as error:
            refused = error.errno or 0
    return {"epoll_mappings": shared, "epoll_mmap_errno": refused, "epoll_events_handed_over": handed_over}


def mmap_rule(values: Values) -> Finding:
    """Say whether any memory of the epoll descriptor is mapped, or can be."""
    if not values:
        return Finding(None, "not measured: there is no epoll on this system")
    mapped, refused = values["epoll_mappings"], int(values["epoll_mmap_errno"])
    answer = f"fails with {errno.errorcode.get(refused, refused)}" if refused else "succeeds"
    figure = f"{mapped:.0f} mappings of the epoll descriptor in /proc/self/maps after use; mmap(2) of it {answer}"
    return Finding(mapped > 0 or not refused, figure)


ONLY_READY = Claim(
    name="epoll-only-ready",
    says="epoll hands over only the ready ones: idle connections cost it nothing.",
    how=f"One connection with a byte to read among {', '.join(f'{idle:,}' for idle in IDLE)} without (socket pairs, as "
    "many as `ulimit -n` allows); µs for one call from Python that does not wait. epoll stands for kqueue where that "
    f"is what there is. Holds when its price grows at most {FLAT:g} times and that of poll at least {GROWING:g} times.",
    measure=_measure,
    rule=rule,
    source="man 7 epoll, https://man7.org/linux/man-pages/man7/epoll.7.html: the ready list is a subset of (or, more "
    "precisely, a set of references to) the file descriptors in the interest list",
)
MMAP = Claim(
    name="epoll-mmap",
    says="epoll is fast because it shares memory with the kernel by mmap.",
    how="An epoll descriptor was used, then this process's memory map was searched for it, and mmap(2) was asked to "
    "map it. Holds when it is mapped or can be.",
    measure=_mappings,
    rule=mmap_rule,
    source="Linux, fs/eventpoll.c: ep_send_events() copies each event to the caller's array by epoll_put_uevent() "
    "(include/linux/eventpoll.h: __put_user, later unsafe_put_user), and eventpoll_fops has no .mmap; "
    "https://github.com/torvalds/linux/blob/master/fs/eventpoll.c",
)

CLAIMS = (ONLY_READY, MMAP)
