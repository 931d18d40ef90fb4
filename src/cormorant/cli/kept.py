"""A command that is run as a job: its words are remembered in the job's folder, and checked when it goes on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cormorant import stores
from cormorant.cli.destination import STDOUT
from cormorant.cli.exits import complain
from cormorant.errors import UsageError

if TYPE_CHECKING:
    from cormorant.jobs import Job
    from cormorant.worker import Statistics

NOT_REMEMBERED = ("job", "accept_changed_list", "quiet", "overwrite")
FOLDER = "folder"  # a word that is remembered besides: where the command was given
PATHS = ("output", "since", "report_skipped")


@contextlib.contextmanager
def kept(command: str, words: Mapping[str, Any], lists: Sequence[str], job: Job | None) -> Iterator[Job | None]:
    """Open the job that `words` name, or go on with the `job` that is open; None where it is to be none. Closes it."""
    if job is None and words["job"] is not None:
        from cormorant.jobs import Job

        if words["output"] in (None, STDOUT):
            raise UsageError("a job needs an output that can be cut back after a crash: give -o FILE beside --job")
        accept = words["accept_changed_list"]
        job = Job.open(words["job"], _remembered(command, words), lists, accept_changed_list=accept)
    with contextlib.nullcontext() if job is None else contextlib.closing(job):
        yield job


def reading(job: Job | None) -> dict[str, Any]:
    """Return how the `Lines` of a run that is a job are read; nothing else of one that is none."""
    return {} if job is None else {"start": job.position, "ends_where_broken": True}


def greet(job: Job, statistics: Statistics) -> None:
    """Say that a job goes on, and what became of the last run if that did not say it itself."""
    if job.killed_before is not None:
        complain(f"job {job.folder}: its last run ended without a word ({job.killed_before}); nothing is lost")
    if job.is_done:
        complain(f"job {job.folder} is done: nothing is left to fetch")
    elif job.options.get("shards") is not None:
        complain(f"job {job.folder} goes on, in {job.options['shards']} shards") if not job.is_new else None
    elif not job.is_new:
        complain(f"job {job.folder} goes on: {statistics.done:,} done")


def _remembered(command: str, words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words that make the run what it is, with paths that mean the same from everywhere."""
    rest = {name: value for name, value in words.items() if name not in NOT_REMEMBERED}
    for name in PATHS:
        if rest.get(name) is not None:
            rest[name] = stores.absolute(rest[name])
    for name in ("input", "seeds"):
        if rest.get(name):
            rest[name] = [stores.absolute(one) if os.path.exists(one) else one for one in rest[name]]
    return {"command": command, FOLDER: os.getcwd()} | rest
