"""A crawl's pages among workers: never more than there are, all of them where there is work, whoever dies."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cormorant.fleet.budget import Allowance, Budget, Standing

PAGES = st.integers(min_value=1, max_value=40)


class Crowd:
    """Workers with so much work each, which may die; a driver that hears them in the order in which it is told to."""

    def __init__(self, most: int, work: list[int]) -> None:
        self.budget = Budget(most)
        self.work = dict(enumerate(work))
        self.committed = dict.fromkeys(self.work, 0)
        self.asked = dict.fromkeys(self.work, 0)
        self.allowances: dict[int, Allowance] = {}
        for number in self.work:
            self.join(number)

    def join(self, number: int) -> None:
        self.budget.join(number)
        self.budget.taken(number, self.committed[number])
        self.allowances[number] = Allowance()

    def turn(self, number: int) -> None:
        """Let a worker ask for a page, or say that it cannot."""
        allowance = self.allowances[number]
        if allowance.is_over:
            self.work[number] = 0
        allowance.wants = self.work[number] > 0 and not allowance.left
        if self.work[number] and allowance.left:
            allowance.left -= 1
            self.work[number] -= 1
            self.asked[number] += 1
        self.budget.heard(number, allowance.standing)

    def commit(self, number: int) -> None:
        self.committed[number] = self.asked[number]

    def die(self, number: int) -> None:
        """Replace a worker: what it had not committed is to be asked again."""
        self.budget.leave(number)
        self.work[number] += self.asked[number] - self.committed[number]
        self.asked[number] = self.committed[number]
        self.join(number)

    def decide(self) -> None:
        for number, pages in self.budget.decide():
            allowance = self.allowances[number]
            if pages is None:
                allowance.is_over = True
            elif pages:
                allowance.grant(pages)
            else:
                allowance.give_back()


@settings(deadline=None)
@given(most=PAGES, work=st.lists(st.integers(0, 30), min_size=1, max_size=4), moves=st.lists(st.integers(0, 11)))
def test_all_pages_are_asked_for_and_not_one_more(most: int, work: list[int], moves: list[int]) -> None:
    crowd = Crowd(most, work)
    wanted = min(most, sum(work))
    for move in moves:
        number, what = move % len(work), move // 4
        (crowd.turn, crowd.commit, crowd.die)[what](number)
        crowd.decide()
        assert sum(crowd.asked.values()) <= most
    for _ in range(20 * (most + sum(work) + 5)):
        for number in crowd.work:
            crowd.turn(number)
        crowd.decide()
        if not any(crowd.work.values()):
            break
    assert not any(crowd.work.values()), "somebody waits for ever"
    assert sum(crowd.asked.values()) == wanted


def test_what_is_left_with_an_idle_worker_goes_to_one_that_has_work() -> None:
    budget = Budget(10)
    for number in (0, 1):
        budget.join(number)
        budget.heard(number, Standing(wants=True))
    assert budget.decide() == [(0, 5), (1, 2)]
    budget.heard(0, Standing(given=5, left=5))
    budget.heard(1, Standing(given=2, left=0, wants=True))
    assert budget.decide() == [(1, 1)]
    budget.heard(1, Standing(given=3, left=0, wants=True))
    assert budget.decide() == [(1, 1)]
    budget.heard(1, Standing(given=4, left=0, wants=True))
    assert budget.decide() == [(1, 1)]
    budget.heard(1, Standing(given=5, left=0, wants=True))
    assert budget.decide() == [(0, 0)]
    budget.heard(0, Standing(given=5, left=0, returned=5))
    assert budget.decide() == [(1, 2)]


def test_it_is_over_only_when_nobody_has_anything_left() -> None:
    budget = Budget(1)
    budget.join(0)
    budget.heard(0, Standing(wants=True))
    assert budget.decide() == [(0, 1)]
    assert budget.decide() == [], "the grant is on its way"
    budget.heard(0, Standing(given=1, left=0, wants=True))
    assert budget.decide() == [(0, None)]
    assert budget.decide() == [], "it was told"
