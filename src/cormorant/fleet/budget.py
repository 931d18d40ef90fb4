"""A crawl's `max_pages` among workers: each asks a page out of what it was granted, and no page more than all together.

The driver grants fair shares of what is left (`Budget`), a worker spends them (`Allowance`), and one
that has nothing to do gives back what it has left. When all is spent, and nothing is left with anybody, all hear that
it is over: what still waits is left out then, as in a crawl of one worker. Of a worker that died only what it had
committed counts as spent: the rest is asked again. Pure.
"""

from __future__ import annotations

import dataclasses

import msgspec


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """How a worker stands with its grants, in pages: those of its life, what is left, what it gave back.

    `wants`: it has work and nothing left.
    """

    given: int = 0
    left: int = 0
    returned: int = 0
    wants: bool = False


class Allowance:
    """A worker's side. `is_over`: nothing more will be granted, and nobody is to wait for it."""

    def __init__(self) -> None:
        self.given = self.left = self.returned = 0
        self.wants = self.is_over = False

    def grant(self, pages: int) -> None:
        """Take a grant."""
        self.given += pages
        self.left += pages
        self.wants = False

    def give_back(self) -> None:
        """Give back all that is left."""
        self.returned += self.left
        self.left = 0

    @property
    def standing(self) -> Standing:
        """How it stands."""
        return Standing(self.given, self.left, self.returned, self.wants)


@dataclasses.dataclass(slots=True)
class _Account:
    asked_before: int = 0  # by its shards, when it took them
    given: int = 0
    standing: Standing = dataclasses.field(default_factory=Standing)
    is_told: bool = False  # that it is over

    @property
    def is_heard(self) -> bool:
        return self.standing.given == self.given


class Budget:
    """The driver's side: `most` pages in all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._accounts: dict[int, _Account] = {}

    def join(self, member: int) -> None:
        """Hear of a new worker."""
        self._accounts[member] = _Account()

    def leave(self, member: int) -> None:
        """Hear that a worker is gone; its shards say what they had asked when another takes them."""
        self._accounts.pop(member, None)

    def taken(self, member: int, asked_for: int) -> None:
        """Hear that a worker took a shard that had asked for so many pages."""
        self._accounts[member].asked_before += asked_for

    def heard(self, member: int, standing: Standing) -> None:
        """Hear how a worker stands."""
        if member in self._accounts:
            self._accounts[member].standing = standing

    @property
    def available(self) -> int:
        """How many pages may still be granted."""
        bound = (one.asked_before + one.given - one.standing.returned for one in self._accounts.values())
        return self._most - sum(bound)

    def decide(self) -> list[tuple[int, int | None]]:
        """Return whom to tell what: a number of pages is a grant, 0 asks back what is left, None says it is over."""
        hungry = [number for number, one in self._accounts.items() if one.standing.wants and one.is_heard]
        if not hungry:
            return []
        available = self.available
        if available <= 0:
            return self._end_of_it(hungry)
        said: list[tuple[int, int | None]] = []
        for number in hungry:
            pages = min(available, max(1, self.available // len(self._accounts)))
            if pages > 0:
                available -= pages
                self._accounts[number].given += pages
                said.append((number, pages))
        return said

    def _end_of_it(self, hungry: list[int]) -> list[tuple[int, int | None]]:
        """With nothing to grant: have others give back, or say that it is over once nobody has anything left."""
        if not all(one.is_heard for one in self._accounts.values()):
            return []
        holders = [number for number, one in self._accounts.items() if one.standing.left]
        if holders:
            return [(number, 0) for number in holders]
        ended = [number for number in hungry if not self._accounts[number].is_told]
        for number in ended:
            self._accounts[number].is_told = True
        return [(number, None) for number in ended]
