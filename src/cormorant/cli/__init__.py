"""Words on the command line, turned into one call of the api: one file per command.

Laws: stdout is data, stderr is progress and log; a user's mistake is one message and an exit code, never a
traceback; `--help` imports no engine and no pycurl.
"""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process."""
    # Imported here: every worker process imports the script it was started from, and needs neither typer nor rich.
    from cormorant.cli.app import main as run

    run()
