"""One run, whatever the command: outcomes into the sink, signals, progress, summary, exit code.

worker.run(), which writes to the sink (whole lines, shielded from a second Ctrl-C) ─▶ summary ─▶ Exit
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.text import Text

from cormorant.cli import summary
from cormorant.cli.destination import Destination
from cormorant.cli.exits import Exit, code_of, complain, is_reader_gone
from cormorant.cli.inputs import Lines
from cormorant.cli.kept import greet
from cormorant.cli.progress import Progress
from cormorant.cli.stops import Stops
from cormorant.errors import CormorantError, OutputError
from cormorant.interfaces import Committed, DurableSink, Sink
from cormorant.options import AUTO, Options

if TYPE_CHECKING:
    from cormorant.fleet.driver import Fleet
    from cormorant.jobs import Job
    from cormorant.worker import Statistics, Worker


class Log(Console):
    """A console on stderr. One that nobody reads any more ends the log and nothing else."""

    def __init__(self) -> None:
        super().__init__(stderr=True)

    def on_broken_pipe(self) -> None:
        """Let BrokenPipeError pass; rich would end the process, and send stdout, our data, to /dev/null."""
        raise


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What the run is about, in the words of its summary. `sources` are the lists it reads.

    The console is built here because `map` patches later: its lock is shared with the progress timer's thread.
    """

    noun: str
    unit: str
    engine: str
    timeout: float
    sources: Sequence[str]
    console: Console = dataclasses.field(default_factory=Log)

    @classmethod
    def of(cls, options: Options, *, noun: str, unit: str, sources: Sequence[str]) -> Work:
        """Describe a run under `options`; `noun` is URL or item, `unit` page or item.

        Raises UsageError or MissingPackage for an engine that cannot be, before any output is opened.
        """
        from cormorant import engines

        if options.engine != AUTO:
            engines.require(options.engine)
        return cls(noun=noun, unit=unit, engine=options.engine, timeout=options.timeout, sources=sources)


class SafeSink:
    """A sink that counts, and whose writes are whole: a second Ctrl-C waits for the end of one.

    `written` records were taken, of which `saved` are known to be with the operating system.
    """

    def __init__(self, open_sink: Callable[[], Sink], shield: Stops) -> None:
        self._open_sink = open_sink
        self._sink: Sink
        self._shield = shield
        self.written = self.saved = 0

    def open(self, before: int) -> None:
        """Open the output: only now is a file made, or one that was there overwritten. It holds what was `before`."""
        self._sink = self._open_sink()
        self.written = self.saved = before

    def write(self, outcome: Any) -> None:
        """Append one outcome."""
        with self._shield:
            try:
                self._sink.write(outcome)
            except BrokenPipeError as error:
                raise _reader_left() from error
            self.written += 1

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._save(self._sink.flush)

    def sync(self, complete: bool = False) -> Committed | None:
        """Put everything written so far on stable storage: of a `DurableSink`, which the output of a job is."""
        with self._shield:
            return cast(DurableSink, self._sink).sync(complete)

    def close(self) -> None:
        """Flush and close. Safe to call twice."""
        self._save(self._sink.close)

    def _save(self, how: Callable[[], None]) -> None:
        with self._shield:
            try:
                how()
            except BrokenPipeError as error:
                raise _reader_left() from error
            self.saved = self.written


class WrittenElsewhere:
    """Stands for the sink where a fleet's workers write: counts as written what they count as done."""

    def __init__(self, statistics: Callable[[], Statistics]) -> None:
        self._statistics = statistics

    @property
    def written(self) -> int:
        """How many records they have written."""
        return self._statistics().done

    saved = written

    def open(self, before: int) -> None:
        """Nothing is opened here."""

    flush = close = lambda self: None


def _reader_left() -> OutputError:
    """Give a closed pipe its own error here: from elsewhere (an engine's pipes) it would mean another thing."""
    return OutputError("the reader of the output left")


