"""A claim before it is judged: what is said, how it is measured, and the rule that turns the numbers into a verdict.

The rule is a pure function of the numbers, so that another machine may come to another verdict and a test can give
it any numbers. What a machine or an installation cannot give is not among the numbers; `by_name` finds what is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from cormorant.lab.claims.verdict import Verdict

Values: TypeAlias = dict[str, float]

COROUTINES = ("greenlet", "gevent", "asyncio")


class Finding(NamedTuple):
    """What a rule says of the numbers: `holds` is None when they cannot tell, and `figure` then says why."""

    holds: bool | None
    figure: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One piece of folklore. `measure` works on this machine, `rule` is pure; `how` states both in words."""

    name: str
    says: str
    how: str
    measure: Callable[[], Values]
    rule: Callable[[Values], Finding]
    source: str | None = None

    def judged(self) -> Verdict:
        """Measure here and now, in this process."""
        values = self.measure()
        finding = self.rule(values)
        return self.verdict(finding, values)

    def verdict(self, finding: Finding, values: Values) -> Verdict:
        """Return the record of a finding."""
        return Verdict(
            name=self.name,
            claim=self.says,
            holds=finding.holds,
            figure=finding.figure,
            how=self.how,
            source=self.source,
            values=values,
        )


def by_name(values: Mapping[str, float], ending: str) -> Values:
    """Return the values whose names end in `ending`, by what stands before it: `{"thread": 5e3}` of `_switch_ns`."""
    return {name.removesuffix(ending): value for name, value in values.items() if name.endswith(ending)}


def without(found: Mapping[str, float], wanted: Sequence[str]) -> str:
    """Return the words that name what was left out because it is not installed here, or nothing."""
    missing = [name for name in wanted if name not in found]
    return f"; not installed here and left out: {', '.join(missing)}" if missing else ""
