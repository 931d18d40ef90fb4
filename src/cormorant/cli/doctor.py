"""`cormorant doctor` and `--version`: what this installation is made of, and which of its limits are in the way."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cormorant.cli.choices import DEFAULTS, SPEED
from cormorant.cli.exits import Exit, told

if TYPE_CHECKING:
    from cormorant.lab.doctor.checks import Check, Wish

EPILOG = """
Examples:

  cormorant doctor

  cormorant doctor -e thread -c 2000

  cormorant doctor --json   (send this along with a bug report)

Exit codes: 0 no problem · 1 a problem · 2 wrong usage.
"""

STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def version_line() -> str:
    """Return our version and Python's in one line."""
    # Imported here: it takes 14 ms that --help need not wait for.
    import importlib.metadata

    try:
        version = importlib.metadata.version("cormorant")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed)"
    return f"cormorant {version} (Python {platform.python_version()})"


def doctor(
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            "-c",
            min=1,
            metavar="N",
            rich_help_panel=SPEED,
            show_default="the engine's own",
            help="Check whether so many can run at once.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option("--engine", "-e", metavar="ENGINE", rich_help_panel=SPEED, help="Under which engine."),
    ] = DEFAULTS["engine"],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Check the limits of this machine against a run of so many at once, each with its fix.

    Open files, ports, resolver, CPU, memory, threads and processes, libcurl, certificates, packages.
    """
    with told():
        from cormorant import engines
        from cormorant.lab.doctor import checks, facts

        at_once = concurrency or engines.facts(engine).default_concurrency
        wish = checks.Wish(engine=engine, concurrency=at_once)
        found = checks.examine(facts.machine(), wish)
    if json:
        _print_json(found, wish)
    else:
        _print(found)
    problems = [check for check in found if check.state is checks.State.PROBLEM]
    raise typer.Exit(Exit.FAILURES if problems else Exit.GOOD)


def _print(found: list[Check]) -> None:
    typer.echo(f"{version_line()}, {platform.platform()}")
    typer.echo(f"{sys.executable}, engines {_engines()}\n")
    for check in found:
        typer.echo(f"{typer.style(f'{check.state:<8}', fg=STYLES[check.state])} {check.name}: {check.found}")
        if check.fix is not None:
            typer.echo(f"{'':<8} fix: {check.fix}")


def _print_json(found: list[Check], wish: Wish) -> None:
    import msgspec

    report = {
        "version": version_line(),
        "platform": platform.platform(),
        "executable": sys.executable,
        "engine": wish.engine,
        "concurrency": wish.concurrency,
        "checks": found,
    }
    typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())


def _engines() -> str:
    from cormorant import engines

    return ", ".join(name if engines.missing(name) is None else f"({name})" for name in engines.names())
