"""How far the run is, on stderr: a live line on a terminal, a plain line every few seconds in a log.

Laws: counters are read by a timer, never per page, so that a page costs nothing here; the timer is a native thread
taken before any patching; a stderr that cannot be written ends the display, not the run.
"""

from __future__ import annotations

import collections
import contextlib
import os
from _queue import Empty, SimpleQueue
from _thread import start_new_thread
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING

from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from cormorant.cli.units import span_text

if TYPE_CHECKING:
    from rich.console import Console

    from cormorant.worker import Statistics

LIVE_SECONDS = 0.2
PLAIN_SECONDS = 5.0
RATE_SECONDS = 10.0

_CLEAR = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))


def is_live(console: Console) -> bool:
    """Tell whether a line may be drawn over itself: a real terminal that is not dumb (FORCE_COLOR alone is none)."""
    try:
        return os.isatty(console.file.fileno()) and console.is_interactive and not console.is_dumb_terminal
    except (OSError, ValueError):
        return False


def status_line(statistics: Statistics, rate: float, seconds_left: float | None) -> Text:
    """Return the state of the run as one line: done, rate, in flight, failures by kind, time left."""
    line = Text(f"{statistics.done:,} done  {rate:,.0f}/s  {statistics.in_flight:,} in flight")
    if statistics.http_errors:
        line.append(f"  {statistics.http_errors:,} http errors", style="yellow")
    failed = sum(statistics.failed.values())
    if failed:
        kinds = sorted(statistics.failed.items(), key=lambda pair: -pair[1])
        line.append(f"  {failed:,} failed ({', '.join(f'{kind} {count:,}' for kind, count in kinds)})", style="red")
    if seconds_left is not None:
        line.append(f"  ETA {span_text(seconds_left)}")
    return line


class Pace:
    """How fast it goes: done per second over the last `RATE_SECONDS`."""

    def __init__(self, now: float, done: int = 0) -> None:
        self._samples = collections.deque([(now, done)])

    def note(self, now: float, done: int) -> float:
        """Add a sample and return the rate."""
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] <= now - RATE_SECONDS:
            self._samples.popleft()
        then, before = self._samples[0]
        return (done - before) / (now - then) if now > then else 0.0


class Progress:
    """A context manager that shows the state of a run on `console` while the block lasts."""

    def __init__(
        self, console: Console, statistics: Callable[[], Statistics], expected: Callable[[], float | None]
    ) -> None:
        self._console = console
        self._statistics = statistics
        self._expected = expected
        self._live = is_live(console)
        self._pace = Pace(monotonic(), statistics().done)
        self._stop: SimpleQueue[None] = SimpleQueue()
        self._stopped: SimpleQueue[None] = SimpleQueue()

    def __enter__(self) -> None:
        """Start the timer."""
        start_new_thread(self._run, ())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop the timer and clear the live line."""
        self._stop.put(None)
        with contextlib.suppress(Empty):
            self._stopped.get(timeout=1.0)

    def _run(self) -> None:
        try:
            while self._is_time():
                self._show()
            if self._live:
                self._console.control(_CLEAR)
        except (OSError, ValueError):
            pass  # stderr is closed: nobody looks
        finally:
            self._stopped.put(None)

    def _is_time(self) -> bool:
        try:
            self._stop.get(timeout=LIVE_SECONDS if self._live else PLAIN_SECONDS)
        except Empty:
            return True
        return False

    def _show(self) -> None:
        statistics = self._statistics()
        rate = self._pace.note(monotonic(), statistics.done)
        line = status_line(statistics, rate, self._seconds_left(statistics, rate))
        if self._live:
            self._console.control(_CLEAR)
            self._console.print(line, end="", no_wrap=True, overflow="ellipsis", crop=True)
        else:
            self._console.print(line, soft_wrap=True)

    def _seconds_left(self, statistics: Statistics, rate: float) -> float | None:
        expected = self._expected()
        if expected is None or rate <= 0:
            return None
        left = expected - statistics.done - statistics.duplicates
        return left / rate if left > 0 else None  # a crawl finds more than it was given
