"""What a trial costs the machine: the whole process tree, its CPU, context switches, memory, threads and descriptors.

Two ways, so that measuring disturbs little: `usage` is asked twice by the measured process itself, just before and just
after the run; `Sampler` looks at the tree from the process beside, as often as a twentieth of one core allows.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cormorant.errors import MissingPackage

INSTALL = "measuring a process tree needs psutil: pip install 'cormorant[lab]'"
LEAST_PERIOD_SECONDS = 0.05
CPU_PERIOD_SECONDS = 0.02
LEAST_STRETCH_SECONDS = 0.1  # below it the ticks of a scheduler, and a burst of one round, are all one sees
COST_SHARE = 20  # a sample may cost one part in so many of the time between two


class Usage(NamedTuple):
    """CPU seconds and context switches of a process tree since each process began."""

    user_seconds: float
    system_seconds: float
    voluntary: int
    involuntary: int

    def since(self, before: Usage) -> Usage:
        """Return what was used between two instants. A process that was reaped meanwhile is in its parent's account."""
        return Usage(*(max(0, after - first) for after, first in zip(self, before, strict=True)))  # type: ignore[arg-type]


class Sample(NamedTuple):
    """The tree at one instant; `pss_bytes` is None where the system does not know it (it is Linux's)."""

    at: float
    rss_bytes: int
    pss_bytes: int | None
    threads: int
    processes: int
    descriptors: int


def process(pid: int | None = None) -> Any:
    """Return psutil's process. Raises MissingPackage."""
    try:
        import psutil
    except ImportError:
        raise MissingPackage(INSTALL) from None
    return psutil.Process(pid)


def usage() -> Usage:
    """Return what this process and its descendants have used.

    Of this process the kernel knows all threads, also those that ended. Of the others: CPU with that of the children
    they have reaped; context switches of the threads that are alive.
    """
    own = resource.getrusage(resource.RUSAGE_SELF)
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = own.ru_utime + reaped.ru_utime, own.ru_stime + reaped.ru_stime
    voluntary, involuntary = own.ru_nvcsw + reaped.ru_nvcsw, own.ru_nivcsw + reaped.ru_nivcsw
    for child in process().children(recursive=True):
        with _gone_is_gone():
            times = child.cpu_times()
            user += times.user + getattr(times, "children_user", 0.0)
            system += times.system + getattr(times, "children_system", 0.0)
            switches = _switches(child)
            voluntary, involuntary = voluntary + switches[0], involuntary + switches[1]
    return Usage(user, system, voluntary, involuntary)


def _switches(child: Any) -> tuple[int, int]:
    """Sum over the threads where the system tells of each (Linux); elsewhere what psutil knows."""
    tasks = Path(f"/proc/{child.pid}/task")
    if not tasks.is_dir():
        counts = child.num_ctx_switches()
        return counts.voluntary, counts.involuntary
    voluntary = involuntary = 0
    for status in tasks.glob("*/status"):
        with contextlib.suppress(OSError):
            for line in status.read_text().splitlines()[-2:]:
                name, _, count = line.partition(":")
                if name == "voluntary_ctxt_switches":
                    voluntary += int(count)
                elif name == "nonvoluntary_ctxt_switches":
                    involuntary += int(count)
    return voluntary, involuntary


@contextlib.contextmanager
def _gone_is_gone() -> Iterator[None]:
    """Let a process end while it is looked at."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        yield


def sample(pid: int) -> Sample:
    """Look at a process and its descendants once."""
    rss = pss = threads = processes = descriptors = 0
    knows_pss = Path("/proc/self/smaps_rollup").exists()
    measured = process(pid)
    with _gone_is_gone():
        for each in (measured, *measured.children(recursive=True)):
            with _gone_is_gone(), each.oneshot():
                rss += each.memory_info().rss
                threads += each.num_threads()
                processes += 1
                descriptors += each.num_fds()
                pss += _pss(each.pid) if knows_pss else 0
    return Sample(time.monotonic(), rss, pss if knows_pss else None, threads, processes, descriptors)


def _pss(pid: int) -> int:
    """Return the proportional share: what processes share is divided among them (smaps_rollup: a sum by the kernel)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


class Sampler:
    """Samples a process tree from a thread of this process until `close`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.samples: list[Sample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            with _gone_is_gone():
                self.samples.append(sample(self._pid))
            cost = time.monotonic() - began
            self._ended.wait(max(LEAST_PERIOD_SECONDS, COST_SHARE * cost))

    def close(self) -> None:
        """End the sampling."""
        self._ended.set()
        self._thread.join()

    def peak(self, began: float, ended: float, last: Sample) -> Sample:
        """Return the highest of each figure between two instants; `last` is what the process itself saw at its end."""
        seen = [last, *(each for each in self.samples if began <= each.at <= ended)]
        pss = [each.pss_bytes for each in seen if each.pss_bytes is not None]
        return Sample(
            at=ended,
            rss_bytes=max(each.rss_bytes for each in seen),
            pss_bytes=max(pss) if pss else None,
            threads=max(each.threads for each in seen),
            processes=max(each.processes for each in seen),
            descriptors=max(each.descriptors for each in seen),
        )


class CpuOf:
    """Notes the CPU time of one other process while a block lasts, so that its share between two instants is known."""

    def __init__(self, pid: int) -> None:
        self._clock = _cpu_clock(pid)
        self._seen: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> CpuOf:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with _gone_is_gone():
                self._seen.append((time.monotonic(), self._clock()))
            if self._ended.wait(CPU_PERIOD_SECONDS):
                return

    def busiest(self, began: float, ended: float) -> float | None:
        """Return the most cores it used within a stretch between two instants; None when too little was seen.

        The stretch is a quarter of the time, `LEAST_STRETCH_SECONDS` at the least: so neither a moment nor a long idle
        end decides.
        """
        seen = [each for each in self._seen if began - CPU_PERIOD_SECONDS <= each[0] <= ended + CPU_PERIOD_SECONDS]
        return busiest(seen, max(LEAST_STRETCH_SECONDS, (ended - began) / 4))

    def seconds(self) -> float:
        """Return the CPU seconds from the first look to the last."""
        return self._seen[-1][1] - self._seen[0][1] if self._seen else 0.0


def busiest(seen: Sequence[tuple[float, float]], stretch: float) -> float | None:
    """Return the highest rate over any `stretch` seconds of (instant, CPU seconds); over all when they are fewer."""
    if len(seen) < 2:
        return None
    highest, end = None, 0
    for at, used in seen:
        while end < len(seen) and seen[end][0] - at < stretch:
            end += 1
        if end == len(seen):
            break
        rate = (seen[end][1] - used) / (seen[end][0] - at)
        highest = rate if highest is None else max(highest, rate)
    (first, before), (last, after) = seen[0], seen[-1]
    return (after - before) / (last - first) if highest is None else highest


def _cpu_clock(pid: int) -> Callable[[], float]:
    """Return what tells the CPU seconds of a process, children left out: on Linux to the nanosecond."""
    if sys.platform == "linux":
        clock = (~pid << 3) | 2  # as clock_getcpuclockid(3) makes it: linux/posix-timers.h, MAKE_PROCESS_CPUCLOCK
        return lambda: time.clock_gettime(clock)
    measured = process(pid)
    return lambda: sum(measured.cpu_times()[:2])


def cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
