"""A trace on the terminal: one line an event, a lane for each job, and who told of what at the end; or its essence."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from cormorant.cli.destination import is_terminal
from cormorant.cli.summary import counted
from cormorant.cli.terminal import neutral
from cormorant.errors import OutputError
from cormorant.lab.trace.events import Event, Trace, What

MOST_EVENTS = 200
MOST_LANES = 12
SHORT_WAIT_SECONDS = 0.001

_SIGNS = {
    What.RELEASED: "○",
    What.BEGAN: "▶",
    What.ASKED: "?",
    What.ENTERED: "▼",
    What.WANTED: "·",
    What.TIMER: "·",
    What.SWITCH_OUT: "◀─",
    What.WAITED: "═",
    What.READY: "!",
    What.EXPIRED: "!",
    What.PHASE: "·",
    What.DELIVERED: "✉",
    What.CANCELLED: "✗",
    What.LEFT: "▲",
    What.SWITCH_IN: "─▶",
    What.SWITCH: "──",
    What.ENDED: "■",
    What.SETTLED: "●",
    What.HANDED_OVER: "★",
}
_ESSENCE = {
    What.RELEASED: "released",
    What.ENTERED: "blocks in libcurl",
    What.SWITCH_IN: "switch in",
    What.SWITCH_OUT: "switch out",
    What.WAITED: "waits",
    What.DELIVERED: "delivered",
    What.CANCELLED: "cancelled",
    What.LEFT: "returns",
    What.HANDED_OVER: "handed over",
}
_COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red", "bright_cyan", "bright_yellow")
_WITH_THREAD = (What.BEGAN, What.ENDED)


class _Stdout(Console):
    """A console whose reader may leave (`| head`), as with every command."""

    def on_broken_pipe(self) -> None:
        """Say so in our own way; rich would end the process with a code of its own."""
        raise OutputError("the reader of the output left") from sys.exc_info()[1]


def _headed(trace: Trace) -> Console:
    """Return a console on stdout with the head of a time line on it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # no sign of ours and no URL may end the command
    console = _Stdout(width=None if is_terminal(sys.stdout) else 1000, highlight=False, markup=False, emoji=False)
    console.print(Text.assemble((_headline(trace), "bold")), soft_wrap=True)
    for note in trace.notes:
        console.print(Text(f"note: {neutral(note)}", "italic"), soft_wrap=True)
    return console


def show(trace: Trace, *, all_events: bool = False) -> None:
    """Print the time line of `trace` on stdout: the first `MOST_EVENTS` events, or all of them."""
    console = _headed(trace)
    shown = trace.events if all_events else trace.events[:MOST_EVENTS]
    for line in _lines(trace, shown):
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    left_out = len(trace.events) - len(shown)
    if left_out:
        console.print(Text(f"{counted(left_out, 'event')} more left out; --all shows them", "bold"), soft_wrap=True)
    console.print(Text("Who told of it:", "bold"))
    for what, sources in trace.sources().items():
        console.print(Text(f"  {_SIGNS[what]:<2} {what:<11}  {', '.join(sources)}", "dim"), soft_wrap=True)


def show_essence(trace: Trace) -> None:
    """Print in a few lines who had the word when: what one job did without a break is one line, and so are waits.

    Waits in vain of less than a millisecond are left out; jobs that begin alike, one after the other, share a line.
    """
    console = _headed(trace)
    events = [event for event in trace.events if event.what in _ESSENCE and not _is_in_vain(event)]
    turns = [list(turn) for _, turn in itertools.groupby(events, key=lambda event: event.job)]
    for _, alike in itertools.groupby(turns, key=lambda turn: _alike(trace, turn)):
        same = list(alike)
        first = same[0][0]
        at = first.at - (first.seconds or 0.0 if first.what is What.WAITED else 0.0)
        jobs = ", ".join(str(turn[0].job) for turn in same)
        who = "the loop" if first.job is None else f"job{'s' if len(same) > 1 else ''} {jobs}"
        told = f"{at * 1000:9.2f} ms  {who:<12} {_essence(trace, same[0])}"
        console.print(Text(told), no_wrap=True, overflow="ellipsis", crop=True)
    sources = dict.fromkeys(event.heard_from for event in events)
    console.print(Text(f"Who told of it: {', '.join(sources)}", "dim"), soft_wrap=True)


