"""How many files the shards of a worker keep open, and how many a process may: the limit is raised where it can be."""

from __future__ import annotations

import resource
from contextlib import suppress

from cormorant.engines import DESCRIPTORS_OF_OUR_OWN
from cormorant.errors import UsageError

FILES_A_SHARD = 5  # journal, its log, its lock, the part, its folder


def check(shards: int, workers: int) -> None:
    """Raise UsageError for more shards a worker than a process may keep open. A death does not count: they move on."""
    a_worker = -(-shards // workers)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    need = a_worker * FILES_A_SHARD + 2 * DESCRIPTORS_OF_OUR_OWN
    if most != resource.RLIM_INFINITY and need > most:
        raise UsageError(
            f"{a_worker} shards a worker keep {need:,} files open, and a process may open {most:,} here (ulimit -Hn): "
            f"give more workers, or, for a new job, fewer shards, or raise the limit: ulimit -n {need}"
        )


def make_room(shards: int) -> None:
    """Let this process open as many files more as `shards` keep open, if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    wanted = soft + shards * FILES_A_SHARD
    with suppress(ValueError, OSError):  # macOS has a limit beside the one it tells
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
