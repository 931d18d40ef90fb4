"""The phases of a hop, computed: how long each took libcurl measured, where they lie follows from when the hop ended.

libcurl tells durations only. What is known of the hop's end by our clock:

1. a blocking call returned: then
2. the hop was late, and libcurl ended it while ended hops were delivered: when it was delivered
3. else libcurl ended it inside the last call that was about it (`ready`; `expired`, which is about all): when that
   call returned; a hop whose connection is not known, when it was delivered

First byte and body are laid backwards from there, what came before them forwards from that instant minus the total.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec

from cormorant.lab.trace.events import Event, What
from cormorant.messages import Kind, Timings

BEFORE_ANSWER = ("dns", "connect", "tls")
PHASES = (*BEFORE_ANSWER, "first_byte", "body")
HEARD_FROM = "libcurl timings"


@dataclasses.dataclass(slots=True)
class Home:
    """What a job came home with: its end in a word, and what libcurl measured."""

    end: str
    timings: Timings = dataclasses.field(default_factory=Timings)
    phase: str | None = None


def computed(heard: list[Event], homes: Mapping[int, Home]) -> list[Event]:
    """Return the phases of every hop that came home; `heard` is in order."""
    found: list[Event] = []
    asked: dict[int, Event] = {}
    about: dict[int, float] = {}
    about_all = 0.0
    for event in heard:
        number = event.job
        if event.what is What.EXPIRED:
            about_all = _over(event)
        elif number is None:
            continue
        elif event.what is What.READY:
            about[number] = _over(event)
        elif event.what in (What.ASKED, What.ENTERED):
            asked[number] = event
        elif event.what in (What.DELIVERED, What.LEFT) and number in homes and number in asked:
            home = homes[number]
            is_told = number in about and home.end != Kind.TIMEOUT
            end = min(event.at, max(about[number], about_all)) if is_told else event.at
            found += _laid(asked.pop(number), home, end)
    return found


def _over(call: Event) -> float:
    return call.at + (call.seconds or 0.0)


def _laid(asked: Event, home: Home, end: float) -> list[Event]:
    """Return the phases of one hop that ended at `end`, none of them before it was asked for."""
    spans = phases_of(home.timings, home.phase)
    at = max(asked.at, end - home.timings.total)
    answered = end - dict(spans).get("body", 0.0)
    ends = {"first_byte": answered, "body": end}
    for name, seconds in spans:
        if name in BEFORE_ANSWER:
            ends[name] = at = min(answered - dict(spans).get("first_byte", 0.0), at + seconds)
    return [
        msgspec.structs.replace(
            asked,
            at=max(asked.at, ends[name]),
            what=What.PHASE,
            detail=name,
            heard_from=HEARD_FROM,
            seconds=seconds,
        )
        for name, seconds in spans
    ]


def phases_of(timings: Timings, phase: str | None) -> list[tuple[str, float]]:
    """Return the phases that took time; what a failure spent in the phase it struck in, libcurl gives as total only."""
    spans = [(name, getattr(timings, name)) for name in PHASES]
    rest = timings.total - sum(seconds for _, seconds in spans)
    if phase in dict(spans) and rest > 0 and not getattr(timings, phase):
        spans = [(name, rest if name == phase else seconds) for name, seconds in spans]
    return [(name, seconds) for name, seconds in spans if seconds > 0]
