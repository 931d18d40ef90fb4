"""What the answer to the question for a host's robots.txt means for its pages. Pure.

The cases of RFC 9309 2.3.1, in the order in which they are tried:
1. 2xx: the rules of the file hold.
2. 4xx, even where the body was cut, and other answers below 500: there is no file, everything is allowed. So says
   the RFC of 401, 403 and 429 too; a 429 passes, so it is asked again first.
3. Redirects that do not end (more than five, a loop, a scheme or an address that is not fetched): as 4xx.
4. A file longer than is read at all: everything is refused, for its rules are not known.
5. 5xx, a cut file, and all that kept an answer from coming: asked again, and when that does not help, everything is
   refused until the host comes up again later.
"""

from __future__ import annotations

import dataclasses

from cormorant.content import robots
from cormorant.content.robots import RobotsFile
from cormorant.messages import Failure, Kind, Outcome, Page

MOST_REDIRECTS = 5  # RFC 9309 2.3.1.2
AGAIN_SECONDS = (1.0, 4.0, 16.0, 60.0)  # after the first try, the second, ...; the last one stands for the rest
TOO_MANY_REQUESTS = 429


def robots_url(origin: str) -> str:
    """Return where the rules of `origin` (`urls.origin`) are."""
    return f"{origin}/robots.txt"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a host allows, for `keep_seconds`: what `file` does, nothing where `refused` says why, else everything.

    `kind` is how the pages end then: like the question itself (dns, connect, ...), or blocked after an answer.
    With `again_after_seconds` nothing is known yet: robots.txt is to be asked for again after that.
    """

    file: RobotsFile | None = None
    refused: str | None = None
    kind: Kind = Kind.BLOCKED
    again_after_seconds: float | None = None
    keep_seconds: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Robots:
    """Ask `tries` times in all; keep what came for `cache_seconds`, and for `back_after_seconds` that nothing did.

    RFC 9309 2.4: not longer than 24 hours.
    """

    tries: int = 3
    cache_seconds: float = 86_400.0
    back_after_seconds: float = 3600.0

    def judge(self, outcome: Outcome, tries: int) -> Verdict:
        """Say what `outcome` means, which is what came of try number `tries` (from 1), redirects followed."""
        if isinstance(outcome, Page) and outcome.status < 300:
            file = robots.read(outcome.body, outcome.final_url or outcome.url)
            return Verdict(file=file, keep_seconds=self.cache_seconds)
        if not _says_that_there_is_none(outcome):
            return self._unreachable(outcome, tries)
        if outcome.status == TOO_MANY_REQUESTS and tries < self.tries:
            return Verdict(again_after_seconds=_pause_seconds(tries))
        return Verdict(keep_seconds=self.cache_seconds)

    def _unreachable(self, outcome: Outcome, tries: int) -> Verdict:
        final = isinstance(outcome, Failure) and outcome.kind is Kind.TOO_LARGE
        if tries < self.tries and not final:
            return Verdict(again_after_seconds=_pause_seconds(tries))
        reason = f"HTTP {outcome.status}" if isinstance(outcome, Page) else outcome.message
        count = f"{tries} tries" if tries > 1 else "1 try"
        return Verdict(
            refused=f"robots.txt could not be read: {reason}, {count}",
            kind=outcome.kind or Kind.BLOCKED,
            keep_seconds=self.back_after_seconds,
        )


def _says_that_there_is_none(outcome: Outcome) -> bool:
    if isinstance(outcome, Page):
        return outcome.status < 500
    if outcome.status is not None and 400 <= outcome.status < 500:
        return True
    return outcome.kind in (Kind.REDIRECT, Kind.BLOCKED)


def _pause_seconds(tries: int) -> float:
    return AGAIN_SECONDS[min(tries, len(AGAIN_SECONDS)) - 1]
