"""What a trace is made of, as values: events in the order in which they happened, and the facts of the run.

Every event says by `heard_from` who told of it. Two things are not heard but worked out. To which job a socket belongs:
libcurl tells at the end of a hop, by both ends of its connection; a socket that no hop owned up to, or that carried
several at once, has no job (`sockets.py`). And when a PHASE ended: libcurl measures how long phases took, and says no
instants; they are computed from its measurements and the end of the hop (`phases.py`).
"""

from __future__ import annotations

import enum

import msgspec

FORMAT = "cormorant-trace/1"


class What(enum.StrEnum):
    """Everything that can be heard."""

    RELEASED = "released"  # the scheduler let a job go; the engine has it now
    BEGAN = "began"  # its function began, in this thread of this process
    ASKED = "asked"  # it asked the evented transport for its page
    ENTERED = "entered"  # it entered the blocking call
    WANTED = "wanted"  # the transport wants a socket watched, or no longer
    TIMER = "timer"  # the transport wants to be woken, or no longer
    SWITCH_OUT = "switch out"  # the job gave the thread away
    WAITED = "waited"  # the loop asked the kernel, for `seconds`, and had `ready` descriptors
    READY = "ready"  # the loop told the transport of a socket that is ready, which took `seconds`
    EXPIRED = "expired"  # the loop told the transport that the time asked for is over, which took `seconds`
    PHASE = "phase"  # a phase of the hop ended; it took `seconds` (computed)
    DELIVERED = "delivered"  # the transport handed the end of a hop to the job
    CANCELLED = "cancelled"  # the job withdrew its hop
    LEFT = "left"  # the blocking call returned
    SWITCH_IN = "switch in"  # the job has the thread again
    SWITCH = "switch"  # a switch between two that are no jobs
    ENDED = "ended"  # its function ended
    SETTLED = "settled"  # its end reached the scheduler
    HANDED_OVER = "handed over"  # the caller has the outcome


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One thing that happened. `at` is seconds since the start of the run; `thread` is the kernel's number of it.

    `seconds` is how long what ended here took (waited, phase), how long the call took that began here (ready, expired),
    or in how long a timer is to ring. `context_switches` counts how often the thread gave its core away of its own will
    during the blocking call.
    """

    at: float
    what: What
    job: int | None = None
    pid: int
    thread: int
    detail: str = ""
    heard_from: str
    seconds: float | None = None
    ready: int | None = None
    descriptor: int | None = None
    context_switches: int | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One hop: a redirect is a job of its own, and `follows` names the job it came from.

    `end` is the status, the kind of the failure, or None when it did not come home.
    """

    job: int
    url: str
    target: str
    follows: int | None = None
    end: str | None = None


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One run as it was heard. `notes` say what could not be heard, or was changed to be heard.

    `broke_off`: Ctrl-C ended it.
    """

    format: str = FORMAT
    engine: str
    options: dict[str, float | int | str | None]
    machine: dict[str, str]
    pid: int
    thread: int
    seconds: float
    broke_off: bool = False
    notes: list[str]
    jobs: list[Job]
    events: list[Event]

    def json(self) -> bytes:
        """Return the document that `--json` writes."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    def of(self, job: int) -> list[Event]:
        """Return the events of one job."""
        return [event for event in self.events if event.job == job]

    def sources(self) -> dict[What, list[str]]:
        """Return who told of each kind of event."""
        heard: dict[What, list[str]] = {}
        for event in self.events:
            sources = heard.setdefault(event.what, [])
            if event.heard_from not in sources:
                sources.append(event.heard_from)
        return heard
