"""The trace as Chrome's trace-event JSON, which https://ui.perfetto.dev and chrome://tracing open.

Format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format). Tracks:
each real thread (of this process and of workers) with the job that had it, the loop with its waits, and each job with
its whole life. Slices of one track contain each other or do not meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from cormorant.lab.trace.events import Event, Job, Trace, What
from cormorant.lab.trace.slices import QUEUED, WIRE, runs, slices, whole

# Track numbers of ours lie above every thread number the kernel gives (at most 2**22).
LOOP_TRACK = 10_000_000
JOB_TRACK = LOOP_TRACK + 1

_INSTANTS = {
    What.WANTED,
    What.TIMER,
    What.READY,
    What.EXPIRED,
    What.DELIVERED,
    What.CANCELLED,
    What.HANDED_OVER,
    What.SWITCH,
}
_PLAIN = ("descriptor", "ready", "context_switches", "detail", "heard_from")

Record = dict[str, Any]


def chrome(trace: Trace) -> bytes:
    """Return the file's content."""
    records = [*_names(trace), *_jobs(trace), *_phases(trace), *_threads(trace), *_loop(trace), *_instants(trace)]
    document = {
        "traceEvents": [*records, *_arrows(trace)],
        "displayTimeUnit": "ms",
        "otherData": {"format": trace.format, **trace.machine, **{key: str(v) for key, v in trace.options.items()}},
    }
    return msgspec.json.encode(document)


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 3)


def _complete(name: str, start: float, end: float, pid: int, tid: int, **args: Any) -> Record:
    ts = _us(start)
    duration = round(_us(end) - ts, 3)  # of the rounded ends: rounding must not make slices overlap
    return {"ph": "X", "name": name, "ts": ts, "dur": duration, "pid": pid, "tid": tid, "args": args}


def _jobs(trace: Trace) -> Iterator[Record]:
    about = {job.job: job for job in trace.jobs}
    for piece in whole(trace):
        job = about[piece.job]
        yield _complete(
            f"job {piece.job}",
            piece.start,
            piece.end,
            trace.pid,
            JOB_TRACK + piece.job,
            url=job.target,
            came_to=job.end,
        )
    for piece in slices(trace):
        if piece.state in (QUEUED, WIRE):
            yield _complete(piece.state, piece.start, piece.end, trace.pid, JOB_TRACK + piece.job)


def _phases(trace: Trace) -> Iterator[Record]:
    """Yield libcurl's phases, cut where the hop ended: its clock and ours differ by microseconds."""
    hops = {piece.job: piece for piece in slices(trace) if piece.state == WIRE}
    laid_until = {number: hop.start for number, hop in hops.items()}
    for event in trace.events:
        if event.what is What.PHASE and event.job in hops:
            start = max(laid_until[event.job], event.at - (event.seconds or 0.0))
            end = min(event.at, hops[event.job].end)
            if start < end:
                laid_until[event.job] = end
                track = JOB_TRACK + event.job
                yield _complete(event.detail, start, end, trace.pid, track, heard_from=event.heard_from)


def _threads(trace: Trace) -> Iterator[Record]:
    on_the_wire = {piece.job: piece for piece in slices(trace) if piece.state == WIRE}
    blocked = {event.job for event in trace.events if event.what is What.ENTERED}
    for piece in runs(trace):
        yield _complete(f"job {piece.job}", piece.start, piece.end, piece.pid, piece.thread)
        if piece.job in blocked:
            wait = on_the_wire[piece.job]
            yield _complete("blocked in libcurl", wait.start, wait.end, wait.pid, wait.thread)


def _loop(trace: Trace) -> Iterator[Record]:
    for event in trace.events:
        if event.what is What.WAITED and event.seconds is not None:
            args = {"ready": event.ready, "heard_from": event.heard_from}
            yield _complete("wait", event.at - event.seconds, event.at, trace.pid, LOOP_TRACK, **args)


def _instants(trace: Trace) -> Iterator[Record]:
    for event in trace.events:
        if event.what in _INSTANTS:
            track = LOOP_TRACK if event.job is None else JOB_TRACK + event.job
            yield _mark(event, trace.pid, track)


def _mark(event: Event, pid: int, tid: int) -> Record:
    args = {name: getattr(event, name) for name in _PLAIN if getattr(event, name) not in (None, "")}
    return {"ph": "i", "s": "t", "name": str(event.what), "ts": _us(event.at), "pid": pid, "tid": tid, "args": args}


def _arrows(trace: Trace) -> Iterator[Record]:
    """Yield an arrow from each redirected hop to the next one: both ends must lie inside a slice."""
    lives = {piece.job: piece for piece in whole(trace)}
    for job in trace.jobs:
        if job.follows in lives and job.job in lives:
            before, after = lives[job.follows], lives[job.job]
            arrow = {"name": "redirect", "cat": "redirect", "id": job.job, "pid": trace.pid}
            middle = (before.start + before.end) / 2
            yield {**arrow, "ph": "s", "ts": _us(middle), "tid": JOB_TRACK + job.follows}
            yield {**arrow, "ph": "f", "bp": "e", "ts": _us(after.start), "tid": JOB_TRACK + job.job}


def _names(trace: Trace) -> Iterator[Record]:
    threads = {(piece.pid, piece.thread) for piece in runs(trace)} | {(trace.pid, trace.thread)}
    for pid in sorted({pid for pid, _ in threads}):
        whose = "cormorant" if pid == trace.pid else "worker process"
        yield _name("process_name", f"{whose} {pid}, engine {trace.engine}", pid, 0)
    for order, (pid, thread) in enumerate(sorted(threads)):
        main = (pid, thread) == (trace.pid, trace.thread)
        yield from _track(f"{'main thread' if main else 'thread'} {thread}", pid, thread, order)
    if any(event.what is What.WAITED for event in trace.events):
        yield from _track("the loop's waits", trace.pid, LOOP_TRACK, LOOP_TRACK)
    for job in trace.jobs:
        yield from _track(_title(job), trace.pid, JOB_TRACK + job.job, JOB_TRACK + job.job)


def _title(job: Job) -> str:
    return f"job {job.job}: {job.target}"


def _track(name: str, pid: int, tid: int, order: int) -> Iterator[Record]:
    yield _name("thread_name", name, pid, tid)
    yield {"ph": "M", "name": "thread_sort_index", "ts": 0, "pid": pid, "tid": tid, "args": {"sort_index": order}}


def _name(what: str, name: str, pid: int, tid: int) -> Record:
    return {"ph": "M", "name": what, "ts": 0, "pid": pid, "tid": tid, "args": {"name": name}}
