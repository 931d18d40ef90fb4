"""What a `FetchScheduler` is given: the opinions it asks, and what it puts on every request."""

from __future__ import annotations

import dataclasses

from cormorant.messages import Headers
from cormorant.policies.breaker import Breaker
from cormorant.policies.politeness import Politeness
from cormorant.policies.redirects import Redirects
from cormorant.policies.retries import Retries
from cormorant.policies.robots import Robots
from cormorant.policies.throttle import Throttle
from cormorant.scheduler.intake import Conditions


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FetchPolicies:
    """The opinions a `FetchScheduler` asks, and what it puts on every request.

    `robots` None: robots.txt is not asked for. `conditions` gives the headers that make a request for a URL
    conditional (RFC 9110 13).
    """

    politeness: Politeness
    retries: Retries
    redirects: Redirects
    seconds: float
    headers: Headers
    keep_duplicates: bool
    breaker: Breaker = dataclasses.field(default_factory=Breaker)
    throttle: Throttle | None = None
    robots: Robots | None = None
    robots_token: str = ""
    conditions: Conditions | None = None
