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
from cormorant.lab import machine, meters, origins, site, works
from cormorant.lab.caveats import caveats_of
from cormorant.lab.claims import Verdict, judge
from cormorant.lab.comparison import Comparison, Origin, Trial
from cormorant.lab.measures import trial_of
from cormorant.lab.trial import Broken, Plan
from cormorant.options import Options

CONCURRENCY = (16, 64)
REPEAT = 3
PAGES = 500

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
    one with an `error`. KeyboardInterrupt ends the trials; what was measured so far is returned, and when nothing was,
    it is raised.

    Raises UsageError for an engine, function, item or number that cannot be, MissingPackage without psutil or granian.
    """
    meters.process()  # says what is missing, before anything is started
    works.refuse_mixed(urls, work, items)
    chosen, caveats = _chosen(engines)
    widths = _widths(concurrency)
    _at_least_one(repeat=repeat, pages=pages, **{f"concurrency {width}": width for width in widths})
    _refuse_limits(timeout, per_host)
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
        contests, lowered = _contests(chosen, widths, given.done.jobs)
        facts = origins.measured(origin) if origin is not None else Origin(name=given.origin, is_ours=False)
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
        caveats=[*caveats, *lowered, *caveats_of(trials, facts, given.done)],
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


def _widths(concurrency: int | Sequence[int] | None) -> tuple[int, ...]:
    if concurrency is None:
        return CONCURRENCY
    widths = (concurrency,) if isinstance(concurrency, int) else tuple(concurrency)
    if not widths or not all(isinstance(width, int) for width in widths):
        raise UsageError(f"concurrency is {concurrency!r}; give a whole number or several: concurrency=[50, 500]")
    return widths


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise UsageError(f"{name} is {number}; give 1 or more")


def _refuse_limits(timeout: float | None, per_host: int | None) -> None:
    """Raise UsageError for limits that no trial could be run with."""
    given = {"timeout": timeout, "per_host": per_host}
    Options.of({name: value for name, value in given.items() if value is not None})


def _chosen(engines: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return the engines to try and what to say of those that are not here."""
    if isinstance(engines, str):
        raise UsageError(f"engines is one string; give a list: engines=[{engines!r}]")
    if engines is not None:
        if not engines:
            raise UsageError(f"no engine to compare; name some of {', '.join(rooms.names())}, or none for all")
        return [rooms.require(name).name for name in dict.fromkeys(engines)], []
    lines = {name: rooms.missing(name) for name in rooms.names()}
    caveats = [f"{name} is not installed and was left out: {line}" for name, line in lines.items() if line]
    return [name for name, line in lines.items() if line is None], caveats


def _contests(engines: Sequence[str], widths: Sequence[int], jobs: int) -> tuple[list[Contest], list[str]]:
    """Return who competes, each once at a width it really has, and what to say of widths that were lowered."""
    found: list[Contest] = []
    lowered: dict[tuple[int, int], list[str]] = {}
    for width in widths:
        for name in engines:
            asked = min(width, rooms.facts(name).most_at_once or width)
            real = min(rooms.width(name, asked), jobs)
            found.append(Contest(name, real))
            if real < asked:
                lowered.setdefault((asked, real), []).append(name)
    said = [
        f"{', '.join(names)}: {asked} at once became {real}, because "
        + (f"there are only {jobs} jobs." if real == jobs else "this process may open no more files (`ulimit -n`).")
        for (asked, real), names in lowered.items()
    ]
    return list(dict.fromkeys(found)), said


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
        if not done:
            raise
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
        raw, sampler, cores = origins.beside(plan, origin)
    except Broken as broken:
        return Trial(engine=contest.engine, concurrency=contest.concurrency, repeat=number, error=str(broken))
    return trial_of(
        raw,
        sampler.peak(raw.began, raw.ended, raw.after),
        engine=contest.engine,
        repeat=number,
        keep_phases=number == 1,
        cores=cores,
    )
