"""Which outcomes deserve another attempt, and how long to wait before it. Pure.

The statuses are curl's and Scrapy's; faults of our own machine (`local`) wait as well but are nobody's blame.
"""

from __future__ import annotations

import dataclasses

from cormorant.messages import Kind, Outcome, Page

PASSING_STATUSES = frozenset((408, 429, 500, 502, 503, 504, 522, 524))
PASSING_KINDS = frozenset((Kind.DNS, Kind.CONNECT, Kind.TIMEOUT, Kind.TRUNCATED, Kind.WORKER_LOST, Kind.LOCAL))


@dataclasses.dataclass(frozen=True, slots=True)
class Retries:
    """At most `limit` further attempts, `first_seconds` before the first, doubling up to `most_seconds`."""

    limit: int = 0
    first_seconds: float = 0.5
    most_seconds: float = 60.0

    def wait_seconds(self, outcome: Outcome) -> float | None:
        """Return how long to wait before the next attempt, or None when `outcome` is final."""
        if outcome.attempts > self.limit:
            return None
        passing = outcome.status in PASSING_STATUSES if isinstance(outcome, Page) else outcome.kind in PASSING_KINDS
        return min(self.first_seconds * 2 ** (outcome.attempts - 1), self.most_seconds) if passing else None
