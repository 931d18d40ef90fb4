"""`cormorant explain ENGINE`: how an engine waits, the essence of its own source, and a live trace of three pages."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from cormorant.cli.destination import is_terminal
from cormorant.cli.exits import complain, told
from cormorant.cli.summary import counted
from cormorant.errors import MissingPackage

if TYPE_CHECKING:
    from cormorant.lab.trace.explanation import Excerpt

WIDTH = 100

EPILOG = """
Examples:

  cormorant explain greenlet

  cormorant explain thread --no-trace
"""


def explain(
    engine: Annotated[
        str, typer.Argument(metavar="ENGINE", help="serial, pool, process, thread, greenlet, gevent or asyncio.")
    ],
    trace: Annotated[
        bool, typer.Option("--trace/--no-trace", help="Fetch three pages of the embedded site and show what happened.")
    ] = True,
) -> None:
    """Explain how an engine waits: in words, in its own code, and in a live trace of three pages."""
    with told():
        from cormorant.lab.trace import explanation

        words = explanation.of(engine)
        for heading, text in (("waits", words.waits), ("costs", words.costs), ("a hung page", words.hung)):
            typer.echo(textwrap.fill(text, WIDTH, initial_indent=f"{heading:<12} ", subsequent_indent=" " * 13))
        for excerpt in explanation.excerpts(engine):
            _show_code(excerpt)
        typer.echo("")
        if trace:
            _show_trace(engine)
        else:
            typer.echo("The live trace is left out (--no-trace).")


def _show_code(excerpt: Excerpt) -> None:
    from rich.console import Console
    from rich.syntax import Syntax

    more = f", without its last {counted(excerpt.left_out, 'line')}" if excerpt.left_out else ""
    typer.echo(f"\n{excerpt.place}  {excerpt.name}{more}")
    code = "\n".join(excerpt.lines)
    if is_terminal(sys.stdout):
        Console().print(Syntax(code, "python", background_color="default"))
    else:
        typer.echo(code)


def _show_trace(engine: str) -> None:
    from cormorant.cli import timeline
    from cormorant.lab.trace import embedded
    from cormorant.lab.trace.tracer import record
    from cormorant.options import Options

    try:
        with embedded.pages(embedded.THREE) as urls:
            options = Options(engine=engine, timeout=embedded.THREE_TIMEOUT_SECONDS)
            recorded = record([(url, None) for url in urls], options)
    except MissingPackage as error:
        complain(f"the live trace is left out: {error}")
        return
    typer.echo(f"Live: a good page, a slow one, and one that hangs. All of it: cormorant trace -e {engine} --all")
    timeline.show_essence(recorded)
