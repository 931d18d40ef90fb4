"""What a reader must know before the figures of a comparison. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cormorant.lab.comparison import Origin, Trial, WorkDone


def caveats_of(trials: Sequence[Trial], origin: Origin, work: WorkDone) -> list[str]:
    """Return the caveats that follow from what was measured, the most telling first."""
    found = [*_differences(trials), *_failures(trials, work), *_errors(trials), *_about(trials, origin, work)]
    if origin.is_ours:
        found.append("The origin is on the same machine and takes its share of the cores; loopback has no distance.")
    else:
        found.append("The origin is not ours: its speed, its limits and the network between are in every figure.")
    return found


def _differences(trials: Sequence[Trial]) -> list[str]:
    """Say when engines came to other ends over the same work."""
    ends = {(trial.ok, trial.http_errors, *sorted(trial.failed.items())) for trial in trials if trial.error is None}
    if len(ends) < 2:
        return []
    told = "; ".join(sorted({_ends(trial) for trial in trials if trial.error is None}))
    return [f"The engines did not come to the same ends: {told}."]


def _failures(trials: Sequence[Trial], work: WorkDone) -> list[str]:
    """Say what failed of the user's own work; the embedded list has its failing pages on purpose."""
    if work.source == "embedded":
        return []
    failing = [trial for trial in trials if trial.error is None and (trial.failed or trial.http_errors)]
    return [f"Not all jobs were good, and the others count for nothing: {_ends(failing[0])}."] if failing else []


def _ends(trial: Trial) -> str:
    failed = "".join(f", {count} {kind}" for kind, count in sorted(trial.failed.items()))
    return f"{trial.engine} at {trial.concurrency}: {trial.ok} ok, {trial.http_errors} http errors{failed}"


def _errors(trials: Sequence[Trial]) -> list[str]:
    broken = [trial for trial in trials if trial.error is not None]
    return [f"{trial.engine} at {trial.concurrency}, repeat {trial.repeat}, broke: {trial.error}" for trial in broken]


def _about(trials: Sequence[Trial], origin: Origin, work: WorkDone) -> Iterator[str]:
    if any(trial.loop == "uvloop" for trial in trials):
        yield "uvloop does not tell of its rounds: rounds and ready descriptors are not measured for asyncio."
    if len({trial.repeat for trial in trials}) < 2:
        yield "One repeat only: no spread is known, and no place in the ranking is sure."
    if work.per_host and not origin.is_ours:
        yield f"At most {work.per_host} at once to one host: with few hosts the list sets the speed, not the engine."
