"""`cormorant plan`: what a list asks for and how long it must take, before anything is fetched."""

from __future__ import annotations

import json as json_format
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cormorant.cli import choices, units
from cormorant.cli.choices import DEFAULTS, IN, OUT, SPEED
from cormorant.cli.exits import Exit, complain, refuse_files, told
from cormorant.errors import UsageError
from cormorant.options import Options

if TYPE_CHECKING:
    from cormorant.cli.inputs import Lines
    from cormorant.interfaces import Entry
    from cormorant.planning import Plan

EPILOG = """
Examples:

  cormorant plan -i urls.txt --delay 1

  cormorant plan -i urls.txt --delay 1 --polite-by domain --latency 800ms --json

The time is a lower bound: no host is slower than --latency, none asks for a longer gap, nothing is tried again.
"""

_DELAY: Any = f"{DEFAULTS['delay']:g}"
_LATENCY: Any = "200ms"


def plan(
    urls: Annotated[list[str] | None, typer.Argument(metavar="URL", help="Pages to fetch.")] = None,
    input: choices.Input = None,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", rich_help_panel=IN, help="Count a URL as often as it is listed.")
    ] = DEFAULTS["keep_duplicates"],
    engine: choices.Engine = DEFAULTS["engine"],
    concurrency: choices.Concurrency = DEFAULTS["concurrency"],
    per_host: choices.PerHost = DEFAULTS["per_host"],
    delay: choices.Delay = _DELAY,
    polite_by: choices.PoliteBy = DEFAULTS["polite_by"],
    robots: choices.Robots = DEFAULTS["robots"],
    latency: Annotated[
        float,
        typer.Option(
            "--latency",
            metavar="TIME",
            parser=units.seconds,
            rich_help_panel=SPEED,
            help="What a page is assumed to take.",
        ),
    ] = _LATENCY,
    json: Annotated[bool, typer.Option("--json", rich_help_panel=OUT, help="Print the plan as JSON.")] = False,
) -> None:
    """Say how many pages and hosts a list has, the shortest time it can take, and the host that decides it."""
    words = dict(locals())
    with told():
        if not urls and not input:
            raise UsageError("nothing to plan: give URLs, or -i FILE (-i - reads stdin)")
        refuse_files(urls or [])
        from cormorant import engines
        from cormorant.cli.inputs import Lines
        from cormorant.cli.splitter import LONGEST_URL_LINE, url_line
        from cormorant.planning import plan as planned

        lines = Lines(input or [], url_line, LONGEST_URL_LINE, first=urls or [])
        options = Options.of(choices.options_in(words))
        width = concurrency or engines.facts(engine).default_concurrency
        found = planned(_whole(lines), options, width, latency)
        _show_json(found) if json else _show(found)
        for error in lines.errors:
            complain(f"the list broke off: {error}")
        raise typer.Exit(Exit.USAGE if lines.errors or (found.bad and not found.pages) else Exit.GOOD)


def _whole(lines: Lines) -> Iterator[Entry]:
    for entry in lines:
        if entry is None:
            time.sleep(0.01)  # a slow stdin has nothing yet
        else:
            yield entry


def _show_json(found: Plan) -> None:
    import msgspec

    typer.echo(json_format.dumps(msgspec.to_builtins(found), indent=2))


def _show(found: Plan) -> None:
    from cormorant.cli.summary import counted

    rest = [(found.duplicates, "duplicates"), (found.bad, "lines that are no URL")]
    besides = "".join(f", {count:,} {what}" for count, what in rest if count)
    typer.echo(f"{counted(found.pages, 'page')} on {counted(found.hosts, 'host')}{besides}")
    typer.echo(f"at least {units.span_text(found.seconds)}: {_reason(found)}")
    for host in found.slowest:
        typer.echo(f"{units.span_text(host.seconds):>12}  {host.requests:>9,} requests  {host.host}")


def _reason(found: Plan) -> str:
    each = f"{units.span_text(found.latency_seconds)} a page assumed"
    if found.critical is None:
        return f"{found.concurrency:,} at once decide, {each}"
    return f"{found.critical.host} decides, {each}"
