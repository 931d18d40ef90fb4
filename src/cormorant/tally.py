"""How many outcomes of a run ended how. Picklable, and JSON for a job that goes on counting."""

from __future__ import annotations

import msgspec

from cormorant.messages import Failure, Outcome, Page, Result


class Tally(msgspec.Struct, kw_only=True):
    """Counts of outcomes. `failed` by kind, `statuses` by HTTP status, `bytes` of decoded bodies.

    `by_robots` of the blocked ones are pages that a robots.txt keeps us from.
    """

    ok: int = 0
    http_errors: int = 0
    failed: dict[str, int] = {}
    statuses: dict[int, int] = {}
    bytes: int = 0
    by_robots: int = 0

    @property
    def done(self) -> int:
        """All outcomes."""
        return self.ok + self.http_errors + sum(self.failed.values())

    def count(self, outcome: Outcome | Result) -> None:
        """Count one outcome, or a Result of `map`."""
        if isinstance(outcome, Page):
            self.bytes += len(outcome.body)
            self.statuses[outcome.status] = self.statuses.get(outcome.status, 0) + 1
            if outcome.ok:
                self.ok += 1
            else:
                self.http_errors += 1
        elif outcome.kind is None:
            self.ok += 1
        else:
            kind = outcome.kind.value
            self.failed[kind] = self.failed.get(kind, 0) + 1
            if isinstance(outcome, Failure) and outcome.phase == "robots":
                self.by_robots += 1