def carry_out(
    start: Callable[[Sink], Worker | Fleet], lines: Lines, destination: Destination, work: Work, job: Job | None = None
) -> Exit:
    """Run `start(sink)` to the end, or until it is stopped, and tell how it went."""
    destination.check(work.sources)
    stops = Stops("" if destination.quiet else _drain_note(work.timeout))
    safe = SafeSink(lambda: destination.open(job), stops)
    progress = destination.shows_progress()  # asked before stdout is taken for the data
    if not destination.quiet:
        logging.getLogger("cormorant.auto").setLevel(logging.INFO)  # what `--engine auto` chose, and why
    worker = start(safe)  # what is wrong with the engine or the function is said before the output is touched
    sink = WrittenElsewhere(worker.statistics) if worker.writes_itself else safe
    sink.open(worker.statistics().done)
    if job is not None and not destination.quiet:
        greet(job, worker.statistics())
    error: CormorantError | None = None
    try:
        with (
            stops.installed(worker.stop, sink.flush),
            contextlib.closing(sink),
            Progress(work.console, worker.statistics, lines.expected) if progress else contextlib.nullcontext(),
            contextlib.closing(worker.run()) as outcomes,
        ):
            for _ in outcomes:
                pass
    except KeyboardInterrupt:
        held = f"{destination} holds {summary.counted(sink.saved, 'record')}, whole"
        complain(f"stopped at once; {held if job is None else _how_to_go_on(job)}")
        return Exit.KILLED
    except CormorantError as caught:
        error = caught
    return _Ending(worker, lines, destination, work, sink, job).tell(error)


class _Ending:
    """What is said at the end, and the exit code."""

    def __init__(
        self,
        worker: Worker | Fleet,
        lines: Lines,
        destination: Destination,
        work: Work,
        sink: SafeSink | WrittenElsewhere,
        job: Job | None,
    ) -> None:
        self._statistics = worker.statistics()
        self._how = f"engine {worker.engine}{' (auto)' if work.engine == AUTO else ''}, {worker.width} at once"
        told = "" if destination.format is None else f" --format {destination.format}"
        self._parts = f" in parts: cormorant cat {destination}{told} reads them" if worker.is_in_parts else ""
        if worker.workers > 1:
            self._how = f"{worker.workers} workers, {self._how}"
        self._lines = lines
        self._destination = destination
        self._work = work
        self._sink = sink
        self._job = job
        self._saved = sink.saved if worker.commits is None else sink.written - worker.commits.waiting

    def tell(self, error: CormorantError | None) -> Exit:
        """Print the summary and what went wrong; return the exit code."""
        if error is not None and is_reader_gone(error):
            return Exit.READER_LEFT
        if not self._destination.quiet and (error is None or self._sink.written):
            with contextlib.suppress(OSError, ValueError):
                self._work.console.print(self._block(), soft_wrap=True)
        for line in self._lines.errors:
            complain(f"the list broke off: {line}{'' if self._job is None else _WHERE_IT_BROKE}")
        if error is not None:
            complain(str(error))
            if self._job is not None:
                complain(_how_to_go_on(self._job))
            return code_of(error)
        return self._checked(summary.verdict(self._statistics, self._lines.has_ended))

    def _block(self) -> Text:
        work = self._work
        head = summary.title(self._statistics, work.noun, work.unit)
        saved = f"{summary.counted(self._saved, 'record')} to {self._destination}{self._parts}"
        return summary.block(self._statistics, f"{head}   {self._how}", saved)

    def _expected(self) -> float | None:
        """Return how many there will be as far as is known: a crawl finds more than its seeds."""
        listed = self._lines.expected()
        found = self._statistics.offered - sum(self._statistics.left_out.values())
        return None if listed is None else max(listed, found)

    def _checked(self, code: Exit) -> Exit:
        fault = summary.fault(self._statistics, self._sink.written)
        if fault is not None:
            complain(f"BUG, please report it: the numbers do not add up: {fault}")
            code = max(code, Exit.FAILURES)
        if code is Exit.STOPPED:
            left = summary.left_text(self._statistics, self._work.noun, self._expected())
            complain(f"stopped before the end: {left}; {self._destination} holds what is done")
            if self._job is not None:
                complain(_how_to_go_on(self._job))
            return code
        return Exit.USAGE if self._lines.errors else code


_WHERE_IT_BROKE = "; mend it, and the job reads on there (--accept-changed-list)"


def _how_to_go_on(job: Job) -> str:
    return f"to go on, run the same command again, or: cormorant resume {shlex.quote(str(job.folder))}"


def _drain_note(seconds: float) -> str:
    return f"cormorant: stopping; waiting for what is in flight, at most {seconds:g} s. Ctrl-C again stops at once."
