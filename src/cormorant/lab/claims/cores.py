"""Claims about cores: who can use how many of them for jobs that compute instead of waiting.

Cores used = the jobs' CPU time / the time from the first's beginning to the last's end. Only the jobs count, so that
the start of worker processes does not.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cormorant.lab.claims.claim import COROUTINES, Claim, Finding, Values, by_name, without
from cormorant.lab.claims.running import Span, compute, installed, spans

JOBS = 4
JOB_SECONDS = 0.05
MOST_OF_ONE_CORE = 1.2
TRIES = 3  # the best counts: other programs can only take cores away

PROCESS_JOBS_PER_CORE = 4
PROCESS_JOB_SECONDS = 0.2
MOST_PROCESSES = 16
LEAST_OF_ALL_CORES = 0.75
LEAST_SHARE = 0.75  # of a core, while a job ran: with less, others had it

LEAST_PARALLEL = 1.5
SLICES = 10

ONE_CORE_ONLY = "not measured: this machine lets us use one core only"
BUSY = "but other programs kept the jobs from the CPU: run it again alone"

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores_here() -> int:
    """Return how many cores this process may use: of the machine's, those it is bound to, within its CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if _QUOTA.exists():
        quota, period = _QUOTA.read_text().split()
        if quota != "max":
            cores = min(cores, round(int(quota) / int(period)))
    return max(1, cores)


def cores_used(results: Sequence[Span]) -> float:
    """Return the cores that the jobs used together, on average."""
    seconds = max(span.ended for span in results) - min(span.began for span in results)
    return sum(span.cpu_seconds for span in results) / seconds


def share_of_core(results: Sequence[Span]) -> float:
    """Return how much of a core a job had while it was under way; 1 when nobody else wanted it."""
    return sum(span.cpu_seconds for span in results) / sum(span.ended - span.began for span in results)


def best_of(runs: Iterable[list[Span]], enough_cores: float) -> list[Span]:
    """Return the run that used most cores; no further run is begun after one that used enough."""
    best: list[Span] = []
    for results in runs:
        if not best or cores_used(results) > cores_used(best):
            best = results
        if cores_used(best) >= enough_cores:
            break
    return best


def most_at_once(results: Sequence[Span]) -> int:
    """Return how many jobs were between their beginning and their end at one instant, at the most."""
    steps = sorted([(span.began, 1) for span in results] + [(span.ended, -1) for span in results])
    under_way = most = 0
    for _, step in steps:
        under_way += step
        most = max(most, under_way)
    return most


def _one_core() -> Values:
    values: Values = {"cores": cores_here()}
    for engine in installed([*COROUTINES, "thread"]):
        runs = (spans(engine, compute, [JOB_SECONDS] * JOBS) for _ in range(TRIES))
        values[f"{engine}_cores_used"] = cores_used(best_of(runs, LEAST_SHARE))
    return values


def one_core_rule(values: Values) -> Finding:
    """Say whether no coroutine engine used more than one core, as far as this machine can tell."""
    if values["cores"] < 2:
        return Finding(None, ONE_CORE_ONLY)
    used = by_name(values, "_cores_used")
    each = ", ".join(f"{name} {cores:.2f}" for name, cores in used.items())
    coroutines = [cores for name, cores in used.items() if name in COROUTINES]
    figure = f"cores used of {values['cores']:.0f}: {each}" + without(used, COROUTINES)
    if min(coroutines) < LEAST_SHARE:
        return Finding(None, f"{figure}, {BUSY}")
    return Finding(max(coroutines) <= MOST_OF_ONE_CORE, figure)


def _all_cores() -> Values:
    cores = min(cores_here(), MOST_PROCESSES)
    jobs = [PROCESS_JOB_SECONDS] * (PROCESS_JOBS_PER_CORE * cores)
    best = best_of((spans("process", compute, jobs, cores) for _ in range(TRIES)), LEAST_OF_ALL_CORES * cores)
    return {"cores": cores, "process_cores_used": cores_used(best), "share_of_core_per_job": share_of_core(best)}


