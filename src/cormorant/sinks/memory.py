"""A list of outcomes, for tests and small jobs."""

from __future__ import annotations

from cormorant.errors import OutputError
from cormorant.messages import Outcome, Result


class Memory:
    """Keeps every outcome in `outcomes`, in the order written."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome | Result] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<Memory of {len(self.outcomes)} outcomes{', closed' if self._closed else ''}>"

    def write(self, outcome: Outcome | Result) -> None:
        """Append one outcome or one Result of `map`."""
        if self._closed:
            raise OutputError("the memory sink is closed; nothing more can be written")
        self.outcomes.append(outcome)

    def flush(self) -> None:
        """Do nothing: what is written is there."""

    def close(self) -> None:
        """Refuse further writing; `outcomes` stays. Safe to call twice."""
        self._closed = True
