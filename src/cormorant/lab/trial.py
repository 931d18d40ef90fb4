"""One trial: one engine over the whole work once, in a fresh process, beside a sampler in the process that asked.

Theory of operation. `run` (in the parent) starts `python -m cormorant.lab.trial`, writes a `Plan` to its stdin and
samples its process tree meanwhile. The child makes a cold start of one job, a warm-up that is dropped, and the measured
run, in which an observer notes the instants of every job. At the end it answers with one line of JSON, the `Raw` trial;
`measures.py` makes a `comparison.Trial` of that and of the samples.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import pkgutil
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from cormorant.errors import CormorantError
from cormorant.lab import fresh, meters
from cormorant.lab.observing import JobTimes
from cormorant.messages import Failure, Page, Request, Result
from cormorant.options import Options

NO_PHASES = (0.0, 0.0, 0.0, 0.0, 0.0)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial is to do. `jobs` are URLs, or with `work` (`MODULE:FUNCTION`) the items it is called with.

    `warm_up` are jobs that are run before, and dropped; the first of them is the cold start.
    """

    engine: str
    concurrency: int | None
    jobs: list[Any]
    warm_up: list[Any]
    timeout_seconds: float
    per_host: int
    work: str | None = None
    deadline_seconds: float = 600.0

    def options(self) -> Options:
        """Return the options of the run."""
        words: dict[str, Any] = {} if self.work else {"per_host": self.per_host, "keep_duplicates": True}
        return Options(engine=self.engine, concurrency=self.concurrency, timeout=self.timeout_seconds, **words)


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One outcome: how it ended and its instants, seconds from the start of the run; None where there were none.

    `released_at`, `began_at`, `ended_at` and `phases` (dns, connect, TLS, first byte, body) are those of the last hop.
    A line that is no URL was never released; a job that was ended from outside told nobody when it began.
    """

    name: str
    end: str
    released_at: float | None
    began_at: float | None
    ended_at: float | None
    handed_over_at: float
    phases: tuple[float, float, float, float, float]
    own_seconds: float


class Raw(msgspec.Struct, frozen=True, kw_only=True):
    """What the child found. Instants `began` and `ended` are monotonic, the machine's."""

    width: int
    loop: str | None
    startup_seconds: float
    began: float
    ended: float
    usage: meters.Usage
    before: meters.Sample
    after: meters.Sample
    rows: list[Row]
    most_in_flight: int
    loop_rounds: int | None = None
    ready: int | None = None


class Broken(CormorantError):
    """A trial that gave no figures: it says why."""


# --- in the process that asks ---


def run(plan: Plan) -> tuple[Raw, meters.Sampler]:
    """Run a trial to its end in a fresh process. Raises Broken when it cannot be, or lasts too long."""
    with fresh.running("cormorant.lab.trial", stdin=subprocess.PIPE) as child:
        sampler = meters.Sampler(child.pid)
        try:
            out, err = child.communicate(msgspec.json.encode(plan), timeout=plan.deadline_seconds)
        except subprocess.TimeoutExpired:
            raise Broken(f"not over after {plan.deadline_seconds:g} s") from None
        finally:
            sampler.close()
    if child.returncode:
        said = err.decode(errors="replace").strip().splitlines()
        raise Broken(said[-1] if said else f"ended with exit code {child.returncode}")
    try:
        return msgspec.json.decode(out, type=Raw), sampler
    except msgspec.MsgspecError:
        raise Broken("ended with exit code 0 before it was over; did the function end the process?") from None


# --- in the fresh process ---


class _Rounds:
    """Counts the rounds of a loop (implements `interfaces.Rounds`)."""

    def __init__(self) -> None:
        self.count = self.ready = 0

    def waited(self, began: float, ended: float, ready: int) -> None:
        self.count += 1
        self.ready += ready


def main() -> None:
    """Read a plan from stdin, write what was found to stdout."""
    found = os.dup(1)
    os.dup2(2, 1)  # what the user's function prints is not the answer
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    try:
        raw = measure(plan)
    except CormorantError as error:
        sys.exit(str(error))
    with open(found, "wb") as answer:
        answer.write(msgspec.json.encode(raw))


