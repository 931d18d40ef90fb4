"""`cormorant map`: the user's own function over a list of items, under any engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from cormorant.cli import choices
from cormorant.cli.choices import DEFAULTS, IN
from cormorant.cli.destination import Destination
from cormorant.cli.exits import Exit, told
from cormorant.errors import UsageError
from cormorant.options import Options

EPILOG = """
Examples:

  cormorant map mymodule:function -i items.txt -e thread

  cormorant map mymodule:function -i items.jsonl -o results.jsonl -e process -c 4

  seq 1000 | cormorant map mymodule:function -i - --json -o -
"""

JSON_SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".jsonl.zst", ".ndjson.gz", ".ndjson.zst")


def map(
    function: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="Called with one item at a time.")],
    input: choices.Input = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", rich_help_panel=IN, help="Each line is a JSON value; so it is when FILE ends in .jsonl."
        ),
    ] = False,
    output: choices.Output = None,
    format: choices.Format = None,
    overwrite: choices.Overwrite = False,
    quiet: choices.Quiet = False,
    engine: choices.Engine = DEFAULTS["engine"],
    concurrency: choices.Concurrency = DEFAULTS["concurrency"],
    watchdog: choices.Watchdog = None,
    timeout: choices.Timeout = choices.TIMEOUT_DEFAULT,
) -> None:
    """Call your own function with each item of a list, many at once. Each item ends in exactly one result.

    `cormorant.get(url)` inside the function waits the way ENGINE waits. Under gevent the process is patched
    first, so that other libraries switch too; async functions run under asyncio.
    """
    with told():
        options = Options(engine=engine, concurrency=concurrency, timeout=timeout, watchdog=watchdog)
        destination = Destination(target=output, format=format, overwrite=overwrite, quiet=quiet)
        raise typer.Exit(_run(function, input or [], json, options, destination))


def _run(function: str, sources: Sequence[str], is_json: bool, options: Options, destination: Destination) -> Exit:
    if not sources:
        raise UsageError("no items: give -i FILE (-i - reads stdin)")
    # What has threads and locks of its own (the reader, the progress) is imported and built before the patching.
    from cormorant.cli.inputs import Lines
    from cormorant.cli.running import Work, carry_out
    from cormorant.cli.splitter import LONGEST_ITEM_LINE, json_line, text_line

    work = Work.of(options, noun="item", unit="item", sources=sources)
    if options.engine == "gevent":
        _patch()
    from cormorant import opening
    from cormorant.cli import usercode

    called = usercode.load(function)
    lines = Lines(sources, json_line if is_json or _all_json(sources) else text_line, LONGEST_ITEM_LINE)
    items = lines.values(opening.NOTHING_YET)
    return carry_out(lambda sink: opening.open_map(called, items, options, sink), lines, destination, work)


def _all_json(sources: Sequence[str]) -> bool:
    return all(source.endswith(JSON_SUFFIXES) for source in sources)


def _patch() -> None:
    """Patch before the user's module is imported: names it takes from `socket` or `time` must be the patched ones."""
    from gevent import monkey

    monkey.patch_all()
