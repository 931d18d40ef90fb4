"""`cormorant engines`: which engines there are, what each does while a page is on its way, and what is missing here."""

from __future__ import annotations

import sys

from cormorant.cli.destination import is_terminal

# Into a pipe the table keeps one line per engine.
WIDTH_IN_A_PIPE = 250

EPILOG = """
Choose one with `cormorant fetch -e NAME`.
"""


def engines() -> None:
    """List the engines: available here? who waits, how it switches, threads, processes, cores."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from cormorant import engines as known

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("engine", "here", "who waits", "how it switches", "threads", "processes", "cores", "-c"):
        table.add_column(heading, overflow="fold")
    missing = []
    for name in known.names():
        facts, line = known.facts(name), known.missing(name)
        if line is not None:
            missing.append(f"{name}: {line}")
        here = "yes" if line is None else "no"
        row = (facts.waits, facts.switches, facts.threads, facts.processes, facts.cores, str(facts.default_concurrency))
        table.add_row(name, here, *row)
    console = Console(width=None if is_terminal(sys.stdout) else WIDTH_IN_A_PIPE)
    console.print(table)
    for line in missing:
        console.print(f"to install {line}", markup=False)
