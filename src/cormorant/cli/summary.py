"""The end of a run on stderr: every URL offered is in exactly one line of the block, and the sum is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from cormorant.cli.exits import Exit
from cormorant.cli.terminal import neutral
from cormorant.cli.units import size_text, span_text

if TYPE_CHECKING:
    from cormorant.worker import Statistics

MOST_PLACES = 10
NOT_MODIFIED = 304

# Which line a failure is counted in; a kind that is missing here has a line of its own.
GROUPS = {
    "network": ("dns", "connect", "tls", "timeout", "protocol", "truncated", "redirect"),
    "not allowed": ("blocked",),
    "too large": ("too_large",),
    "no URL": ("bad_url",),
    "function": ("callback",),
    "our side": ("worker_lost", "local", "cancelled"),
}


def fault(statistics: Statistics, written: int) -> str | None:
    """Return what does not add up, or None. Anything but None is a bug of ours, never the user's doing."""
    ended = statistics.ok + statistics.http_errors + sum(statistics.failed.values())
    left_out = sum(statistics.left_out.values())
    total = ended + statistics.duplicates + left_out + statistics.not_reached
    if total != statistics.offered:
        return (
            f"{statistics.offered} were offered but {total} are accounted for (ok {statistics.ok}, http errors "
            f"{statistics.http_errors}, failed {sum(statistics.failed.values())}, duplicate {statistics.duplicates}, "
            f"left out {left_out}, not reached {statistics.not_reached})"
        )
    if statistics.not_reached < 0 or (statistics.not_reached and not statistics.stopped):
        return f"{statistics.not_reached} of {statistics.offered} that were offered have no end"
    if ended != written:
        return f"{ended} came to an end but {written} were written"
    return None


def verdict(statistics: Statistics, list_ended: bool) -> Exit:
    """Return the exit code of a run that ended by itself or was drained."""
    if statistics.stopped and (statistics.not_reached or not (statistics.input_ended or list_ended)):
        return Exit.STOPPED
    if statistics.offered and not statistics.ok:
        return Exit.NOTHING
    failed = sum(statistics.failed.values()) - statistics.by_robots  # to keep to robots.txt is a good end
    return Exit.FAILURES if statistics.http_errors or failed else Exit.GOOD


def title(statistics: Statistics, noun: str, unit: str) -> str:
    """Return the block's first line: how many, how long, how fast."""
    seconds = max(statistics.seconds, 1e-9)
    rate = f"{statistics.done / seconds:,.1f} {unit}s/s"
    speed = f", {size_text(statistics.bytes / seconds)}/s" if statistics.bytes else ""
    went_on_with = statistics.offered - sum(statistics.left_out.values())
    return f"{counted(went_on_with, noun)} in {span_text(statistics.seconds)} ({rate}{speed})"


def block(statistics: Statistics, head: str, saved: str) -> Text:
    """Return the block: `head`, one line per way to end, and what was `saved` where."""
    rows = [("ok", statistics.ok, _counts(_statuses(statistics, 100, 400)), "green")]
    rows.append(("http error", statistics.http_errors, _counts(_statuses(statistics, 400, 1000)), "yellow"))
    rows += _failures(statistics.failed)
    rows.append(("duplicate", statistics.duplicates, "fetched once", ""))
    rows.append(("left out", sum(statistics.left_out.values()), _counts(statistics.left_out), ""))
    rows.append(("not reached", statistics.not_reached, "", "yellow"))
    text = Text(head)
    for label, count, detail, style in rows:
        if count or label == "ok":
            text.append(f"\n{count:>9,}  ")
            text.append(f"{label:<11}  " if detail else label, style=style).append(detail)
    for held in statistics.held[:MOST_PLACES]:
        text.append(f"\n{held.times:>9,}  ").append("loop held  ", style="yellow")
        text.append(
            f"{span_text(held.longest_seconds)} at most, {span_text(held.seconds)} in all: {neutral(held.place)}"
        )
    return text.append(f"\n saved {neutral(saved)}{_extras(statistics)}")


def left_text(statistics: Statistics, noun: str, expected: float | None) -> str:
    """Say what a stop leaves undone; `expected` is how long the list is thought to be."""
    if expected is None:
        return f"{counted(statistics.done, noun)} done, the rest of the list was not read"
    left = max(expected - statistics.duplicates - statistics.done, statistics.not_reached)
    return f"{left:,.0f} of {expected:,.0f} {noun}s left"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, which is given in the singular: `1 URL`, `2,000 URLs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _statuses(statistics: Statistics, least: int, below: int) -> dict[str, int]:
    return {
        f"{status} unchanged" if status == NOT_MODIFIED else str(status): count
        for status, count in statistics.statuses.items()
        if least <= status < below
    }


def _failures(failed: Mapping[str, int]) -> list[tuple[str, int, str, str]]:
    lines: dict[str, dict[str, int]] = {label: {} for label in GROUPS}
    group_of = {kind: label for label, kinds in GROUPS.items() for kind in kinds}
    for kind, count in failed.items():
        lines.setdefault(group_of.get(kind, kind), {})[kind] = count
    return [(label, sum(kinds.values()), _counts(kinds), "red") for label, kinds in lines.items()]


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return "  ".join(f"{name}: {count:,}" for name, count in ordered)


def _extras(statistics: Statistics) -> str:
    pairs = (
        (statistics.retried, "retries"),
        (statistics.redirected, "redirects followed"),
        (statistics.services, "robots.txt and sitemaps read"),
    )
    return "".join(f"; {count:,} {word}" for count, word in pairs if count)
