"""Named distributions, written as text: `constant:0`, `uniform:0.01:0.05`, `exponential:0.02`, `lognormal:0.02:0.8`.

A draw is the inverse of the cumulative distribution at a number between 0 and 1, so whoever holds that
number (the server, or the client that checks it) computes the same draw. No state, no random generator.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from statistics import NormalDist

from cormorant.errors import UsageError

_NORMAL = NormalDist()

# name -> (what its parameters are called, draw at u)
_SHAPES: dict[str, tuple[str, Callable[..., float]]] = {
    "constant": ("VALUE", lambda u, value: value),
    "uniform": ("LOW:HIGH", lambda u, low, high: low + u * (high - low)),
    "exponential": ("MEAN", lambda u, mean: -mean * math.log1p(-u)),
    "lognormal": ("MEDIAN:SIGMA", lambda u, median, sigma: median * math.exp(sigma * _NORMAL.inv_cdf(u))),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Distribution:
    """One distribution with its parameters; none is negative, so no draw is."""

    name: str
    parameters: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Distribution:
        """Read `NAME:PARAMETER[:PARAMETER]`; a bare number is a constant. Raises UsageError with the known forms."""
        name, _, rest = text.partition(":") if ":" in text else ("constant", "", text)
        form, _draw = _SHAPES.get(name, ("", None))
        try:
            parameters = tuple(float(part) for part in rest.split(":"))
        except ValueError:
            parameters = ()
        if not form or len(parameters) != form.count(":") + 1 or not all(0 <= p < math.inf for p in parameters):
            known = ", ".join(f"{name}:{form}" for name, (form, _draw) in _SHAPES.items())
            raise UsageError(f"{text!r} is no distribution; write one of {known} (numbers of 0 or more)")
        return cls(name, parameters)

    def at(self, u: float) -> float:
        """Return the draw at `u`, 0 < u < 1."""
        return _SHAPES[self.name][1](u, *self.parameters)
