"""Which outcomes deserve another attempt, and how long to wait before it. Pure.

The wait doubles and is drawn from the whole of it ("full jitter",
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), so that those who failed together do not
come back together. What a host asks for by `Retry-After` is waited out first, and when that is too long the
outcome is final. A `Budget` keeps an outage from becoming a storm.
"""

from __future__ import annotations

import dataclasses

from cormorant.messages import Failure, Kind, Outcome

# curl --retry has 408, 429, 500, 502, 503, 504; Scrapy's RETRY_HTTP_CODES adds Cloudflare's 522 and 524.
PASSING_STATUSES = frozenset((408, 429, 500, 502, 503, 504, 522, 524))
# Scrapy's RETRY_EXCEPTIONS in our words. Not PROTOCOL: a server that breaks the rules does so again, and what passes
# (closed without an answer, reset, cut) is CONNECT or TRUNCATED in `transport/faults.py`. Not TLS: certificates stay.
PASSING_KINDS = frozenset((Kind.DNS, Kind.CONNECT, Kind.TIMEOUT, Kind.TRUNCATED, Kind.WORKER_LOST, Kind.LOCAL))

MOST_DOUBLINGS = 60  # beyond any `most_seconds`, and no float runs over
FOREVER_SECONDS = 1e9  # what a longer Retry-After counts as: thirty years


@dataclasses.dataclass(frozen=True, slots=True)
class Retries:
    """At most `limit` further attempts, drawn from `first_seconds` before the first, doubling up to `most_seconds`.

    A host's `Retry-After` is waited out up to `most_retry_after` seconds. Faults of our own machine (kind local) are
    nobody's blame and get `local_limit` further attempts even where the host's get none.
    """

    limit: int = 0
    first_seconds: float = 0.5
    most_seconds: float = 60.0
    most_retry_after: float = 300.0
    local_limit: int = 5

    def wait_seconds(self, outcome: Outcome, draw: float) -> float | None:
        """Return how long to wait before the next attempt, with `draw` in [0, 1), or None when `outcome` is final."""
        if not self._may_pass(outcome):
            return None
        asked = self.retry_after(outcome) or 0.0
        if asked > self.most_retry_after:
            return None
        doublings = min(max(outcome.attempts - 1, 0), MOST_DOUBLINGS)
        return asked + draw * min(self.first_seconds * 2.0**doublings, self.most_seconds)

    @staticmethod
    def retry_after(outcome: Outcome) -> float | None:
        """Return the seconds `Retry-After` asks for (0.0 for a date gone by), or None without one that makes sense.

        RFC 9110 10.2.3: seconds, or a date. A date counts from the answer's own `Date`, so that a host whose clock is
        wrong is understood; without one from `fetched_at`.
        """
        text = outcome.header("retry-after")
        if text is None:
            return None
        text = text.strip()
        if text.isascii() and text.isdigit():
            return min(float(text), FOREVER_SECONDS)
        until = _epoch_seconds(text)
        since = _epoch_seconds(outcome.header("date") or "") or outcome.fetched_at
        if until is None or not since:
            return None
        return min(max(until - since, 0.0), FOREVER_SECONDS)

    def _may_pass(self, outcome: Outcome) -> bool:
        if isinstance(outcome, Failure):
            limit = max(self.limit, self.local_limit) if outcome.kind is Kind.LOCAL else self.limit
            return outcome.attempts <= limit and outcome.kind in PASSING_KINDS
        return outcome.attempts <= self.limit and outcome.status in PASSING_STATUSES


class Budget:
    """Retries of a whole run: `at_once` to begin with, and `share` of one more for each first attempt.

    So a short list may retry all it wants, while in an outage a long one asks at most `share` more than it would
    have. Never more than `at_once` are saved up. Precedent: gRPC's retry throttling (gRFC A6), Finagle's RetryBudget.
    """

    __slots__ = ("_at_once", "_left", "_share")

    def __init__(self, share: float = 0.1, at_once: int = 1000) -> None:
        self._share, self._at_once = share, float(at_once)
        self._left = self._at_once

    def earn(self) -> None:
        """Note a first attempt."""
        self._left = min(self._left + self._share, self._at_once)

    def spend(self) -> bool:
        """Take one retry out; returns whether there was one."""
        if self._left < 1.0 - 1e-6:  # ten times 0.1 is a little less than 1
            return False
        self._left -= 1.0
        return True

    def __repr__(self) -> str:
        return f"<Budget left={self._left:.1f} of {self._at_once:.0f}>"


def _epoch_seconds(text: str) -> float | None:
    """Return an HTTP-date (RFC 9110 5.6.7, all three forms) in seconds since the epoch, or None."""
    from email.utils import mktime_tz, parsedate_tz  # 20 ms that most runs never need

    try:
        parts = parsedate_tz(text)
        return None if parts is None else float(mktime_tz(parts))
    except (ArithmeticError, IndexError, TypeError, ValueError):  # a date that no calendar has
        return None
