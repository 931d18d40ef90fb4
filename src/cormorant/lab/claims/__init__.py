"""The claims, judged: what everyone repeats about concurrency in Python, measured on this machine.

Each claim (`claim.Claim`) is a measurement and a rule that turns its numbers into a `Verdict`: holds, does not hold,
or not measured here. `judge` takes them one at a time, each in a fresh process. By hand: `python -m
cormorant.lab.claims` for the table, with a NAME for one verdict as JSON.
"""

from cormorant.lab.claims.judging import judge
from cormorant.lab.claims.verdict import Verdict

__all__ = ["Verdict", "judge"]
