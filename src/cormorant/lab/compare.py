"""The same work under every engine, measured: trials in fresh processes, one at a time, repeats interleaved.

`compare` is the door, for Python and for the command line. It starts the origin (the embedded site, in a process of its
own), measures what that can give, runs the trials in rounds whose order is shuffled by the seed, and returns a
`Comparison`. It decides nothing about who is better: `report/ranking.py` does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cormorant import engines as rooms
from cormorant.errors import UsageError
from cormorant.lab import machine, meters, site, works
from cormorant.lab.claims import Verdict, judge
from cormorant.lab.comparison import Comparison, Origin, Trial, WorkDone
from cormorant.lab.measures import trial_of
from cormorant.lab.trial import Broken, Plan, Raw, run

CONCURRENCY = (16, 64)
REPEAT = 3
PAGES = 500
CAPACITY_PAGES = 4000

Told = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Contest:
    """One engine at one width."""

    engine: str
    concurrency: int


def compare(
    urls: Iterable[str] | None = None,
    *,
    engines: Sequence[str] | None = None,
    concurrency: int | Sequence[int] | None = None,
    repeat: int = REPEAT,
    pages: int = PAGES,
    seed: int = 1,
    timeout: float | None = None,
    per_host: int | None = None,
    work: str | None = None,
    items: Iterable[Any] | None = None,
    claims: bool = False,
    command: str | None = None,
    told: Told | None = None,
) -> Comparison:
    """Run the same work under `engines` (None: all that are installed) and return what was measured.

    The work is `urls`, or `items` for the function `work` (`MODULE:FUNCTION`, importable in a fresh process), or, with
    neither, the embedded site's mixed list of `pages` pages. `concurrency` may be several; `timeout` is seconds for
    each job; `claims` has the folklore judged as well. `told` hears one line about each trial. A trial that breaks is
    one with an `error`. KeyboardInterrupt ends the trials; what was measured so far is returned.

    Raises UsageError for an engine, function or number that cannot be, MissingPackage without psutil or granian.
    """
    meters.process()  # says what is missing, before anything is started
    chosen, caveats = _chosen(engines)
    widths = (concurrency,) if isinstance(concurrency, int) else tuple(concurrency or CONCURRENCY)
    _at_least_one(repeat=repeat, pages=pages, **{f"concurrency {width}": width for width in widths})
    with contextlib.ExitStack() as stack:
        origin: site.Site | None = None
        if work is not None:
            given = works.of_function(work, items, timeout)
            chosen, left_out = _able(chosen, given)
            caveats += left_out
        elif urls is not None:
            given = works.of_list(urls, timeout, per_host)
        else:
            origin = stack.enter_context(site.running(works.embedded_workload(pages, seed)))
            given = works.of_site(origin, timeout, per_host)
        contests = _contests(chosen, widths)
        facts = _capacity(origin) if origin is not None else Origin(name=given.origin, is_ours=False)
        trials = sorted(_trials(contests, given, repeat, seed, origin, told or _silent), key=_in_order)
    stopped = len(trials) < len(contests) * repeat
    verdicts, cut_short = _judged(told or _silent) if claims and not stopped else ([], False)
    return Comparison(
        measured_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command or f"cormorant.compare(…) in {sys.argv[0] or 'python'}",
        machine=machine.here(),
        versions=machine.versions(),
        work=given.done,
        origin=facts,
        stopped=stopped or cut_short,
        caveats=[*caveats, *caveats_of(trials, facts, given.done)],
        trials=trials,
        claims=verdicts,
    )


def _judged(told: Told) -> tuple[list[Verdict], bool]:
    """Return the verdicts on the folklore, and whether Ctrl-C kept the rest from being judged."""
    verdicts: list[Verdict] = []

    def heard(verdict: Verdict) -> None:
        verdicts.append(verdict)
        told(f"claim {len(verdicts)}: {verdict.claim}")

    try:
        judge(told=heard)
    except KeyboardInterrupt:
        told("stopped; the claims judged so far are kept")
        return verdicts, True
    return verdicts, False


def _in_order(trial: Trial) -> tuple[int, int, int]:
    """Sort trials as engines are listed; they ran in another order."""
    return rooms.names().index(trial.engine), trial.concurrency, trial.repeat


def _silent(_line: str) -> None:
    """Tell nobody."""


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise UsageError(f"{name} is {number}; give 1 or more")


def _chosen(engines: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return the engines to try and what to say of those that are not here."""
    if engines is not None:
        return [rooms.require(name).name for name in dict.fromkeys(engines)], []
    lines = {name: rooms.missing(name) for name in rooms.names()}
    caveats = [f"{name} is not installed and was left out: {line}" for name, line in lines.items() if line]
    return [name for name, line in lines.items() if line is None], caveats


def _contests(engines: Sequence[str], widths: Sequence[int]) -> list[Contest]:
    """Return who competes; an engine that has one job at once does so once."""
    found = (Contest(name, min(width, rooms.facts(name).most_at_once or width)) for width in widths for name in engines)
    return list(dict.fromkeys(found))


def _able(engines: Sequence[str], given: works.Work) -> tuple[list[str], list[str]]:
    """Return the engines that can run the work, and what to say of the others."""
    if not given.is_async:
        return list(engines), []
    left_out = [name for name in engines if name != "asyncio"]
    if "asyncio" not in engines:
        raise UsageError(f"{given.function} is an async function: engine 'asyncio' alone runs it")
    return ["asyncio"], [
        f"{', '.join(left_out)} left out: an async function runs under asyncio only"
    ] if left_out else []


