"""From what a trial's process found to its measures. Pure; `comparison.Trial` says what each of them means."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from cormorant.lab.comparison import Phases, Trial
from cormorant.lab.meters import Sample
from cormorant.lab.trial import Raw, Row
from cormorant.lab.waiting import longest_wait

MOST_ROWS = 500


def trial_of(
    raw: Raw, peak: Sample, *, engine: str, repeat: int, timeout_seconds: float, keep_phases: bool, cores: float | None
) -> Trial:
    """Return the trial. `peak` is the highest that was sampled, `cores` what our origin used."""
    ends = Counter(row.end for row in raw.rows)
    ok, http_errors = ends.pop("ok", 0), ends.pop("http_error", 0)
    used, wall = raw.usage, raw.ended - raw.began
    return Trial(
        engine=engine,
        concurrency=raw.width,
        repeat=repeat,
        loop=raw.loop,
        jobs=len(raw.rows),
        ok=ok,
        http_errors=http_errors,
        failed=dict(ends),
        wall_seconds=wall,
        startup_seconds=raw.startup_seconds,
        cpu_seconds=used.user_seconds + used.system_seconds,
        cpu_user_seconds=used.user_seconds,
        cpu_system_seconds=used.system_seconds,
        cpu_seconds_per_page=(used.user_seconds + used.system_seconds) / len(raw.rows) if raw.rows else None,
        context_switches_voluntary=used.voluntary,
        context_switches_involuntary=used.involuntary,
        loop_rounds=raw.loop_rounds,
        ready_per_round=raw.ready / raw.loop_rounds if raw.loop_rounds and raw.ready is not None else None,
        peak_rss_bytes=peak.rss_bytes,
        peak_pss_bytes=peak.pss_bytes,
        bytes_per_page_in_flight=_bytes_per_page(raw, peak),
        threads=peak.threads,
        processes=peak.processes,
        descriptors=peak.descriptors,
        origin_cores=cores,
        phases=phases_of(raw.rows[:MOST_ROWS]) if keep_phases else None,
        **times_of(raw.rows, timeout_seconds),
    )


def _bytes_per_page(raw: Raw, peak: Sample) -> float:
    if peak.pss_bytes is not None and raw.before.pss_bytes is not None:
        return max(0, peak.pss_bytes - raw.before.pss_bytes) / raw.width
    return max(0, peak.rss_bytes - raw.before.rss_bytes) / raw.width


def times_of(rows: Sequence[Row], timeout_seconds: float) -> dict[str, Any]:
    """Return every measure that is a time (or a rate) of pages. `rows` are in the order of their hand-over."""
    good = [row for row in rows if row.end == "ok"]
    if not good:
        return {}
    at = [row.handed_over_at for row in good]
    lags = sorted(row.handed_over_at - row.ended_at for row in rows if row.ended_at is not None)
    took = sorted(row.ended_at - row.began_at for row in good if row.ended_at is not None and row.began_at is not None)
    hung = [(row.handed_over_at - timeout_seconds, row.handed_over_at) for row in rows if row.end == "timeout"]
    return {
        "pages_per_second": len(good) / at[-1],
        "first_seconds": at[0],
        "half_seconds": quantile(at, 0.5),
        "ninety_percent_seconds": quantile(at, 0.9),
        "ninety_nine_percent_seconds": quantile(at, 0.99),
        "last_seconds": at[-1],
        "latency_p50_seconds": quantile(took, 0.5),
        "latency_p90_seconds": quantile(took, 0.9),
        "latency_p99_seconds": quantile(took, 0.99),
        "hand_over_p50_seconds": quantile(lags, 0.5),
        "hand_over_p99_seconds": quantile(lags, 0.99),
        "waited_behind_hung_seconds": longest_wait([(row.handed_over_at, row.own_seconds) for row in good], hung)
        if hung
        else None,
    }


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of them do not exceed (nearest rank); None of none."""
    if not ordered:
        return None
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def phases_of(rows: Sequence[Row]) -> Phases:
    """Return the columns of the rows that have begun, in the order of their beginning."""
    begun = sorted((row for row in rows if row.began_at is not None), key=lambda row: row.began_at or 0.0)
    columns: Any = zip(*(row.phases for row in begun), strict=True) if begun else itertools.repeat((), 5)
    dns, connect, tls, first_byte, body = (list(column) for column in columns)
    return Phases(
        url=[row.name for row in begun],
        end=[row.end for row in begun],
        began_at=[row.began_at or 0.0 for row in begun],
        dns=dns,
        connect=connect,
        tls=tls,
        first_byte=first_byte,
        body=body,
        ended_at=[row.ended_at or 0.0 for row in begun],
        handed_over_at=[row.handed_over_at for row in begun],
    )
