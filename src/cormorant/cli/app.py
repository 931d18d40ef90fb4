"""The command `cormorant`: registers the commands, one file each, and ends the process with the right code."""

from __future__ import annotations

import logging
from typing import Annotated, NoReturn

import typer

from cormorant.cli import (
    cat,
    compare,
    crawl,
    demo,
    doctor,
    engines,
    explain,
    fetch,
    job,
    map,
    plan,
    resume,
    site,
    trace,
)
from cormorant.cli.exits import Exit, LogOnStderr, leave

EPILOG = """
Examples:

  cormorant fetch https://a.example/ https://b.example/

  cormorant fetch -i urls.txt -o pages.jsonl -e gevent -c 200

  cat urls.txt | cormorant fetch -i - -o - | jq .status

Exit codes: 0 all good · 1 some failed · 2 wrong usage or unreadable input · 3 none succeeded · 4 output not written · \
5 engine lost · 7 stopped · 130 stopped at once · 141 the reader of stdout left.
"""

app = typer.Typer(
    name="cormorant",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module, command in (
    (fetch, fetch.fetch),
    (crawl, crawl.crawl),
    (resume, resume.resume),
    (job, job.job),
    (plan, plan.plan),
    (cat, cat.cat),
    (map, map.map),
    (engines, engines.engines),
    (site, site.site),
    (demo, demo.demo),
    (compare, compare.compare),
    (trace, trace.trace),
    (explain, explain.explain),
    (doctor, doctor.doctor),
):
    app.command(epilog=module.EPILOG)(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(doctor.version_line())
        raise typer.Exit(0)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", "-V", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fetch web pages in bulk with any of Python's concurrency models."""


def main() -> NoReturn:
    """Run the command line."""
    logging.getLogger("cormorant").addHandler(LogOnStderr())
    try:
        app(prog_name="cormorant")
    except SystemExit as ending:
        code = ending.code
    except KeyboardInterrupt:
        code = Exit.KILLED
    leave(code if isinstance(code, int) else Exit.FAILURES)
