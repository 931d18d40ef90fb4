"""`cormorant trace`: one run as it really happened, on one time line, for Perfetto, and as a picture."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cormorant.cli import choices, units
from cormorant.cli.choices import DEFAULTS, LIMITS, OUT, SPEED
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

Without URLs a few pages of the embedded site are traced. The exit code is 0 once the run was traced, whatever the \
pages came to.
"""

_TIMEOUT: Any = None  # typer would have it parsed


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """Where the trace goes beside the terminal."""

    chrome: str | None
    svg: str | None
    json: str | None

    def check(self, sources: Sequence[str], overwrite: bool) -> None:
        """Raise UsageError or MissingPackage for what would fail after the run."""
        named = [path for path in (self.chrome, self.svg, self.json) if path is not None]
        if len({os.path.realpath(path) for path in named}) < len(named):
            raise UsageError("two outputs have the same name; give each file its own")
        for path in named:
            _check(path, sources, overwrite)
        if self.svg is not None:
            from cormorant.lab.trace import picture

            picture.require()

    def write(self, trace: Trace) -> None:
        """Write what was asked for. Raises OutputError, naming the file."""
        from cormorant.lab.trace import picture
        from cormorant.lab.trace.chrome import chrome

        _write(self.chrome, lambda path: _whole(path, chrome(trace)))
        _write(self.svg, lambda path: picture.svg(trace, path))
        _write(self.json, lambda path: _whole(path, trace.json()))


def _check(path: str, sources: Sequence[str], overwrite: bool) -> None:
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
        raise UsageError(f"{path!r} cannot be written: it is a folder or its folder is not there; name another file")
    if any(os.path.exists(source) and os.path.exists(path) and os.path.samefile(source, path) for source in sources):
        raise UsageError(f"{path!r} is both the list and the output; name another output")
    if os.path.exists(path) and not overwrite:
        raise UsageError(f"{path!r} exists; name another file or add --overwrite")


def _whole(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _write(path: str | None, write: Callable[[Path], None]) -> None:
    if path is None:
        return
    try:
        write(Path(path))
    except OSError as error:
        raise OutputError(f"cannot write {path!r}: {error.strerror or error}") from error
    complain(f"wrote {path}")


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
            help="Write Chrome's trace-event JSON; open it at ui.perfetto.dev or chrome://tracing.",
        ),
    ] = None,
    svg: Annotated[
        str | None,
        typer.Option("--svg", metavar="FILE", rich_help_panel=OUT, help="Draw a picture (needs matplotlib)."),
    ] = None,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE", rich_help_panel=OUT, help="Write the events as JSON.")
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

    with _named_or_embedded(urls, sources) as first:
        lines = Lines(sources, url_line, LONGEST_URL_LINE, first=first)
        # A list that is all here opens no more workers than it has pages.
        recorded = record(lines if sources else [(url, None) for url in first], options)
    files.write(recorded)  # first: whoever reads the time line may leave before its end
    timeline.show(recorded, all_events=all_events)
    for line in lines.errors:
        complain(f"the list broke off: {line}")
    return Exit.USAGE if lines.errors else Exit.GOOD


@contextlib.contextmanager
def _named_or_embedded(urls: Sequence[str], sources: Sequence[str]) -> Iterator[Sequence[str]]:
    if urls or sources:
        yield urls
        return
    from cormorant.lab.trace import embedded

    with embedded.pages(embedded.WORKLOAD) as pages:
        yield pages
