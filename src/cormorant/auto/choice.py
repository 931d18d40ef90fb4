"""Which engine, and how wide: decided from what a probe measured. Pure: figures in, a choice and its reason out.

The rules, for work that is a function of the user's (a parse function counts as one):

1. it computes for most of its time, and for long enough to be worth the way to another process: `process`, when there
   is more than one core and the function can travel
2. it waits elsewhere than in our wire (requests, a database, time.sleep), where it would stop all coroutines: `thread`
3. it waits in our wire, or hardly at all: `greenlet`

How wide follows Little's law: one thread that computes C seconds a job, each of which lasts L seconds, is busy with
L / C of them.
"""

from __future__ import annotations

import dataclasses
import math

LEAST_COMPUTING_SECONDS = 0.005  # a job's way to another process and back costs a tenth of that
COMPUTING_SHARE = 0.3  # of a job's time; below that it mostly waits, and processes would wait with it
ELSEWHERE_SECONDS = 0.001  # less may be the operating system's doing
ELSEWHERE_SHARE = 0.2  # of a job's time

FEWEST_GOOD = 5  # pages whose latency says something of the others
SPARE = 1.5  # more under way than needed, so that a few slow ones leave the thread busy
FEWEST, MOST = 8, 1024
MOST_THREADS = 64
MOST_PROCESSES_A_CORE = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What a probe saw of pages alone: how many ended, how many of those were good, and the median latency of these.

    `cpu_seconds` is what one of all that ended cost the thread, the caller's part too: it has the others to do as well.
    """

    ended: int
    good: int
    probe_seconds: float
    latency_seconds: float
    cpu_seconds: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What a probe saw of a function, run alone: medians of a call's time, of its CPU and of its waits in our wire.

    With `ended` 0 the figures are those of the first call, so far. `refusal` says why worker processes cannot have
    the function, if they cannot.
    """

    ended: int
    probe_seconds: float
    wall_seconds: float
    cpu_seconds: float
    wire_seconds: float
    cores: int
    refusal: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """An engine, how many jobs at once (None: its default), and why."""

    engine: str
    width: int | None
    why: str


def for_pages(pages: Pages) -> Choice:
    """Choose for a list of URLs without a function: always greenlet, as wide as keeps its thread busy."""
    if not pages.ended:
        return Choice("greenlet", None, f"no page came back within {_time(pages.probe_seconds)} to judge the width by")
    if pages.good < FEWEST_GOOD:
        return Choice("greenlet", None, f"{pages.good} of {pages.ended} pages were good, too few to judge the width by")
    latency, cpu = pages.latency_seconds, max(pages.cpu_seconds, 1e-6)
    why = (
        f"a page takes {_time(latency)} (median of {pages.good}) and {_time(cpu)} of this thread, "
        f"which {math.ceil(latency / cpu):,} at once keep busy"
    )
    return Choice("greenlet", _within(FEWEST, latency / cpu * SPARE, MOST), why)


def for_calls(calls: Calls) -> Choice:
    """Choose for a function of the user's."""
    wall, cpu = max(calls.wall_seconds, 1e-6), max(calls.cpu_seconds, 1e-6)
    elsewhere = max(0.0, wall - cpu - calls.wire_seconds)
    seen = _seen(calls, elsewhere)
    computes = cpu >= LEAST_COMPUTING_SECONDS and cpu / wall >= COMPUTING_SHARE
    unused = ""
    if computes and calls.cores > 1 and calls.refusal is None:
        width = _within(calls.cores, round(calls.cores * wall / cpu), calls.cores * MOST_PROCESSES_A_CORE)
        return Choice("process", width, f"{seen}: it computes, and there are {calls.cores} cores")
    if computes:
        unused = f"; it computes, but {calls.refusal or 'there is one core'}"
    if elsewhere >= ELSEWHERE_SECONDS and elsewhere / wall >= ELSEWHERE_SHARE:
        width = _within(FEWEST, wall / cpu * SPARE, MOST_THREADS)
        return Choice("thread", width, f"{seen}: it waits where coroutines would wait for each other{unused}")
    width = _within(FEWEST, wall / (cpu + elsewhere) * SPARE, MOST)
    return Choice("greenlet", width, f"{seen}: {_waits(calls)}{unused}")


def _seen(calls: Calls, elsewhere: float) -> str:
    parts = (
        (calls.cpu_seconds, "computing"),
        (calls.wire_seconds, "waiting for pages"),
        (elsewhere, "waiting elsewhere"),
    )
    figures = ", ".join(f"{_time(seconds)} {what}" for seconds, what in parts if seconds > calls.wall_seconds / 100)
    if not calls.ended:
        return f"the first call is not done after {_time(calls.probe_seconds)}, so far {figures}"
    return f"a call takes {_time(calls.wall_seconds)} (median of {calls.ended}), {figures}"


def _waits(calls: Calls) -> str:
    if calls.wire_seconds > calls.cpu_seconds:
        return "it waits in our own wire, where one thread can wait for all"
    return "it hardly waits, and one thread has the least to do for a call"


def _within(least: int, wanted: float, most: int) -> int:
    return max(least, min(most, math.ceil(wanted)))


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
