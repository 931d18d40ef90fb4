"""`cormorant demo`: the same list under every engine, from the embedded site, and a table of who waited for whom."""

from __future__ import annotations

from typing import Annotated

import typer

from cormorant.cli.exits import told

EPILOG = """
Examples:

  cormorant demo

  cormorant demo --pages 500 -e greenlet -e asyncio
"""


def demo(
    pages: Annotated[int, typer.Option("--pages", min=10, help="How many pages each engine fetches.")] = 200,
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", "-e", metavar="ENGINE", show_default="all", help="May be repeated."),
    ] = None,
) -> None:
    """Fetch a list with slow, broken and hung pages under every engine and compare."""
    with told():
        from cormorant.lab.demo import run

        raise typer.Exit(run(pages=pages, engines=engine))
