"""Comparisons for tests, played by a small simulation of lanes: for no other use, nothing here was measured."""

from __future__ import annotations

import heapq
import random
from typing import Any

from cormorant.lab.claims.verdict import Verdict
from cormorant.lab.comparison import Comparison, Machine, Origin, Phases, Trial, WorkDone

ENGINES = ("serial", "pool", "process", "thread", "greenlet", "gevent", "asyncio")
TIMEOUT_SECONDS = 2.0
SOURCE = "https://man.example/epoll.7"


def comparison(trials: list[Trial] | None = None, **changes: Any) -> Comparison:
    """Return a comparison of all engines at up to two widths with three repeats, `changes` made."""
    known: dict[str, Any] = {
        "measured_at": "2026-11-30T12:00:00+00:00",
        "command": "cormorant compare --pages 300",
        "machine": Machine(system="Linux 6.1", processor="made up", cores=2, memory_bytes=8 << 30),
        "versions": {"cormorant": "0.1", "python": "3.11.9", "libcurl": "8.16.0"},
        "work": WorkDone(
            name="mixed",
            source="embedded",
            jobs=300,
            hosts=10,
            timeout_seconds=TIMEOUT_SECONDS,
            per_host=0,
            workload={"seed": 7},
        ),
        "origin": Origin(name="embedded site", is_ours=True, capacity_pages_per_second=4000.0),
        "caveats": ["These figures are made up for a test."],
        "claims": [
            Verdict(
                name="a", claim="One thread waits for many", holds=True, figure="1 thread, 100 pages", how="counted"
            ),
            Verdict(name="b", claim="epoll is mmap", holds=False, figure="0 pages shared", how="read", source=SOURCE),
            Verdict(
                name="c", claim="Greenlets are small", holds=None, figure="no PSS here", how="PSS", source="a book"
            ),
        ],
        "trials": every_trial() if trials is None else trials,
    }
    return Comparison(**{**known, **changes})


def every_trial() -> list[Trial]:
    """Return three repeats of each engine at each of its widths."""
    return [
        trial(engine, width, repeat)
        for repeat in range(1, 4)
        for engine in ENGINES
        for width in {"serial": (1,), "pool": (8,), "process": (8,)}.get(engine, (16, 100))
    ]


def trial(engine: str, concurrency: int, repeat: int = 1, pages: int = 300, **changes: Any) -> Trial:
    """Return a trial as if `concurrency` lanes had taken `pages` pages in turn."""
    phases = played(concurrency, pages, random.Random(repeat))
    good = sorted(at for at, end in zip(phases.handed_over_at, phases.end, strict=True) if end == "ok")
    seed = random.Random(f"{engine} {concurrency} {repeat}")
    cost = 0.0004 + 0.0003 * ENGINES.index(engine) * seed.uniform(0.9, 1.1) if engine in ENGINES else 0.001
    known: dict[str, Any] = {
        "engine": engine,
        "concurrency": concurrency,
        "repeat": repeat,
        "jobs": pages,
        "ok": len(good),
        "failed": {"timeout": phases.end.count("timeout")},
        "pages_per_second": len(good) / good[-1] * seed.uniform(0.95, 1.05),
        "wall_seconds": max(phases.ended_at),
        "first_seconds": good[0],
        "last_seconds": good[-1],
        "hand_over_p50_seconds": 0.0002,
        "hand_over_p99_seconds": 0.002 * seed.uniform(0.8, 1.2),
        "waited_behind_hung_seconds": TIMEOUT_SECONDS if concurrency == 1 else seed.uniform(0.01, 0.05),
        "cpu_seconds": cost * pages,
        "cpu_user_seconds": cost * pages * 0.7,
        "cpu_system_seconds": cost * pages * 0.3,
        "cpu_seconds_per_page": cost,
        "peak_rss_bytes": int((40 + concurrency * 0.1 * seed.uniform(0.9, 1.1)) * (1 << 20)),
        "origin_cores": 0.3,
        "phases": phases,
    }
    return Trial(**{**known, **changes})


def played(lanes: int, pages: int, chance: random.Random) -> Phases:
    """Return the phases of pages that `lanes` took in turn; each fiftieth page hangs until the timeout."""
    phases, free = Phases(), [0.0] * lanes
    for number in range(pages):
        began = heapq.heappop(free) + 0.0002
        hung = number % 50 == 30
        parts = [chance.uniform(0.0002, 0.002) for _ in range(4)]
        parts.append(0.0 if hung else chance.lognormvariate(-3.0, 0.6))
        ended = began + (TIMEOUT_SECONDS if hung else sum(parts))
        heapq.heappush(free, ended)
        phases.url.append(f"http://host{number % 10}.example/{number}")
        phases.end.append("timeout" if hung else "http_error" if number % 40 == 5 else "ok")
        phases.began_at.append(began)
        dns, connect, tls, body, first_byte = parts
        columns = {"dns": dns, "connect": connect, "tls": tls, "first_byte": first_byte, "body": 0 if hung else body}
        for column, value in columns.items():
            getattr(phases, column).append(float(value))
        phases.ended_at.append(ended)
        phases.handed_over_at.append(ended + chance.uniform(0.0001, 0.002))
    return phases
