"""What was found of one claim on this machine: a record that travels as JSON, into comparisons and reports."""

from __future__ import annotations

import msgspec


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One claim, judged by what was measured here and now.

    `name` is the slug, `claim` the sentence as people say it. `holds` is None when it was not measured, and `figure`
    then says why; otherwise `figure` is one line with the numbers. `how` says what was measured and by which rule it
    was judged, `source` where the claim or its correction stands. `values` are the numbers by name, each with its unit.
    """

    name: str
    claim: str
    holds: bool | None
    figure: str
    how: str
    source: str | None = None
    values: dict[str, float] = {}
