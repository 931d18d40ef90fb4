"""From one engine to the next, without waiting for what still runs under the first."""

from __future__ import annotations

from typing import Any

from cormorant.interfaces import Engine
from cormorant.messages import Done

LOOK_EVERY_SECONDS = 0.02  # how often the first engine is asked while the second one waits


class Relay:
    """Implements `interfaces.Engine`: what was started before `hand_to` ends where it runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._before: Engine | None = None
        self._under_way = self._left_before = 0

    def hand_to(self, engine: Engine) -> None:
        """Start every further job in `engine`."""
        self._before, self._engine = self._engine, engine
        self._left_before, self._under_way = self._under_way, 0
        self._close_before_if_empty()

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        """Begin a job."""
        self._engine.start(ticket, argument, seconds)
        self._under_way += 1

    def collect(self, timeout: float | None) -> list[Done]:
        """Return every job that has ended, in either engine."""
        if self._before is None:
            ended = self._engine.collect(timeout)
            self._under_way -= len(ended)
            return ended
        first = self._before.collect(0.0)
        self._left_before -= len(first)
        self._close_before_if_empty()
        patience = LOOK_EVERY_SECONDS if timeout is None else min(timeout, LOOK_EVERY_SECONDS)
        ended = self._engine.collect(0.0 if first else patience)
        self._under_way -= len(ended)
        return first + ended

    def _close_before_if_empty(self) -> None:
        if self._before is not None and not self._left_before:
            before, self._before = self._before, None
            before.close()

    def close(self) -> None:
        """Close both."""
        try:
            self._engine.close()
        finally:
            if self._before is not None:
                self._before.close()