def all_cores_rule(values: Values) -> Finding:
    """Say whether processes used `LEAST_OF_ALL_CORES`; None when they did not because others had the cores."""
    cores, used = values["cores"], values["process_cores_used"]
    if cores < 2:
        return Finding(None, ONE_CORE_ONLY)
    figure = f"process: {used:.2f} of {cores:.0f} cores used"
    if used < LEAST_OF_ALL_CORES * cores and values["share_of_core_per_job"] < LEAST_SHARE:
        return Finding(None, f"{figure}, {BUSY}")
    return Finding(used >= LEAST_OF_ALL_CORES * cores, figure)


async def compute_awaited(seconds: float) -> Span:
    """Compute in a coroutine that lets the others go on in between."""
    pieces = []
    for _ in range(SLICES):
        pieces.append(compute(seconds / SLICES))
        await asyncio.sleep(0)
    return Span(pieces[0].began, pieces[-1].ended, sum(piece.cpu_seconds for piece in pieces))


def _asyncio_parallel() -> Values:
    results = spans("asyncio", compute_awaited, [JOB_SECONDS] * JOBS)
    return {
        "cores": cores_here(),
        "asyncio_cores_used": cores_used(results),
        "asyncio_under_way_at_once": most_at_once(results),
    }


def asyncio_parallel_rule(values: Values) -> Finding:
    """Say whether asyncio's jobs, all under way at once, used more than one core."""
    if values["cores"] < 2:
        return Finding(None, ONE_CORE_ONLY)
    used, at_once = values["asyncio_cores_used"], values["asyncio_under_way_at_once"]
    figure = f"{JOBS} async functions that compute: {at_once:.0f} under way at once, "
    figure += f"{used:.2f} of {values['cores']:.0f} cores used"
    return Finding(used >= LEAST_PARALLEL and at_once > 1, figure)


ONE_CORE = Claim(
    name="coroutines-one-core",
    says="Coroutines alone use one core.",
    how=f"{JOBS} jobs that compute {JOB_SECONDS * 1e3:.0f} ms each in plain Python, all at once: CPU time / wall time. "
    f"Holds when it is at most {MOST_OF_ONE_CORE} under each coroutine engine; threads stand beside them for "
    f"comparison and do not count. Not measured when one got less than {LEAST_SHARE} of a core in {TRIES} runs.",
    measure=_one_core,
    rule=one_core_rule,
)
ALL_CORES = Claim(
    name="processes-all-cores",
    says="Processes use all cores.",
    how=f"{PROCESS_JOBS_PER_CORE} jobs per core that compute {PROCESS_JOB_SECONDS * 1e3:.0f} ms each, under engine "
    f"process with one worker per core (at most {MOST_PROCESSES}): CPU time / wall time from the first job's "
    f"beginning. Holds when the best of at most {TRIES} runs used at least {LEAST_OF_ALL_CORES:.0%} of the cores; not "
    f"measured when the jobs got less than {LEAST_SHARE} of a core each. Processes of coroutines (a fleet) do not "
    "exist in this version, so they were not measured.",
    measure=_all_cores,
    rule=all_cores_rule,
)
ASYNCIO_PARALLEL = Claim(
    name="asyncio-parallel",
    says="asyncio runs jobs in parallel.",
    how=f"{JOBS} async functions that compute {JOB_SECONDS * 1e3:.0f} ms each in {SLICES} slices, an await between "
    "them, all at once under engine asyncio: how many were between their beginning and their end at one instant, and "
    f"CPU time / wall time. Holds when more than one was under way and at least {LEAST_PARALLEL:g} cores were used. "
    "Their waits do overlap, see one-thread-many-waits.",
    measure=_asyncio_parallel,
    rule=asyncio_parallel_rule,
    source="https://docs.python.org/3/library/asyncio-dev.html, Concurrency and Multithreading: while a task runs in "
    "the event loop, no other task can run in the same thread",
)

CLAIMS = (ONE_CORE, ALL_CORES, ASYNCIO_PARALLEL)
