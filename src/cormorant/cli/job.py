"""`cormorant job`: how a job stands; and what of it is to be tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cormorant.cli.exits import told
from cormorant.cli.terminal import neutral
from cormorant.cli.units import span_text

if TYPE_CHECKING:
    from cormorant.frontier.job_state import State

EPILOG = """
Examples:

  cormorant job jobs/run1

  cormorant job jobs/run1 --retry timeout,connect

  cormorant job jobs/run1 --json | jq .left

A job is begun by `cormorant fetch ... --job jobs/run1` (or `crawl`), and goes on by the same command or by `cormorant \
resume jobs/run1`.
"""


def job(
    folder: Annotated[str, typer.Argument(metavar="JOB", help="The folder given to --job.")],
    retry: Annotated[
        str | None,
        typer.Option(
            "--retry",
            metavar="KINDS",
            help="Let what failed so wait again: timeout,connect,http_error and so on. Their records stay in the "
            "output; of a URL that has several the last one counts.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The state as one JSON object.")] = False,
) -> None:
    """Show how a job stands, also while it runs: done, failed by kind, left, by host, rate and time left."""
    with told():
        from cormorant.jobs import Job

        if retry is not None:
            kinds = [kind.strip().replace(" ", "_") for kind in retry.split(",")]
            count = Job.retry(folder, [kind for kind in kinds if kind])
            if not count:
                typer.echo("nothing to try again")
                return
            which = "  ".join(f"{kind}: {many:,}" for kind, many in sorted(count.items()))
            typer.echo(f"{sum(count.values()):,} wait again  {which}".rstrip())
            typer.echo(f"go on: run the same command (or Python call) again, or: cormorant resume {folder}")
            return
        state = Job.look(folder)
        if json:
            import msgspec

            typer.echo(msgspec.json.encode(state).decode())
            return
        typer.echo("\n".join(_lines(folder, state)))


def _lines(folder: str, state: State) -> list[str]:
    """Return the state in lines."""
    lines = [f"job {neutral(folder)}: {_standing(state)}"]
    rows = [("ok", state.ok), ("http_error", state.http_errors), *sorted(state.failed.items(), key=lambda one: -one[1])]
    lines += [f"{count:>12,}  {name}" for name, count in rows if count or name == "ok"]
    lines.append(f"{state.left:>12,}  left of what was found{_of_the_list(state)}")
    if state.rate is not None:
        eta = f", {span_text(state.seconds_left)} left" if state.seconds_left else ""
        lines.append(f"{state.rate:>12,.1f}  a second over {span_text(state.seconds)}{eta}")
    if state.hosts:
        lines += ["", f"{'done':>12}  {'failed':>9}  {'left':>9}  host"]
    return lines + [f"{one.done:>12,}  {one.failed:>9,}  {one.left:>9,}  {neutral(one.host)}" for one in state.hosts]


def _standing(state: State) -> str:
    if state.running is not None:
        return f"running ({state.running}), {state.done:,} done"
    is_done = not state.left and state.is_list_read
    return f"{'done' if is_done else 'stopped'}, {state.done:,} done"


def _of_the_list(state: State) -> str:
    if state.is_list_read:
        return ""
    return "; the list is not read to its end" + (f" ({state.list_share:.0%})" if state.list_share is not None else "")
