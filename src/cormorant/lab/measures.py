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
    raw: Raw, peak: Sample, *, engine: str, repeat: int, keep_phases: bool, cores: float | None = None
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
        most_in_flight=raw.most_in_flight,
        bytes_per_page_in_flight=_bytes_per_page(raw, peak),
        threads=peak.threads,
        processes=peak.processes,
        descriptors=peak.descriptors,
        origin_cores=cores,
        phases=phases_of(raw.rows) if keep_phases else None,
        **times_of(raw.rows),
    )


def last_good_at(raw: Raw) -> float:
    """Return the monotonic instant at which the last good page was in hand; without any, that of the last outcome."""
    return max((raw.began + row.handed_over_at for row in raw.rows if row.end == "ok"), default=raw.ended)


def _bytes_per_page(raw: Raw, peak: Sample) -> float | None:
    if not raw.most_in_flight:
        return None
    if peak.pss_bytes is not None and raw.before.pss_bytes is not None:
        return max(0, peak.pss_bytes - raw.before.pss_bytes) / raw.most_in_flight
    return max(0, peak.rss_bytes - raw.before.rss_bytes) / raw.most_in_flight


def times_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Return every measure that is a time (or a rate) of pages. `rows` are in the order of their hand-over."""
    good = [row for row in rows if row.end == "ok"]
    if not good:
        return {}
    in_hand = [row.handed_over_at for row in good]
    lags = sorted(row.handed_over_at - row.ended_at for row in rows if row.ended_at is not None)
    took = sorted(row.ended_at - row.began_at for row in good if row.ended_at is not None and row.began_at is not None)
    hung = [(at, row.handed_over_at) for row in rows if row.end == "timeout" and (at := _start(row)) is not None]
    return {
        "pages_per_second": len(good) / in_hand[-1],
        "first_seconds": in_hand[0],
        "half_seconds": quantile(in_hand, 0.5),
        "ninety_percent_seconds": quantile(in_hand, 0.9),
        "ninety_nine_percent_seconds": quantile(in_hand, 0.99),
        "last_seconds": in_hand[-1],
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


def _start(row: Row) -> float | None:
    """Return when the job began; of one that was ended from outside, when it was let go."""
    return row.released_at if row.began_at is None else row.began_at


def phases_of(rows: Sequence[Row]) -> Phases:
    """Return the columns of the first `MOST_ROWS` to begin, in that order; what was never let go is left out."""
    begun = sorted(((at, row) for row in rows if (at := _start(row)) is not None), key=lambda pair: pair[0])[:MOST_ROWS]
    kept = [row for _, row in begun]
    columns: Any = zip(*(row.phases for row in kept), strict=True) if kept else itertools.repeat((), 5)
    dns, connect, tls, first_byte, body = (list(column) for column in columns)
    return Phases(
        url=[row.name for row in kept],
        end=[row.end for row in kept],
        began_at=[at for at, _ in begun],
        dns=dns,
        connect=connect,
        tls=tls,
        first_byte=first_byte,
        body=body,
        ended_at=[row.handed_over_at if row.ended_at is None else row.ended_at for row in kept],
        handed_over_at=[row.handed_over_at for row in kept],
    )
