"""How much of us one host has to bear. Pure. A host is scheme, host and port (`urls.origin`)."""

from __future__ import annotations

import dataclasses

from cormorant.errors import UsageError
from cormorant.options import POLITE_BY
from cormorant.policies.domains import registered_domain


@dataclasses.dataclass(frozen=True, slots=True)
class Politeness:
    """At most `per_host` requests at once (0: no limit), and `delay` seconds between two starts.

    `jitter` stretches a gap by up to that share of it. A `Crawl-delay` counts up to `most_delay` seconds. `by` says
    what shares one budget: each host, all hosts of a registered domain, or all at one address. So many are `sharing` a
    host, each with gaps of its own: every gap is that many times as long.
    """

    per_host: int = 8
    delay: float = 0.0
    jitter: float = 0.0
    most_delay: float = 30.0
    by: str = "host"
    sharing: int = 1

    def __post_init__(self) -> None:
        if self.by not in POLITE_BY:
            raise UsageError(f"politeness by {self.by!r} is unknown; write one of {', '.join(POLITE_BY)}")

    def has_room(self, active: int, width: float | None = None) -> bool:
        """Return whether a host with `active` requests under way may get another; a throttle's `width` narrows it."""
        if width is not None and active + 1 > width:
            return False
        return self.per_host == 0 or active < self.per_host

    def gap(self, crawl_delay: float | None, pace_gap: float, draw: float) -> float:
        """Return the seconds until the next start to a host: never below the delay, whatever `draw` in [0, 1) is.

        `crawl_delay` is what its robots.txt asks for, `pace_gap` what the throttle does. Clamped as StormCrawler
        does: a site that asks for an hour gets `most_delay`.
        """
        gap = max(self.delay, pace_gap)
        if crawl_delay is not None:
            gap = max(gap, min(crawl_delay, self.most_delay))
        return (gap + gap * self.jitter * draw) * self.sharing

    def key(self, origin: str, address: str | None) -> str:
        """Name what a host shares its budget with: by address the origin itself until its `address` is known."""
        if self.by == "domain":
            return registered_domain(origin)
        if self.by == "address":
            return address or origin
        return origin
