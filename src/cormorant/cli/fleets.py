"""A command with workers: its words made into a fleet, and a sink for what the workers write themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cormorant.cli import choices
from cormorant.cli.destination import Destination
from cormorant.errors import UsageError
from cormorant.fleet.launch import open_fleet
from cormorant.fleet.wanted import Output, Wanted

if TYPE_CHECKING:
    from cormorant.cli.inputs import Lines
    from cormorant.fetching import Parse
    from cormorant.fleet.driver import Fleet
    from cormorant.interfaces import Sink
    from cormorant.jobs import Job


def begin_fleet(
    words: Mapping[str, Any],
    wanted: Wanted,
    lines: Lines,
    destination: Destination,
    parse: Parse | None,
    sink: Sink,
    job: Job | None,
    *,
    where: Mapping[str, Any] | None = None,
    since: str | None = None,
) -> Fleet:
    """Build the fleet behind a command; `where` are the bounds of a crawl. What goes to stdout goes through here."""
    if words.get("report_skipped") is not None:
        raise UsageError("--report-skipped is written by one worker: leave -w and --cluster out, or it")
    is_here = destination.is_stdout
    output = Output() if is_here else Output.of(destination, words["merge"])
    if is_here and words["merge"]:
        raise UsageError("--merge is for files: what goes to stdout is in one piece already")
    fleet = open_fleet(
        lines,
        dict(where or {}) | choices.options_in(words),
        wanted,
        output,
        is_crawl=where is not None,
        parse=parse,
        since=since,
        streams=is_here,
        job=job,
    )
    return fleet.save_to(sink) if is_here else fleet
