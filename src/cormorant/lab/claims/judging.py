"""Judges claims one at a time, each in a fresh process, so that none measures what another has left behind."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence

import msgspec

from cormorant.lab import fresh
from cormorant.lab.claims.claim import Finding
from cormorant.lab.claims.registry import HOMES, claim, require
from cormorant.lab.claims.verdict import Verdict

DEADLINE_SECONDS = 30.0


def judge(names: Sequence[str] | None = None, *, told: Callable[[Verdict], None] | None = None) -> list[Verdict]:
    """Measure the claims of these names (None: all) and return a verdict for each, in order.

    `told` hears each verdict as soon as it stands. A claim that breaks, or takes longer than `DEADLINE_SECONDS`, has
    `holds` None and the error as its figure. Raises UsageError for an unknown name.
    """
    chosen = list(HOMES) if names is None else list(names)
    for name in chosen:
        require(name)
    verdicts = []
    for name in chosen:
        verdict = _judged_afresh(name)
        verdicts.append(verdict)
        if told is not None:
            told(verdict)
    return verdicts


def _judged_afresh(name: str) -> Verdict:
    try:
        return msgspec.json.decode(_said_by_child(name), type=Verdict)
    except (_ClaimError, msgspec.MsgspecError) as error:
        return claim(name).verdict(Finding(None, f"not measured: {error}"), {})


class _ClaimError(Exception):
    """A claim that gave no verdict; the text says why."""


def _said_by_child(name: str) -> bytes:
    with tempfile.TemporaryFile() as words:
        with fresh.running("cormorant.lab.claims", name, stderr=words) as child:
            try:
                said = child.communicate(timeout=DEADLINE_SECONDS)[0]
            except subprocess.TimeoutExpired:
                raise _ClaimError(f"it took longer than {DEADLINE_SECONDS:g} s") from None
        if child.returncode:
            words.seek(0)
            lines = words.read().decode(errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
            raise _ClaimError(f"{last} (exit code {child.returncode})")
        return said