def measure(plan: Plan) -> Raw:
    """Make the cold start, the warm-up and the measured run in this process."""
    if plan.work and plan.engine == "gevent":
        from gevent import monkey

        monkey.patch_all()
    began = time.monotonic()
    _run(plan, plan.warm_up[:1])
    startup = time.monotonic() - began
    _run(plan, plan.warm_up[1:])
    return _measured(plan, startup)


def _run(plan: Plan, jobs: list[Any]) -> None:
    for _ in _worker(plan, jobs).run():
        pass


def _worker(plan: Plan, jobs: list[Any]) -> Any:
    from cormorant import opening

    if plan.work is None:
        return opening.open_fetch(list(zip(jobs, range(len(jobs)), strict=True)), plan.options())
    return opening.open_map(pkgutil.resolve_name(plan.work), jobs, plan.options())


def _measured(plan: Plan, startup: float) -> Raw:
    """Make the measured run. Until its last outcome is in hand only instants are noted."""
    loop = _loop(plan.engine)
    rounds = None if loop in (None, "uvloop") else _Rounds()  # uvloop tells nobody, and shall not be replaced
    times = JobTimes(rounds)
    worker = _worker(plan, plan.jobs).observe(times)
    gc.collect()
    notes: list[_Note] = []
    before, used = meters.sample(os.getpid()), meters.usage()
    began = time.monotonic()
    for outcome in worker.run():
        notes.append(_note(outcome))
        if len(notes) == len(plan.jobs):  # while the workers are still there
            ended, using, after = time.monotonic(), meters.usage(), meters.sample(os.getpid())
    if len(notes) != len(plan.jobs):
        raise Broken(f"{len(notes)} outcomes for {len(plan.jobs)} jobs")
    return Raw(
        width=worker.width,
        loop=loop,
        startup_seconds=startup,
        began=began,
        ended=ended,
        usage=using.since(used),
        before=before,
        after=after,
        rows=list(_rows(notes, times, began)),
        most_in_flight=times.most_at_once(),
        loop_rounds=rounds.count if rounds else None,
        ready=rounds.ready if rounds else None,
    )


def _loop(engine: str) -> str | None:
    """Name the loop that an engine waits in, if it has one."""
    if engine == "asyncio":
        return "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"
    if engine == "gevent":
        return "libev"
    if engine == "greenlet":
        return "epoll" if hasattr(select, "epoll") else "kqueue"
    return None


class _Note(NamedTuple):
    """What is kept of an outcome while the run goes on: not its body."""

    at: float
    key: int | None
    name: str
    end: str
    phases: tuple[float, float, float, float, float]
    own_seconds: float


def _note(outcome: Page | Failure | Result) -> _Note:
    at = time.monotonic()
    if isinstance(outcome, Result):
        return _Note(at, outcome.index, str(outcome.item), _end_of(outcome), NO_PHASES, outcome.seconds)
    taken = outcome.timings
    phases = (taken.dns, taken.connect, taken.tls, taken.first_byte, taken.body)
    return _Note(at, outcome.line, outcome.url, _end_of(outcome), phases, taken.total)


def _rows(notes: list[_Note], times: JobTimes, began: float) -> Iterator[Row]:
    last = {_key(job.argument, ticket): job for ticket, job in times.jobs.items()}
    for note in notes:
        job = last.get(note.key)
        span = job.span if job else None
        yield Row(
            name=note.name,
            end=note.end,
            released_at=job.released_at - began if job else None,
            began_at=span.began_at - began if span else None,
            ended_at=span.ended_at - began if span else None,
            handed_over_at=note.at - began,
            phases=note.phases,
            own_seconds=note.own_seconds,
        )


def _key(argument: Any, ticket: int) -> int | None:
    """Return what an outcome is known by: its line, which the hops of a redirect share, or its index."""
    return argument.line if isinstance(argument, Request) else ticket


def _end_of(outcome: Page | Failure | Result) -> str:
    if outcome.ok:
        return "ok"
    return str(outcome.kind) if outcome.kind is not None else "http_error"


if __name__ == "__main__":
    main()
