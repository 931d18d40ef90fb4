"""A host that fails time after time is left alone, looked after, and at last given up. Pure.

Theory of operation. What is known of a host is a `Trust`: closed while it answers; after `limit` of its faults in a
row open, nothing starts there until it has cooled; then half open, one probe at a time. A good answer closes it, a
failed probe opens it for twice as long, and after `probes` failed probes the host is given up. What says nothing
of the host is not booked on it: our own limits, a lost worker, a user's function, a policy of ours. Pattern:
https://martinfowler.com/bliki/CircuitBreaker.html
"""

from __future__ import annotations

import dataclasses
import math

from cormorant.messages import Failure, Kind, Outcome

HOST_FAULTS = frozenset((Kind.DNS, Kind.CONNECT, Kind.TLS, Kind.TIMEOUT, Kind.PROTOCOL, Kind.TRUNCATED))
# The host answered; that the answer is of no use to us is no fault of its health.
ANSWERS = frozenset((Kind.TOO_LARGE, Kind.REDIRECT))
# RFC 9110 15.6.2 and 15.6.6: "not implemented", "HTTP version not supported" come from hosts that work.
HEALTHY_5XX = frozenset((501, 505))
LONGEST_MESSAGE = 200  # characters


@dataclasses.dataclass(slots=True)
class Trust:
    """What a `Breaker` knows of one host. `failures` counts its faults in a row, `last` is the latest in words.

    `open_until` is an instant of the scheduler's clock, infinity once the host is given up.
    """

    failures: int = 0
    failed_probes: int = 0
    is_open: bool = False
    is_probing: bool = False
    cool_seconds: float = 0.0
    open_until: float = 0.0
    last_kind: Kind | None = None
    last: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Breaker:
    """Open after `limit` faults in a row (0: never) for `cool_seconds`, doubling up to `most_cool_seconds`.

    After `probes` probes that failed too, the host is given up.
    """

    limit: int = 0
    cool_seconds: float = 30.0
    most_cool_seconds: float = 600.0
    probes: int = 3

    def fresh(self) -> Trust:
        """Return the trust a host begins with."""
        return Trust()

    def heard(self, trust: Trust, outcome: Outcome, now: float) -> None:
        """Book the outcome of one hop. It is told before redirects and retries are decided."""
        if not self.limit or trust.open_until == math.inf:
            return
        fault = is_host_fault(outcome)
        if fault is None:
            return
        if not fault:
            if trust.failures:
                _close(trust)
            return
        trust.failures += 1
        trust.last_kind, trust.last = outcome.kind, _words(outcome)
        # What was under way when the breaker opened comes home late, and is no probe.
        if trust.is_probing:
            trust.is_probing = False
            trust.failed_probes += 1
            self._open(trust, now)
        elif not trust.is_open and trust.failures >= self.limit:
            self._open(trust, now)

    def may_start(self, trust: Trust, active: int, now: float) -> bool:
        """Return whether a request may start at `now`, with `active` under way to the host.

        In a half open state a True makes whatever comes home next the probe.
        """
        if not trust.is_open:
            return True
        if active or trust.open_until == math.inf or now < trust.open_until:
            return False
        trust.is_probing = True
        return True

    def not_before(self, trust: Trust) -> float:
        """Return the instant before which nothing may start: 0.0 while closed, infinity when given up."""
        return trust.open_until

    def given_up(self, trust: Trust) -> str | None:
        """Return, in words, that and why the host is given up, or None."""
        if trust.open_until != math.inf:
            return None
        times = "1 failure" if trust.failures == 1 else f"{trust.failures:,} failures in a row"
        return f"host given up after {times}, the last: {trust.last}"

    def _open(self, trust: Trust, now: float) -> None:
        trust.is_open = True
        if trust.failed_probes >= self.probes:
            trust.open_until = math.inf
            return
        trust.cool_seconds = min(2 * trust.cool_seconds or self.cool_seconds, self.most_cool_seconds)
        trust.open_until = now + trust.cool_seconds


def is_host_fault(outcome: Outcome) -> bool | None:
    """Return whether the host failed (True), answered (False), or neither can be said (None).

    429 is an answer: the throttle's matter. A timeout of the whole job (phase `job`) is that of a user's function,
    because the transport ends a late hop before the engine does.
    """
    if not isinstance(outcome, Failure):
        return outcome.status >= 500 and outcome.status not in HEALTHY_5XX
    if outcome.kind is Kind.TIMEOUT and outcome.phase == "job":
        return None
    if outcome.kind in HOST_FAULTS:
        return True
    return False if outcome.kind in ANSWERS else None


def _close(trust: Trust) -> None:
    trust.failures = trust.failed_probes = 0
    trust.is_open = trust.is_probing = False
    trust.cool_seconds = trust.open_until = 0.0
    trust.last_kind, trust.last = None, ""


def _words(outcome: Outcome) -> str:
    if isinstance(outcome, Failure):
        return f"{outcome.kind}: {outcome.message[:LONGEST_MESSAGE]}"
    return f"status {outcome.status}"