# --- the trials ---


def _trials(
    contests: Sequence[Contest], given: works.Work, repeat: int, seed: int, origin: site.Site | None, told: Told
) -> Iterator[Trial]:
    """Run every contest once in each round, in an order of its own, one at a time."""
    order, began, done = random.Random(seed), time.monotonic(), 0
    try:
        for number in range(1, repeat + 1):
            for contest in order.sample(contests, len(contests)):
                told(_progress(contest, number, repeat, done, len(contests) * repeat, time.monotonic() - began))
                yield _trial(contest, given, number, origin)
                done += 1
    except KeyboardInterrupt:
        told(f"stopped after {done} of {len(contests) * repeat} trials; what was measured is kept")


def _progress(contest: Contest, number: int, repeat: int, done: int, of: int, seconds: float) -> str:
    left = f", about {seconds / done * (of - done):.0f} s left" if done else ""
    return (
        f"trial {done + 1} of {of}: {contest.engine}, {contest.concurrency} at once, round {number} of {repeat}{left}"
    )


def _trial(contest: Contest, given: works.Work, number: int, origin: site.Site | None) -> Trial:
    plan = Plan(
        engine=contest.engine,
        concurrency=contest.concurrency,
        jobs=given.jobs,
        warm_up=given.warm_up,
        timeout_seconds=given.done.timeout_seconds,
        per_host=given.done.per_host,
        work=given.function,
    )
    try:
        raw, sampler, cores = _beside(plan, origin)
    except Broken as broken:
        return Trial(engine=contest.engine, concurrency=contest.concurrency, repeat=number, error=str(broken))
    return trial_of(
        raw,
        sampler.peak(raw.began, raw.ended, raw.after),
        engine=contest.engine,
        repeat=number,
        timeout_seconds=given.done.timeout_seconds,
        keep_phases=number == 1,
        cores=cores,
    )


def _beside(plan: Plan, origin: site.Site | None) -> tuple[Raw, meters.Sampler, float | None]:
    """Run a trial and see how much of a core our origin used in its measured part."""
    if origin is None:
        return *run(plan), None
    with meters.CpuOf(origin.pid) as used:
        raw, sampler = run(plan)
    return raw, sampler, used.cores_between(raw.began, raw.ended)


def _capacity(origin: site.Site) -> Origin:
    """Measure what the origin gives when nothing is late: the fastest engine on plain pages, in a fresh process."""
    jobs = [f"http://127.0.0.1:{origin.port}/bytes/10240?{number}" for number in range(CAPACITY_PAGES)]
    plan = Plan(engine="greenlet", concurrency=64, jobs=jobs, warm_up=jobs[:100], timeout_seconds=30.0, per_host=0)
    before = meters.cpu_seconds_of(origin.pid)
    raw, _ = run(plan)
    cpu = meters.cpu_seconds_of(origin.pid) - before
    return Origin(
        name="the embedded site (granian) on loopback",
        is_ours=True,
        capacity_pages_per_second=len(jobs) / (raw.ended - raw.began),
        cpu_seconds_per_page=cpu / (len(jobs) + len(plan.warm_up)),
    )


# --- what must be said of them ---


def caveats_of(trials: Sequence[Trial], origin: Origin, work: WorkDone) -> list[str]:
    """Return what a reader must know before the figures."""
    found = [*_differences(trials), *_errors(trials), *_about(trials, origin, work)]
    if origin.is_ours:
        found.append("The origin is on the same machine and takes its share of the cores; loopback has no distance.")
    else:
        found.append("The origin is not ours: its speed, its limits and the network between are in every figure.")
    return found


def _differences(trials: Sequence[Trial]) -> list[str]:
    """Say when engines came to other ends over the same work."""
    ends = {(trial.ok, trial.http_errors, *sorted(trial.failed.items())) for trial in trials if trial.error is None}
    if len(ends) < 2:
        return []
    told = "; ".join(sorted({_ends(trial) for trial in trials if trial.error is None}))
    return [f"The engines did not come to the same ends: {told}."]


def _ends(trial: Trial) -> str:
    failed = "".join(f", {count} {kind}" for kind, count in sorted(trial.failed.items()))
    return f"{trial.engine} at {trial.concurrency}: {trial.ok} ok, {trial.http_errors} http errors{failed}"


def _errors(trials: Sequence[Trial]) -> list[str]:
    broken = [trial for trial in trials if trial.error is not None]
    return [f"{trial.engine} at {trial.concurrency}, repeat {trial.repeat}, broke: {trial.error}" for trial in broken]


def _about(trials: Sequence[Trial], origin: Origin, work: WorkDone) -> Iterator[str]:
    if any(trial.loop == "uvloop" for trial in trials):
        yield "uvloop does not tell of its rounds: rounds and ready descriptors are not measured for asyncio."
    if len({trial.repeat for trial in trials}) < 2:
        yield "One repeat only: no spread is known, and no place in the ranking is sure."
    if work.per_host and not origin.is_ours:
        yield f"At most {work.per_host} at once to one host: with few hosts the list sets the speed, not the engine."
