"""A trace on the terminal: one line an event, a lane for each job, and who told of what at the end."""

from __future__ import annotations

import io
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
_COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red", "bright_cyan", "bright_yellow")
_WITH_THREAD = (What.BEGAN, What.ENDED)


class _Stdout(Console):
    """A console whose reader may leave (`| head`), as with every command."""

    def on_broken_pipe(self) -> None:
        """Say so in our own way; rich would end the process with a code of its own."""
        raise OutputError("the reader of the output left") from sys.exc_info()[1]


def show(trace: Trace, *, all_events: bool = False) -> None:
    """Print the time line of `trace` on stdout: the first `MOST_EVENTS` events, or all of them."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # no sign of ours and no URL may end the command
    console = _Stdout(width=None if is_terminal(sys.stdout) else 1000, highlight=False, markup=False, emoji=False)
    console.print(Text.assemble((_headline(trace), "bold")), soft_wrap=True)
    for note in trace.notes:
        console.print(Text(f"note: {neutral(note)}", "italic"), soft_wrap=True)
    shown = trace.events if all_events else trace.events[:MOST_EVENTS]
    for line in _lines(trace, shown):
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    left_out = len(trace.events) - len(shown)
    if left_out:
        console.print(Text(f"{counted(left_out, 'event')} more left out; --all shows them", "bold"), soft_wrap=True)
    console.print(Text("Who told of it:", "bold"))
    for what, sources in trace.sources().items():
        console.print(Text(f"  {_SIGNS[what]:<2} {what:<11}  {', '.join(sources)}", "dim"), soft_wrap=True)


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
