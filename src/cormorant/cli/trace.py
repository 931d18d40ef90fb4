"""`cormorant trace`: one run as it really happened, on one time line, for Perfetto, and as a picture."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from cormorant.cli import choices, units
from cormorant.cli.choices import DEFAULTS, LIMITS, OUT, SPEED
from cormorant.cli.destination import STDOUT, data_stream
from cormorant.cli.exits import Exit, complain, told
from cormorant.errors import OutputError, UsageError
from cormorant.options import Options

if TYPE_CHECKING:
    from cormorant.lab.trace.events import Trace

EPILOG = """
Examples:

  cormorant trace

  cormorant trace https://a.example/ https://b.example/ -e greenlet

  cormorant trace -i urls.txt -e thread -c 3 --chrome trace.json --svg trace.svg

  cormorant trace --json - | jq '.events[] | select(.job == 0)'

Without URLs a few pages of the embedded site are traced. The exit code is 0 once the run was traced, whatever the \
pages came to, and 7 when Ctrl-C broke it off: what was heard by then is shown and written.
"""

_TIMEOUT: Any = None  # typer would have it parsed


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """Where the trace goes beside the terminal; one of them may be `-`, stdout, and the time line is on stderr then."""

    chrome: str | None
    svg: str | None
    json: str | None

    def check(self, sources: Sequence[str], overwrite: bool) -> None:
        """Raise UsageError or MissingPackage for what would fail after the run."""
        named = [path for path in self._all if path is not None and path != STDOUT]
        if self._all.count(STDOUT) > 1:
            raise UsageError(
                "--chrome, --svg and --json cannot share stdout; give - to one of them, and files to the rest"
            )
        if len({os.path.realpath(path) for path in named}) < len(named):
            raise UsageError("two outputs have the same name; give each file its own")
        for path in named:
            _check(path, sources, overwrite)
        if self.svg is not None:
            from cormorant.lab.trace import picture

            picture.require()

    @property
    def _all(self) -> tuple[str | None, ...]:
        return self.chrome, self.svg, self.json

    def open_stdout(self) -> BinaryIO | None:
        """Take stdout for the data if one of them is to go there."""
        return data_stream() if STDOUT in self._all else None

    def write(self, trace: Trace, stdout: BinaryIO | None) -> None:
        """Write what was asked for. Raises OutputError, naming the file."""
        from cormorant.lab.trace import picture
        from cormorant.lab.trace.chrome import chrome

        _write(self.chrome, stdout, lambda: chrome(trace))
        _write(self.svg, stdout, lambda: picture.svg(trace))
        _write(self.json, stdout, trace.json)


def _check(path: str, sources: Sequence[str], overwrite: bool) -> None:
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
        raise UsageError(f"{path!r} cannot be written: it is a folder or its folder is not there; name another file")
    if any(os.path.exists(source) and os.path.exists(path) and os.path.samefile(source, path) for source in sources):
        raise UsageError(f"{path!r} is both the list and the output; name another output")
    if os.path.exists(path) and not overwrite:
        raise UsageError(f"{path!r} exists; name another file or add --overwrite")


def _write(path: str | None, stdout: BinaryIO | None, content: Callable[[], bytes]) -> None:
    if path is None:
        return
    try:
        if path != STDOUT:
            Path(path).write_bytes(content())
            complain(f"wrote {path}")
        elif stdout is not None:
            stdout.write(content())
            stdout.flush()
    except BrokenPipeError as error:
        raise OutputError("the reader of the output left") from error
    except OSError as error:
        raise OutputError(f"cannot write {path!r}: {error.strerror or error}") from error


def trace(
    urls: Annotated[list[str] | None, typer.Argument(metavar="URL", help="Pages to fetch and trace.")] = None,
    input: choices.Input = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            "-e",
            metavar="ENGINE",
            rich_help_panel=SPEED,
            help="serial, pool, process, thread, greenlet, gevent or asyncio; see `cormorant engines`.",
        ),
    ] = DEFAULTS["engine"],
    concurrency: choices.Concurrency = DEFAULTS["concurrency"],
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="TIME",
            parser=units.seconds,
            rich_help_panel=LIMITS,
            show_default=f"{DEFAULTS['timeout']:g}s; 1s for the embedded pages",
            help="Total time for each one, from its start: 1.5, 500ms, 2m.",
        ),
    ] = _TIMEOUT,
    chrome: Annotated[
        str | None,
        typer.Option(
            "--chrome",
            metavar="FILE",
            rich_help_panel=OUT,
            help="Write Chrome's trace-event JSON; open it at ui.perfetto.dev or chrome://tracing. - is stdout.",
        ),
    ] = None,
    svg: Annotated[
        str | None,
        typer.Option(
            "--svg", metavar="FILE", rich_help_panel=OUT, help="Draw a picture (needs matplotlib). - is stdout."
        ),
    ] = None,
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", rich_help_panel=OUT, help="Write the events as JSON. - is stdout."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=OUT, help="Replace files that exist; else that is an error.")
    ] = False,
    all: Annotated[
        bool, typer.Option("--all", rich_help_panel=OUT, help="Show every event, not only the first 200.")
    ] = False,
) -> None:
    """Fetch pages and show every start, wait, wake and switch on one time line, each with who told of it."""
    with told():
        files = Files(chrome=chrome, svg=svg, json=json)
        sources = input or []
        embedded = not urls and not sources
        options = Options(engine=engine, concurrency=concurrency, timeout=_seconds(timeout, embedded))
        from cormorant import engines

        engines.require(engine)
        files.check(sources, overwrite)
        raise typer.Exit(_run(urls or [], sources, options, files, all))


def _seconds(asked: float | None, embedded: bool) -> float:
    """Return the timeout: as asked, else short for the embedded pages, of which one hangs."""
    if asked is not None:
        return asked
    from cormorant.lab.trace.embedded import TIMEOUT_SECONDS

    return TIMEOUT_SECONDS if embedded else float(DEFAULTS["timeout"])


def _run(urls: Sequence[str], sources: Sequence[str], options: Options, files: Files, all_events: bool) -> Exit:
    from cormorant.cli import timeline
    from cormorant.cli.inputs import Lines
    from cormorant.cli.splitter import LONGEST_URL_LINE, url_line
    from cormorant.lab.trace.tracer import record

    stdout = files.open_stdout()
    if options.engine == "gevent":
        _let_ctrl_c_pass_quietly()
    with _named_or_embedded(urls, sources) as first:
        lines = Lines(sources, url_line, LONGEST_URL_LINE, first=first)
        # A list that is all here opens no more workers than it has pages.
        recorded = record(lines if sources else [(url, None) for url in first], options)
    files.write(recorded, stdout)  # first: whoever reads the time line may leave before its end
    timeline.show(recorded, all_events=all_events)
    for line in lines.errors:
        complain(f"the list broke off: {line}")
    if recorded.broke_off:
        complain("stopped before the end: the trace holds what was heard until then")
        return Exit.STOPPED
    return Exit.USAGE if lines.errors else Exit.GOOD


def _let_ctrl_c_pass_quietly() -> None:
    """Keep gevent's hub from printing a traceback of its own before it passes a KeyboardInterrupt on."""
    import gevent

    gevent.get_hub().NOT_ERROR += (KeyboardInterrupt,)


@contextlib.contextmanager
def _named_or_embedded(urls: Sequence[str], sources: Sequence[str]) -> Iterator[Sequence[str]]:
    if urls or sources:
        yield urls
        return
    from cormorant.lab.trace import embedded

    with embedded.pages(embedded.WORKLOAD) as pages:
        yield pages
