"""Fewer and later requests for a host that answers slower or asks for less, and back again when it recovers. Pure.

Theory of operation: additive increase, multiplicative decrease, as TCP shares a link (RFC 5681). A host that refuses
(429, 503, `Retry-After`) gets half as many at once and a gap that doubles; one that is slow half as many, and a gap
only when that is one at a time, never longer than an answer takes. One cut a round: what was under way when the cut
was made tells nothing new. A good answer first shortens the gap (the rate grows by a step), then widens the width by
1 / width, which is one more a round. Slow is measured against the host's own long average of the time to the first
byte, not against other hosts (precedent: Netflix concurrency-limits, Gradient2Limit), or against `target_seconds`.
"""

from __future__ import annotations

import dataclasses

from cormorant.messages import Failure, Kind, Outcome

REFUSALS = frozenset((429, 503))  # RFC 6585 4, RFC 9110 15.6.4
SLOW_PHASES = frozenset(("first_byte", "body"))  # a timeout there is a host that labours; elsewhere it is not there

UNLIMITED_WIDTH = 64  # where politeness sets no limit, halving must begin somewhere
FIRST_GAP = 0.5  # seconds
LEAST_GAP = 0.25  # seconds; a shorter one is none
RATE_STEP = 0.05  # starts a second, won by each good answer while there is a gap

WARM_UP = 8  # answers, whose mean is the first long average
LONG_SHARE, SHORT_SHARE = 1 / 256, 1 / 8  # what one answer counts in the averages
SLOWER, SLACK_SECONDS = 2.0, 0.1  # slow is beyond both: noise on a fast host is no distress


@dataclasses.dataclass(slots=True)
class Pace:
    """How a host is asked now: `width` at once, `gap` seconds apart. `usual` and `recent` are its latency averages.

    `echoes` counts the answers still to come of what was under way at the last cut.
    """

    width: float
    gap: float = 0.0
    usual: float = 0.0
    recent: float = 0.0
    answers: int = 0
    echoes: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Throttle:
    """Keep each host's width within 1 and `per_host` (0: 64), and its gap within 0 and `most_gap` seconds.

    `target_seconds` is the latency to steer by; None: the host's own.
    """

    per_host: int
    target_seconds: float | None = None
    most_gap: float = 60.0

    def fresh(self) -> Pace:
        """Return the pace a host begins with: full width, no gap."""
        return Pace(width=float(self.per_host or UNLIMITED_WIDTH))

    def is_cut(self, pace: Pace) -> bool:
        """Return whether a host is asked less than at first."""
        return pace.gap > 0 or pace.width < (self.per_host or UNLIMITED_WIDTH)

    def heard(self, pace: Pace, outcome: Outcome) -> None:
        """Learn from the outcome of one hop. What says nothing of the host's load is not heard."""
        is_refusal = _is_refusal(outcome)
        if isinstance(outcome, Failure) and not is_refusal and not _is_laboured(outcome):
            return
        is_echo = pace.echoes > 0
        pace.echoes -= is_echo
        if is_refusal or isinstance(outcome, Failure):
            is_bad = True
        elif outcome.status >= 500:
            return
        else:
            is_bad = self._is_slow(pace, outcome.timings.first_byte)
        if not is_bad:
            self._recover(pace)
        elif not is_echo:
            self._cut(pace, is_refusal)

    def _is_slow(self, pace: Pace, seconds: float) -> bool:
        pace.answers += 1
        pace.usual += (seconds - pace.usual) * (1 / pace.answers if pace.answers <= WARM_UP else LONG_SHARE)
        pace.recent += (seconds - pace.recent) * max(1 / pace.answers, SHORT_SHARE)
        bar = self.target_seconds or max(SLOWER * pace.usual, pace.usual + SLACK_SECONDS)
        return seconds > bar and pace.recent > bar

    def _cut(self, pace: Pace, is_refusal: bool) -> None:
        doubled = max(FIRST_GAP, 2 * pace.gap)
        if is_refusal:
            pace.gap = min(doubled, self.most_gap)
        elif pace.width <= 1:
            pace.gap = max(pace.gap, min(doubled, pace.recent, self.most_gap))
        pace.echoes = int(pace.width) - 1
        pace.width = max(1.0, pace.width / 2)

    def _recover(self, pace: Pace) -> None:
        if pace.gap:
            gap = pace.gap / (1 + RATE_STEP * pace.gap)
            pace.gap = gap if gap >= LEAST_GAP else 0.0
        else:
            pace.width = min(pace.width + 1 / pace.width, float(self.per_host or UNLIMITED_WIDTH))


def _is_refusal(outcome: Outcome) -> bool:
    status = outcome.status or 0
    return status in REFUSALS or (status >= 300 and outcome.header("retry-after") is not None)


def _is_laboured(failure: Failure) -> bool:
    return failure.kind is Kind.TIMEOUT and failure.phase in SLOW_PHASES
