"""The claim about memory: what a job costs that only waits, before it has a connection, a buffer or a page.

What is measured stays alive until the end, so that nothing measured later gets the memory of something freed.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cormorant.engines import children
from cormorant.errors import MissingPackage
from cormorant.lab.claims.claim import COROUTINES, Claim, Finding, Values, by_name, without

COUNTS = {"greenlet": 10_000, "gevent": 10_000, "asyncio": 10_000, "thread": 500}
PROCESSES = 6
MOST_BYTES_OF_COROUTINE = 100 * 1024
LEAST_BYTES_OF_PROCESS = 1024 * 1024

_alive: list[Any] = []


def resident_bytes(pid: int) -> int:
    """Return the memory of a process: PSS where the kernel tells it (a shared page counts by its share), else RSS."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    if rollup.exists():
        lines = rollup.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    if importlib.util.find_spec("psutil") is None:
        raise MissingPackage("memory is not told here without psutil: pip install 'cormorant[lab]'")
    return int(importlib.import_module("psutil").Process(pid).memory_info().rss)


def _greenlets(count: int) -> None:
    import greenlet

    here = greenlet.getcurrent()
    jobs = [greenlet.greenlet(here.switch) for _ in range(count)]
    _alive.append(jobs)
    for job in jobs:
        job.switch()


def _gevent_greenlets(count: int) -> None:
    import gevent
    import gevent.event

    news = gevent.event.Event()
    _alive.append([gevent.spawn(news.wait) for _ in range(count)])
    gevent.sleep(0)


def _tasks(count: int) -> None:
    loop = asyncio.SelectorEventLoop()

    async def begin() -> None:
        news = asyncio.Event()
        _alive.append((loop, [asyncio.create_task(news.wait()) for _ in range(count)]))
        await asyncio.sleep(0)

    loop.run_until_complete(begin())


def _threads(count: int) -> None:
    news, began = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        began.release()
        news.wait()

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(count)]
    _alive.append(threads)
    for thread in threads:
        thread.start()
    for _ in threads:
        began.acquire()


def _bytes_each(begin: Callable[[int], None], count: int) -> float:
    begin(1)  # so that modules, loops and hubs are there before
    before = resident_bytes(os.getpid())
    begin(count)
    return (resident_bytes(os.getpid()) - before) / count


def wait_in_process(line: Connection) -> None:
    """Say that this process is there, and wait."""
    line.send(None)
    try:
        line.recv()
    except EOFError:
        pass


def _bytes_of_process() -> float:
    context: Any = children.context()
    begun = []
    for _ in range(PROCESSES):
        ours, theirs = context.Pipe()
        process = context.Process(target=wait_in_process, args=(theirs,), daemon=True)
        process.start()
        begun.append((process, ours))
    try:
        for _, line in begun:
            line.recv()
        return sum(resident_bytes(process.pid) for process, _ in begun) / len(begun)
    finally:
        for process, line in begun:
            line.send(None)
            process.join()


def _measure() -> Values:
    values: Values = {"process_bytes": _bytes_of_process()}
    kinds = {"greenlet": _greenlets, "gevent": _gevent_greenlets, "asyncio": _tasks, "thread": _threads}
    for name, begin in kinds.items():
        if importlib.util.find_spec(name) is not None or name == "thread":
            values[f"{name}_bytes"] = _bytes_each(begin, COUNTS[name])
    return values


def rule(values: Values) -> Finding:
    """Say whether coroutines cost kilobytes, a thread more than each of them, a process megabytes."""
    sizes = by_name(values, "_bytes")
    coroutines = {name: size for name, size in sizes.items() if name in COROUTINES}
    kilobytes = ", ".join(f"{name} {size / 1024:.1f} KiB" for name, size in [*coroutines.items(), *_one(sizes)])
    dearest = max(coroutines.values())
    holds = (
        dearest <= MOST_BYTES_OF_COROUTINE and sizes["thread"] > dearest and sizes["process"] >= LEAST_BYTES_OF_PROCESS
    )
    figure = f"one waiting job: {kilobytes}, process {sizes['process'] / 1024**2:.1f} MiB"
    return Finding(holds, figure + without(sizes, COROUTINES))


def _one(sizes: Values) -> list[tuple[str, float]]:
    return [("thread", sizes["thread"])]


MEMORY = Claim(
    name="memory-per-wait",
    says="A waiting coroutine costs kilobytes, a thread more, a process megabytes.",
    how=f"Growth of this process's {'PSS' if sys.platform == 'linux' else 'RSS'} by {COUNTS['greenlet']:,} waiting "
    f"greenlets, gevent greenlets and asyncio tasks and by {COUNTS['thread']} waiting threads, and the mean of "
    f"{PROCESSES} waiting worker processes started as the engines start theirs; bare jobs, without a connection. Holds "
    f"when each coroutine takes at most {MOST_BYTES_OF_COROUTINE // 1024} KiB, a thread more than each of them, a "
    f"process at least {LEAST_BYTES_OF_PROCESS // 1024**2} MiB.",
    measure=_measure,
    rule=rule,
)

CLAIMS = (MEMORY,)