def _is_in_vain(event: Event) -> bool:
    return event.what is What.WAITED and not event.ready and (event.seconds or 0.0) < SHORT_WAIT_SECONDS


def _alike(trace: Trace, turn: list[Event]) -> tuple[str, int | None]:
    """Return what must be equal of turns on one line."""
    begins = all(event.what in (What.RELEASED, What.SWITCH_IN, What.SWITCH_OUT) for event in turn)
    return _essence(trace, turn), None if begins else turn[0].job


def _essence(trace: Trace, turn: list[Event]) -> str:
    """Return in words what one job, or the loop, did without a break."""
    waits = [event for event in turn if event.what is What.WAITED]
    if waits:
        seconds = sum(event.seconds or 0.0 for event in waits)
        times = "" if len(waits) == 1 else f" {counted(len(waits), 'time')}, together"
        return f"waits{times} {seconds * 1000:.2f} ms; {waits[-1].ready} ready at last"
    return ", ".join(_moment(trace, event) for event in turn)


def _moment(trace: Trace, event: Event) -> str:
    words = _ESSENCE[event.what]
    if event.what in (What.DELIVERED, What.LEFT, What.CANCELLED):
        return f"{words} {neutral(event.detail)}".rstrip()
    if event.what is What.ENTERED and event.pid != trace.pid:
        return f"{words}, in process {event.pid}"
    if event.what is What.ENTERED and event.thread != trace.thread:
        return f"{words}, in thread {event.thread}"
    return words


def _headline(trace: Trace) -> str:
    jobs = f"{counted(len(trace.jobs), 'job')}, {trace.options['concurrency']} at once"
    events = f"{counted(len(trace.events), 'event')} in {trace.seconds * 1000:,.1f} ms"
    return f"engine {trace.engine}: {jobs}, {events}, pid {trace.pid}, thread {trace.thread}"


def _lines(trace: Trace, events: list[Event]) -> Iterator[Text]:
    lanes = len(trace.jobs) if len(trace.jobs) <= MOST_LANES else 0
    under_way: set[int] = set()
    for event in events:
        if event.job is not None and event.what is What.RELEASED:
            under_way.add(event.job)
        yield Text.assemble(
            (f"{event.at * 1000:9.2f} ms ", "dim"),
            *_gutter(event, lanes, under_way),
            (f" {_tag(event):<7} ", _colour(event)),
            (f"{_SIGNS[event.what]:<2} ", _colour(event)),
            (f"{event.what:<11} ", "bold" if event.what in (What.SWITCH_IN, What.SWITCH_OUT) else ""),
            _words(event),
        )
        if event.job is not None and event.what is What.SETTLED:
            under_way.discard(event.job)


def _gutter(event: Event, lanes: int, under_way: set[int]) -> Iterator[tuple[str, str]]:
    """Yield a lane for each job: its own event, under way, or not."""
    for number in range(lanes):
        sign = "┃" if number == event.job else "│" if number in under_way else " "
        yield sign, _COLOURS[number % len(_COLOURS)]


def _tag(event: Event) -> str:
    return "loop" if event.job is None else f"job {event.job}"


def _colour(event: Event) -> str:
    return "" if event.job is None else _COLOURS[event.job % len(_COLOURS)]


def _words(event: Event) -> str:
    """Return what an event has to say, with nothing in it that the terminal would obey."""
    words = [neutral(event.detail)] if event.detail else []
    if event.what is What.WAITED and event.seconds is not None:
        words.append(f"{event.heard_from} returned with {event.ready} ready after {event.seconds * 1000:.2f} ms")
    if event.what is What.PHASE and event.seconds is not None:
        words.append(f"took {event.seconds * 1000:.2f} ms")
    if event.context_switches is not None:
        words.append(f"(thread {event.thread} gave its core away {counted(event.context_switches, 'time')})")
    if event.what in _WITH_THREAD:
        words.append(f"in thread {event.thread} of process {event.pid}")
    return " ".join(words)
