"""From the words of a call to a fleet: what cannot be together is refused, and room is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cormorant import stores
from cormorant.errors import OutputError, UsageError
from cormorant.fetching import Parse
from cormorant.fleet import files
from cormorant.fleet.driver import Fleet
from cormorant.fleet.plan import Plan
from cormorant.fleet.wanted import Output, Wanted
from cormorant.jobs import DEALT
from cormorant.opening import Crawling
from cormorant.sinks import stored

if TYPE_CHECKING:
    from cormorant.interfaces import Cluster
    from cormorant.jobs import Job
    from cormorant.opening import Positioned

# What a split lets `polite_by` be.
POLITE = {"domain": ("host", "domain"), "host": ("host",), "address": ("address",), "url": ("host",)}


def open_fleet(
    entries: Positioned,
    words: Mapping[str, Any],
    wanted: Wanted,
    output: Output,
    *,
    is_crawl: bool,
    parse: Parse | None = None,
    since: str | None = None,
    streams: bool,
    job: Job | None = None,
) -> Fleet:
    """Build the fleet behind a call with workers. `words` are its options. Raises UsageError."""
    _check(words, wanted, is_crawl)
    if job is not None:
        job.cut(wanted.cut)
    cluster = _cluster(wanted, output.is_stored)
    plan = Plan(
        is_crawl=is_crawl,
        words=dict(words),
        parse=parse,
        since=None if since is None else stores.absolute(since),
        split=wanted.split,
        shards=wanted.cut if job is None else int(job.options["shards"]),
        folder="" if job is None or output.is_stored else os.path.abspath(job.folder),
        is_lasting=job is not None,
        streams=streams,
        target=None if output.target is None else stores.absolute(output.target),
        format=output.format,
        overwrite=output.overwrite,
        rotate_bytes=output.rotate_bytes,
        merges=output.merges,
        is_leased=cluster.is_leased,
    )
    if is_crawl:
        Crawling(words)  # max_pages is checked here: the shards do not see it
    plan.checked()
    number = min(wanted.number, plan.shards)
    if wanted.cluster is None:  # whose nodes have limits of their own
        files.check(plan.shards, number)
    plan.pickled()
    if job is not None and output.is_stored:
        _check_is_there(job, str(output.target))
    if job is None or job.is_new:
        output.make_room()
    if job is not None and job.is_new:
        job.remember({DEALT: {}})  # from now on what stands there is the job's
    return Fleet(plan, entries, cluster, number, job)


def _check(words: Mapping[str, Any], wanted: Wanted, is_crawl: bool) -> None:
    if is_crawl and wanted.split != "domain":
        raise UsageError(
            "a crawl with workers is split by domain, where it is known how far it goes from its seeds: leave split out"
        )
    by = words.get("polite_by", "host")
    if wanted.split == "address" != by:
        raise UsageError(
            "split 'address' keeps together what shares a budget by address: give polite_by='address', too"
        )
    if by not in POLITE[wanted.split]:
        raise UsageError(
            f"polite_by={by!r} cannot be kept when hosts are split by {wanted.split} among workers: "
            + ("leave workers out" if is_crawl and by == "address" else f"use split {by}")
        )


def _check_is_there(job: Job, target: str) -> None:
    """Raise OutputError where a job goes on, and what its shards have published is gone: their journals, too."""
    if any(job.counters(DEALT).values()) and not stored.is_there(target):
        raise OutputError(
            f"cannot go on with {target}: what job {job.folder} has put there is gone; put it back, or begin a new job "
            "with a new output"
        )


def _cluster(wanted: Wanted, is_stored: bool) -> Cluster:
    if wanted.cluster is None:
        from cormorant.fleet.processes import Processes

        return Processes()
    from cormorant.fleet.ray import RayCluster

    return RayCluster(wanted.cluster, sees_our_folders=not is_stored)
