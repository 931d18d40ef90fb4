"""The claim that one blocking call stops all coroutines: what a wait costs beside one that does not let go."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from cormorant.lab import site
from cormorant.lab.claims.claim import COROUTINES, Claim, Finding, Values, by_name, without
from cormorant.lab.claims.running import Span, installed, spans, wait_for_page

BLOCK_SECONDS = 0.2
WAIT_SECONDS = 0.05
WAITS = 10
BLOCK = "block"


def wait_or_block(item: str) -> Span:
    """Wait for the page `item`, or, for the item `BLOCK`, sleep in a way that no loop hears of."""
    if item != BLOCK:
        return wait_for_page(item)
    began = time.monotonic()
    time.sleep(BLOCK_SECONDS)
    return Span(began, time.monotonic(), 0.0)


def _median_wait(engine: str, urls: Sequence[str], blockers: Sequence[str]) -> float:
    """Return how long a page took, in the middle. The blocker starts last, when the others wait already."""
    results = spans(engine, wait_or_block, [*urls, *blockers])
    waits = sorted(results, key=lambda span: span.began)[: len(urls)]
    return statistics.median(span.ended - span.began for span in waits)


def _measure() -> Values:
    values: Values = {"block_seconds": BLOCK_SECONDS, "wait_seconds": WAIT_SECONDS}
    with site.running(site.Workload(pages=WAITS, latency=f"constant:{WAIT_SECONDS}")) as served:
        for engine in installed([*COROUTINES, "thread"]):
            _median_wait(engine, served.urls(), [])  # the warm-up, dropped
            values[f"{engine}_alone_seconds"] = _median_wait(engine, served.urls(), [])
            values[f"{engine}_beside_block_seconds"] = _median_wait(engine, served.urls(), [BLOCK])
    return values


def rule(values: Values) -> Finding:
    """Say whether the call delayed the others by half its time or more under each coroutine engine, not in threads."""
    alone, beside = by_name(values, "_alone_seconds"), by_name(values, "_beside_block_seconds")
    limit = values["block_seconds"] / 2
    delayed = {name: beside[name] - alone[name] >= limit for name in beside}
    each = ", ".join(f"{name} {alone[name] * 1e3:.0f} → {beside[name] * 1e3:.0f} ms" for name in beside)
    holds = not delayed.pop("thread") and all(delayed.values())
    wait, block = values["wait_seconds"] * 1e3, values["block_seconds"] * 1e3
    figure = f"a wait of {wait:.0f} ms, alone → beside a call that blocks {block:.0f} ms: {each}"
    return Finding(holds, figure + without(beside, COROUTINES))


BLOCKING = Claim(
    name="blocking-stops-all",
    says="One blocking call stops all coroutines.",
    how=f"{WAITS} jobs wait {WAIT_SECONDS * 1e3:.0f} ms each for a page of the embedded site, without and with one "
    f"more job that calls time.sleep({BLOCK_SECONDS:g}); the median time of a page. Holds when it grows by half the "
    "blocking time or more under each coroutine engine, and by less in threads.",
    measure=_measure,
    rule=rule,
    source="https://docs.python.org/3/library/asyncio-dev.html, Running Blocking Code",
)

CLAIMS = (BLOCKING,)
