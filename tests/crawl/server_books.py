"""What the truth log of the rude site says of politeness: gaps and order, host by host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from rude import Hit

CLOCK_SECONDS = 0.005  # how much later than it came a loaded machine may note a request


def by_host(hits: Iterable[Hit], party: Callable[[str], str] = lambda host: host) -> dict[str, list[Hit]]:
    """Return the requests of each host (without its port), in the order they came."""
    found: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        found[party(hit.host.partition(":")[0])].append(hit)
    return dict(found)


def least_gap(hits: Iterable[Hit], lags: Mapping[str, float]) -> float:
    """Return the least seconds between two requests.

    `lags` are the seconds from sending a request (by its URL) to its answer: so much later than it came the server may
    have noted it, and so much longer the gap after it was.
    """
    gaps = (
        (later.t_ns - earlier.t_ns) / 1e9 + lags[f"http://{earlier.host}{earlier.path}"]
        for earlier, later in pairwise(hits)
    )
    return min(gaps, default=float("inf"))


def paths(hits: Iterable[Hit]) -> list[str]:
    """Return what was asked for."""
    return [hit.path for hit in hits]
