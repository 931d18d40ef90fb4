"""The claim that what is back first is served first: jobs of known latencies, and the order they are handed over in.

Agreement is Kendall's: of all pairs, those in the right order less those in the wrong one, over all; 1 is that very
order, 0 as good as shuffled, -1 the reverse.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence

from cormorant import engines
from cormorant.lab import site
from cormorant.lab.claims.claim import Claim, Finding, Values, by_name, without
from cormorant.lab.claims.running import Span, installed, run, wait_for_page

JOBS = 12
PROCESSES = 6
STEP_SECONDS = 0.03
PATIENCE_SECONDS = (0.5, 1.5, 2.5)  # how long worker processes have to be there in each run, until all start at once
LEAST_AGREEMENT = 0.8  # with six jobs: one pair of neighbours may have changed places
IN_PROCESSES = ("pool", "process")
OVERLAPPING = tuple(name for name in engines.names() if name != "serial")

_CHOICE = 1000  # pages whose latency is drawn; of them, those nearest to the steps are asked for


def wait_from(item: tuple[str, float]) -> Span:
    """Wait for a page, not before the given instant (`time.monotonic`)."""
    url, begin_at = item
    if begin_at:
        time.sleep(max(0.0, begin_at - time.monotonic()))
    return wait_for_page(url)


def agreement(ranks: Sequence[float]) -> float:
    """Return Kendall's agreement of a sequence with its own order from small to large."""
    pairs = list(itertools.combinations(ranks, 2))
    return sum((later > earlier) - (later < earlier) for earlier, later in pairs) / len(pairs)


def _shuffled(served: site.Site, count: int) -> list[tuple[str, float]]:
    """Return `count` pages (URL and latency), a step of latency apart, in an order that has nothing to do with it."""
    pages = [(url, served.expected(url).seconds) for url in served.urls()]
    steps = [STEP_SECONDS * (number + 1) for number in range(count)]
    chosen = [min(pages, key=lambda page: abs(page[1] - step)) for step in steps]
    random.Random(1).shuffle(chosen)
    return chosen


def _agreement_of(engine: str, pages: Sequence[tuple[str, float]]) -> float | None:
    """Return the best of some runs; None when worker processes never were there to start together."""
    best = None
    for patience in PATIENCE_SECONDS:
        begin_at = time.monotonic() + patience if engine in IN_PROCESSES else 0.0
        results = run(engine, wait_from, [(url, begin_at) for url, _ in pages])
        if begin_at and any(result.value.began > begin_at + STEP_SECONDS / 2 for result in results):
            continue
        best = max(agreement([pages[result.index][1] for result in results]), best or -1.0)
        if best >= LEAST_AGREEMENT:
            break
    return best


def _measure() -> Values:
    values: Values = {"step_seconds": STEP_SECONDS}
    latency = f"uniform:{STEP_SECONDS / 2}:{STEP_SECONDS * (JOBS + 1)}"
    with site.running(site.Workload(pages=_CHOICE, latency=latency)) as served:
        many, few = _shuffled(served, JOBS), _shuffled(served, PROCESSES)
        run("thread", wait_for_page, [url for url, _ in few])  # the warm-up, dropped
        for engine in installed(OVERLAPPING):
            found = _agreement_of(engine, few if engine in IN_PROCESSES else many)
            if found is not None:
                values[f"{engine}_agreement"] = found
        results = run("serial", wait_for_page, [url for url, _ in few])
        values["serial_latency_order"] = agreement([few[result.index][1] for result in results])
        values["serial_list_order"] = agreement([result.index for result in results])
    return values


def rule(values: Values) -> Finding:
    """Say whether every engine that overlaps handed over in the order of latency, and the for loop as listed."""
    agreements = by_name(values, "_agreement")
    each = ", ".join(f"{name} {value:.2f}" for name, value in agreements.items())
    holds = all(value >= LEAST_AGREEMENT for value in agreements.values()) and values["serial_list_order"] == 1
    figure = (
        f"agreement with the order of latency: {each}; serial {values['serial_latency_order']:.2f}, and "
        f"{values['serial_list_order']:.2f} with the order of the list"
    )
    late = [name for name in IN_PROCESSES if name not in agreements]
    figure += f"; not started together and left out: {', '.join(late)}" if late else ""
    return Finding(holds, figure + without(agreements, [name for name in OVERLAPPING if name not in IN_PROCESSES]))


FIRST_BACK = Claim(
    name="first-back-first-served",
    says="Whoever is back first is served first; only the for loop keeps the order of the list.",
    how=f"{JOBS} jobs ({PROCESSES} where each is a process, and for serial) whose pages take {STEP_SECONDS * 1e3:.0f} "
    f"ms, {2 * STEP_SECONDS * 1e3:.0f} ms and so on, listed shuffled and started together; Kendall's agreement of the "
    f"order handed over with that of the latencies. Holds when it is at least {LEAST_AGREEMENT} under every engine "
    f"that overlaps, in the best of {len(PATIENCE_SECONDS)} runs (other programs can only shuffle), and serial keeps "
    "the list's order.",
    measure=_measure,
    rule=rule,
)

CLAIMS = (FIRST_BACK,)
