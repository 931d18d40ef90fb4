"""When a fleet is done: nobody has work, and no mail is on its way. Pure.

A worker that looks idle may be about to get mail from one that was busy when it was asked. So all are asked in waves,
and it is over when two waves in a row find all idle, as many items received as sent, and the same numbers both times:
the four counter method (Mattern, Algorithms for distributed termination detection, 1987). What is sent counts when it
is committed, what is received too, so that a worker's death takes nothing back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Answer(NamedTuple):
    """What a worker says of itself in a wave: items sent and received by its shards since their beginning."""

    is_idle: bool
    sent: int
    received: int


class Waves:
    """Asks all members in waves. `wave` is the number of the one under way; 0: none."""

    def __init__(self) -> None:
        self.wave = 0
        self._answers: dict[int, Answer] = {}
        self._before: tuple[int, int] | None = None

    def begin(self) -> int:
        """Begin a wave; returns its number, which every member is to be asked by."""
        self.wave += 1
        self._answers = {}
        return self.wave

    def disturb(self) -> None:
        """Hear that a member has died, or that there was input: what was heard before counts no more."""
        self._before, self._answers = None, {}
        self.wave += 1

    def answer(self, wave: int, member: int, answer: Answer) -> None:
        """Take an answer; one to an earlier wave is ignored."""
        if wave == self.wave:
            self._answers[member] = answer

    def is_over(self, members: Collection[int]) -> bool | None:
        """Return what this wave says, once, or None: not all have answered. When it says no, begin another."""
        if set(members) - self._answers.keys():
            return None
        answers, self._answers = list(self._answers.values()), {}
        sent, received = sum(one.sent for one in answers), sum(one.received for one in answers)
        if not all(one.is_idle for one in answers) or sent != received:
            self._before = None
            return False
        before, self._before = self._before, (sent, received)
        return before == (sent, received)
