"""`python -m cormorant.lab.claims [NAME]`: all claims as a table, or one, measured in this process, as JSON.

With a name it is the child of `judging`.
"""

from __future__ import annotations

import contextlib
import resource
import sys

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cormorant.errors import CormorantError
from cormorant.lab.claims.judging import judge
from cormorant.lab.claims.registry import claim, require
from cormorant.lab.claims.verdict import Verdict

ENOUGH_FILES = (65_536, 10_240)  # macOS refuses more than the second

WORDS = {True: ("holds", "green"), False: ("does not hold", "red"), None: ("not measured", "yellow")}


def judge_one(name: str) -> None:
    """Measure one claim here and write its verdict to stdout."""
    require(name)
    _raise_file_limit()
    verdict = claim(name).judged()
    sys.stdout.buffer.write(msgspec.json.encode(verdict) + b"\n")


def _raise_file_limit() -> None:
    """Let this process open as many files as the system lets it, for a thousand connections and more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for enough in ENOUGH_FILES:
        wanted = enough if hard == resource.RLIM_INFINITY else min(hard, enough)
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return


def show_all() -> None:
    """Judge every claim and print each as soon as its verdict stands."""
    console = Console()
    console.print("The claims, judged on this machine", style="bold")
    judge(told=lambda verdict: console.print(block(verdict)))


def block(verdict: Verdict) -> Table:
    """Return one verdict as it is shown: the word, the sentence, the figure, and where it stands."""
    word, colour = WORDS[verdict.holds]
    table = Table.grid(padding=(0, 2))
    table.add_column(width=13)
    table.add_column(overflow="fold")
    table.add_row(Text(word, style=colour), Text(verdict.claim, style="bold"))
    table.add_row("", Text(verdict.figure))
    if verdict.source is not None:
        table.add_row("", Text(verdict.source, style="dim"))
    return table


if __name__ == "__main__":
    try:
        judge_one(sys.argv[1]) if sys.argv[1:] else show_all()
    except CormorantError as error:
        sys.exit(str(error))
