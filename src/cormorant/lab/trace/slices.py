"""Events paired to slices: what has a beginning and an end in the trace, for the pictures. Nothing is added.

released ─ queued ─▶ began ─ … ─▶ ended ─ back ─▶ settled           the job, whatever the engine
           asked ──────── on the wire ────────▶ delivered            evented: the hop; blocking: entered ─▶ left
switch in ─ running ─▶ switch out                                    who has the thread
"""

from __future__ import annotations

from typing import NamedTuple

from cormorant.lab.trace.events import Event, Trace, What


class Slice(NamedTuple):
    """From `start` to `end` (seconds since the start of the run) job `job` was in `state`, in this thread."""

    job: int
    state: str
    start: float
    end: float
    pid: int
    thread: int


QUEUED, WIRE, RUNNING, BACK = "queued", "on the wire", "running", "back, not settled"

_OPENS = {What.RELEASED: QUEUED, What.ASKED: WIRE, What.ENTERED: WIRE, What.ENDED: BACK, What.SWITCH_IN: RUNNING}
_CLOSES = {
    What.BEGAN: QUEUED,
    What.DELIVERED: WIRE,
    What.CANCELLED: WIRE,
    What.LEFT: WIRE,
    What.SETTLED: BACK,
    What.SWITCH_OUT: RUNNING,
}


def switches_are_heard(trace: Trace) -> bool:
    """Return whether somebody told of switches; elsewhere a job runs from its beginning to its end but for the wire."""
    return any(event.what is What.SWITCH_IN for event in trace.events)


def slices(trace: Trace) -> list[Slice]:
    """Return every slice in the order of its end; one that was never closed ends with the run."""
    opened: dict[tuple[int, str], Event] = {}
    found: list[Slice] = []
    for event in trace.events:
        if event.job is None:
            continue
        start = opened.pop((event.job, _CLOSES.get(event.what, "")), None)
        if start is not None:
            found.append(_slice(start, event.at))
        if event.what in _OPENS:
            opened[event.job, _OPENS[event.what]] = event
    return found + [_slice(start, trace.seconds) for start in opened.values()]


def _slice(start: Event, end: float) -> Slice:
    assert start.job is not None
    return Slice(start.job, _OPENS[start.what], start.at, end, start.pid, start.thread)


def runs(trace: Trace) -> list[Slice]:
    """Return when each job had its thread: between switches, or around its work where nobody switches."""
    if switches_are_heard(trace):
        return [piece for piece in slices(trace) if piece.state == RUNNING]
    began: dict[int, Event] = {}
    found = []
    for event in trace.events:
        if event.job is None:
            continue
        if event.what is What.BEGAN:
            began[event.job] = event
        elif event.what is What.ENDED and event.job in began:
            start = began.pop(event.job)
            found.append(Slice(event.job, RUNNING, start.at, event.at, event.pid, event.thread))
    return found + [
        Slice(number, RUNNING, start.at, trace.seconds, start.pid, start.thread) for number, start in began.items()
    ]


def whole(trace: Trace) -> list[Slice]:
    """Return each job from its release to its settling."""
    found = {}
    for event in trace.events:
        if event.what is What.RELEASED and event.job is not None:
            found[event.job] = Slice(event.job, "job", event.at, trace.seconds, event.pid, event.thread)
        elif event.what is What.SETTLED and event.job in found:
            found[event.job] = found[event.job]._replace(end=event.at)
    return list(found.values())
