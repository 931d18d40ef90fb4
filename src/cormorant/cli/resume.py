"""`cormorant resume`: a job goes on as it was begun, or under another engine."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import Annotated, Any

import typer

from cormorant.cli import choices, crawl, fetch
from cormorant.cli.exits import told
from cormorant.errors import UsageError

EPILOG = """
Examples:

  cormorant resume jobs/run1

  cormorant resume jobs/run1 -e asyncio -c 500

What decides which pages are fetched, and where they go, stays as it was begun. To change another option than these, \
run the first command again with it: it goes on too.

Exit codes: as of `cormorant fetch`.
"""

RUNS = {"fetch": fetch.run, "crawl": crawl.run}


def _nothing() -> None:
    """Stand for an option that was not there yet when the job was begun."""


def resume(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The folder given to --job.")],
    engine: Annotated[
        str | None,
        typer.Option("--engine", "-e", metavar="ENGINE", show_default="as before", help="Go on under this engine."),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", metavar="N", show_default="as before", help="How many at once."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-w", min=1, metavar="N", show_default="as before", help="How many workers."),
    ] = None,
    accept_changed_list: choices.AcceptChangedList = False,
    quiet: choices.Quiet = False,
) -> None:
    """Go on with a job where it stopped, however it stopped: by Ctrl-C, kill -9, a full disk or a power cut."""
    changes = {"engine": engine, "concurrency": concurrency, "workers": workers}
    with told():
        from cormorant.jobs import Job

        changed = {name: value for name, value in changes.items() if value is not None}
        held = Job.resume(job, changed, accept_changed_list)
        with contextlib.closing(held):
            words = defaultdict[str, Any](_nothing, held.options | {"job": job, "quiet": quiet, "overwrite": False})
            run = RUNS.get(str(words["command"]))
            if run is None:
                raise UsageError(f"job {job} was begun by {words['command']}: call that again with the same list")
            raise typer.Exit(run(words, held))
