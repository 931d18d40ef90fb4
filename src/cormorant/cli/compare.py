"""`cormorant compare`: the same work under every engine, measured, as a table, a report and JSON."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cormorant.cli import choices, units
from cormorant.cli.choices import IN, LIMITS, OUT, SPEED
from cormorant.cli.exits import Exit, complain, told
from cormorant.cli.stops import SIGNALS
from cormorant.errors import OutputError, UsageError

if TYPE_CHECKING:
    from cormorant.lab.comparison import Comparison

EPILOG = """
Examples:

  cormorant compare

  cormorant compare -i urls.txt --engines thread,gevent,asyncio -c 50,500 --repeat 5 --json report.json

  cormorant compare --work mymodule:function -i items.txt

Every trial runs in a fresh process, one at a time. The exit code is 0 once all trials were measured, 1 when one \
broke, 7 when Ctrl-C ended them before.
"""

_TIME: Any = None  # typer would have it parsed
REPORT = "report.html"


def compare(
    urls: Annotated[list[str] | None, typer.Argument(metavar="URL", help="Pages to fetch.")] = None,
    input: choices.Input = None,
    work: Annotated[
        str | None,
        typer.Option(
            "--work", metavar="MODULE:FUNCTION", rich_help_panel=IN, help="Call FUNCTION with each item of -i instead."
        ),
    ] = None,
    pages: Annotated[
        int, typer.Option("--pages", min=10, rich_help_panel=IN, help="Size of the embedded site's list.")
    ] = 500,
    seed: Annotated[
        int, typer.Option("--seed", rich_help_panel=IN, help="Changes the embedded pages and the order of the trials.")
    ] = 1,
    engines: Annotated[
        str | None,
        typer.Option(
            "--engines", "-e", metavar="A,B,…", rich_help_panel=SPEED, show_default="all", help="Who competes."
        ),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency",
            "-c",
            metavar="N,M,…",
            rich_help_panel=SPEED,
            show_default="16,64",
            help="How many at once.",
        ),
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, rich_help_panel=SPEED, help="How often each is tried.")] = 3,
    per_host: Annotated[
        int | None,
        typer.Option(
            "--per-host",
            metavar="N",
            rich_help_panel=SPEED,
            show_default="8; no limit for the embedded site",
            help="Most at once to one host; 0: no limit.",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="TIME",
            parser=units.seconds,
            rich_help_panel=LIMITS,
            show_default="30s; 1s for the embedded site",
            help="Total time for each one, from its start: 1.5, 500ms, 2m.",
        ),
    ] = _TIME,
    html: Annotated[
        str, typer.Option("--html", metavar="FILE", rich_help_panel=OUT, help="Where the report goes.")
    ] = REPORT,
    no_html: Annotated[bool, typer.Option("--no-html", rich_help_panel=OUT, help="Write no report.")] = False,
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", rich_help_panel=OUT, help="Write all figures as JSON; - is stdout."),
    ] = None,
    no_claims: Annotated[
        bool, typer.Option("--no-claims", rich_help_panel=OUT, help="Do not judge the folklore (some 20 s).")
    ] = False,
    quiet: choices.Quiet = False,
) -> None:
    """Run the same work under every engine and show who is faster, at what cost, and why.

    Without URLs the embedded site is fetched: good, slow, dripping, failing and hung pages, the same every time.
    """
    with told():
        files = Files(html=None if no_html else html, json=json)
        files.check()
        comparison = _measured(
            urls or [],
            input or [],
            work,
            engines=_names(engines),
            concurrency=_numbers(concurrency),
            repeat=repeat,
            pages=pages,
            seed=seed,
            timeout=timeout,
            per_host=per_host,
            claims=not no_claims,
            command=shlex.join(["cormorant", *sys.argv[1:]]),
            told=None if quiet else complain,
        )
        try:
            if json != "-":
                from cormorant.cli.table import show

                show(comparison)
        finally:  # neither an output that fails nor a reader who has left loses the other
            files.write(comparison, None if quiet else complain)
        raise typer.Exit(_verdict(comparison))


def _measured(urls: Sequence[str], sources: Sequence[str], work: str | None, **how: Any) -> Comparison:
    """Compare; ends with exit code 7 when it was stopped before anything was measured."""
    try:
        with _any_signal_is_ctrl_c():
            from cormorant.lab.compare import compare as measure

            return measure(**_given(urls, sources, work), **how)
    except KeyboardInterrupt:
        complain("stopped before the first trial was over: nothing was measured, and nothing was written")
        raise typer.Exit(Exit.STOPPED) from None


@contextlib.contextmanager
def _any_signal_is_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the trials as Ctrl-C does; one that is ignored (nohup) stays so."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    mine = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in mine:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])


def _verdict(comparison: Comparison) -> Exit:
    if comparison.stopped:
        return Exit.STOPPED
    return Exit.FAILURES if any(trial.error for trial in comparison.trials) else Exit.GOOD


def _given(urls: Sequence[str], sources: Sequence[str], work: str | None) -> dict[str, Any]:
    """Return what is to be done, as `compare` takes it. Lists are read whole: every trial needs them."""
    if work is None and not urls and not sources:
        return {}
    from cormorant.cli.inputs import Lines
    from cormorant.cli.map import JSON_SUFFIXES
    from cormorant.cli.splitter import LONGEST_ITEM_LINE, LONGEST_URL_LINE, json_line, text_line, url_line

    if work is None:
        return {"urls": [text for text, _ in _read(Lines(sources, url_line, LONGEST_URL_LINE, first=urls))]}
    if urls:
        raise UsageError("--work takes its items from -i FILE, not from URLs on the command line")
    from cormorant.cli import usercode

    usercode.load(work)  # says what is wrong with it before anything is measured
    reads_json = all(source.endswith(JSON_SUFFIXES) for source in sources)
    lines = Lines(sources, json_line if reads_json else text_line, LONGEST_ITEM_LINE)
    return {"work": work, "items": [text for text, _ in _read(lines)]}


def _read(lines: Any) -> list[tuple[Any, int | None]]:
    import time

    entries = []
    for entry in lines:
        if entry is None:
            time.sleep(0.01)  # a slow stdin has nothing yet
        else:
            entries.append(entry)
    if lines.errors:
        raise UsageError(f"the list broke off: {lines.errors[0]}")
    return entries


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"-c takes whole numbers with commas between: 50,500, not {text!r}") from None


class Files:
    """Where the comparison goes beside the terminal. A file of ours is replaced, another never."""

    def __init__(self, *, html: str | None, json: str | None) -> None:
        self._html, self._json = html, json

    def check(self) -> None:
        """Raise UsageError or MissingPackage for what would fail after minutes of measuring."""
        if self._html is not None:
            _check(self._html, b'content="cormorant ', "--html")
            from cormorant.lab import report

            report.require()
        if self._json not in (None, "-"):
            _check(str(self._json), b"cormorant-comparison/", "--json")

    def write(self, comparison: Comparison, told: Callable[[str], None] | None) -> None:
        """Write what was asked for, each whole or not at all; `told` hears of it. Raises OutputError, naming it."""
        try:
            self._write_json(comparison, told)
        finally:
            self._write_html(comparison, told)

    def _write_json(self, comparison: Comparison, told: Callable[[str], None] | None) -> None:
        if self._json is None:
            return
        document = comparison.json() + b"\n"
        if self._json == "-":
            try:
                sys.stdout.buffer.write(document)
                sys.stdout.buffer.flush()
            except OSError as error:
                raise OutputError(f"cannot write to stdout: {error.strerror or error}") from error
            return
        from cormorant.lab import whole

        whole.write(self._json, document)
        if told is not None:
            told(f"wrote {self._json}")

    def _write_html(self, comparison: Comparison, told: Callable[[str], None] | None) -> None:
        if self._html is None:
            return
        from cormorant.lab import report

        report.write(comparison, self._html)
        if told is not None:
            told(f"wrote {self._html}")


def _check(path: str, ours: bytes, option: str) -> None:
    from cormorant.lab import whole

    if whole.is_special(path):
        return
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise UsageError(f"{path!r} cannot be written: name a file in a folder that is there by {option}")
    if not os.path.exists(path):
        return
    with open(path, "rb") as there:
        start = there.read(4096)
        if start and ours not in start:
            raise UsageError(f"{path!r} exists and is not one of ours, so it is kept: name another by {option}")
