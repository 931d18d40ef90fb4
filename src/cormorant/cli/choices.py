"""The options that commands share, each with its name, unit and help in one place.

Defaults are those of `cormorant.options.Options`, read from there so that they cannot drift apart.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from cormorant.cli import units
from cormorant.options import Options

DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Options)}
TIMEOUT_DEFAULT: Any = f"{DEFAULTS['timeout']:g}s"

IN, OUT, SPEED, LIMITS, REQUEST = "Input", "Output", "Speed and politeness", "Limits and retries", "Request"

Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="FILE",
        rich_help_panel=IN,
        help="Read the list from FILE, one a line; .gz and .zst are unpacked, - is stdin. May be repeated.",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        rich_help_panel=OUT,
        help="Where results go, chosen by suffix: .jsonl, a folder ending in /, - for stdout as JSON Lines. Without "
        "it: readable lines on a terminal, JSON Lines into a pipe.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="FORMAT", rich_help_panel=OUT, help="Override the suffix of OUT: jsonl or folder."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", rich_help_panel=OUT, help="Replace OUT if it exists; else that is an error.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel=OUT, help="No progress and no summary; errors are still told.")
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        "-e",
        metavar="ENGINE",
        rich_help_panel=SPEED,
        help="serial, pool, process, thread, greenlet, gevent or asyncio; see `cormorant engines`. auto chooses "
        "from a short probe, and says why.",
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        "-c",
        metavar="N",
        rich_help_panel=SPEED,
        show_default="the engine's own",
        help="How many at once.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="TIME",
        parser=units.seconds,
        rich_help_panel=LIMITS,
        help="Total time for each one, from its start: 1.5, 500ms, 2m.",
    ),
]
Watchdog = Annotated[
    float | None,
    typer.Option(
        "--watchdog",
        metavar="TIME",
        parser=units.seconds,
        rich_help_panel=SPEED,
        show_default="no watch",
        help="Name each call that holds the loop longer than TIME, with its stack (greenlet, gevent, asyncio).",
    ),
]
