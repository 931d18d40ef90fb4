"""`cormorant cat`: outcomes of any of our formats, as JSON Lines on stdout."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cormorant.cli.exits import Exit, told
from cormorant.errors import OutputError

if TYPE_CHECKING:
    from cormorant.messages import Outcome

EPILOG = """
Examples:

  cormorant cat pages.warc.gz | jq .status

  cormorant cat pages.parquet older/pages.sqlite > all.jsonl

  cormorant cat pages/ | head -1

A file is read with all its parts (pages-00001.warc.gz and so on).
"""


def cat(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files and folders that cormorant wrote.")],
    format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="What they are, where their names do not say it.")
    ] = None,
) -> None:
    """Print what was fetched, a record a line, whatever format it was written in."""
    with told():
        from cormorant.reading import read

        outcomes = [read(name, format) for name in files]  # all are looked for before anything is printed
        try:
            _print(outcomes)
        except BrokenPipeError as error:
            raise OutputError("the reader of the output left") from error
        raise typer.Exit(Exit.GOOD)


def _print(outcomes: Iterable[Iterator[Outcome]]) -> None:
    from cormorant.cli.destination import data_stream
    from cormorant.sinks.jsonl import JsonLines

    sink = JsonLines(data_stream())
    try:
        for outcome in itertools.chain.from_iterable(outcomes):
            sink.write(outcome)
    finally:
        sink.close()
