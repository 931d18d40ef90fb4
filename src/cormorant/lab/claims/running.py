"""The jobs that the claims run under the product's own engines, and the pages that these wait for.

Jobs are functions of modules, because two of the engines send them to other processes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cormorant
from cormorant import engines
from cormorant.errors import CormorantError
from cormorant.messages import Result

_OWN_THREADS = Path("/proc/self/task")


class Span(NamedTuple):
    """One job: when it began and ended (`time.monotonic`, the same in all processes) and its own CPU time."""

    began: float
    ended: float
    cpu_seconds: float


def installed(names: Iterable[str]) -> list[str]:
    """Return those engines that this installation has."""
    return [name for name in names if engines.missing(name) is None]


def run(engine: str, job: Callable[[Any], Any], items: Sequence[Any], concurrency: int | None = None) -> list[Result]:
    """Run `job` over `items`, all at once unless told otherwise; returns the results as they were handed over.

    Raises CormorantError when a job failed: its figures would be of something else.
    """
    results = list(cormorant.map(job, items, engine=engine, concurrency=concurrency or len(items)))
    for result in results:
        if not result.ok:
            raise CormorantError(f"a job under engine {engine!r} failed: {result.message}")
    return results


def spans(engine: str, job: Callable[[Any], Any], items: Sequence[Any], concurrency: int | None = None) -> list[Span]:
    """Run `job` over `items` and return its spans as they were handed over."""
    return [result.value for result in run(engine, job, items, concurrency)]


def wait_for_page(url: str) -> Span:
    """Wait for one page in the way of the running engine."""
    began, cpu = time.monotonic(), time.thread_time()
    cormorant.get(url)
    return Span(began, time.monotonic(), time.thread_time() - cpu)


def compute(seconds: float) -> Span:
    """Use the CPU for that long in plain Python, without a wait."""
    began, cpu = time.monotonic(), time.thread_time()
    while time.thread_time() - cpu < seconds:
        pass
    return Span(began, time.monotonic(), time.thread_time() - cpu)


def page_and_threads(url: str) -> int:
    """Wait for one page; return how many threads this process has then, those of libraries included."""
    cormorant.get(url)
    return threads_now()


def threads_now() -> int:
    """Count the threads of this process: the kernel's where it tells, else those Python knows of."""
    return len(os.listdir(_OWN_THREADS)) if _OWN_THREADS.exists() else threading.active_count()
