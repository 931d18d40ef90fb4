"""Claims about waiting: one thread for many waits, threads despite the GIL, and how much concurrency is good for."""

from __future__ import annotations

import itertools
import time

from cormorant import engines
from cormorant.lab import site
from cormorant.lab.claims.claim import COROUTINES, Claim, Finding, Values, by_name, without
from cormorant.lab.claims.running import installed, page_and_threads, run, wait_for_page

WAITS = 1000
WAIT_SECONDS = 0.5
LEAST_AT_ONCE = 100

THREADS = 24
THREAD_WAIT_SECONDS = 0.025
LEAST_SPEED_UP = 3

WIDTHS = (128, 512, 2048)
WIDTH_PAGES = 2048
WIDTH_WAIT_SECONDS = 0.02
LEAST_GAIN = 1.25  # times, for four times the concurrency


def _many_waits() -> Values:
    values: Values = {"waits": WAITS, "wait_seconds": WAIT_SECONDS}
    with site.running(site.Workload(pages=WAITS, latency=f"constant:{WAIT_SECONDS}", body_bytes=200)) as served:
        for engine in installed(COROUTINES):
            began = time.monotonic()
            results = run(engine, page_and_threads, served.urls())
            values[f"{engine}_seconds"] = time.monotonic() - began
            values[f"{engine}_threads"] = max(result.value for result in results)
    return values


def many_waits_rule(values: Values) -> Finding:
    """Say whether every coroutine engine had at least `LEAST_AT_ONCE` waits at once, on one thread."""
    seconds, threads = by_name(values, "_seconds"), by_name(values, "_threads")
    wait = seconds.pop("wait")
    alone = values["waits"] * wait
    each = ", ".join(f"{name} {seconds[name]:.2f} s on {_threads_in_words(threads[name])}" for name in seconds)
    holds = all(alone / seconds[name] >= LEAST_AT_ONCE and threads[name] == 1 for name in seconds)
    figure = f"{values['waits']:,.0f} waits of {wait:g} s ({alone:,.0f} s one after another): {each}"
    return Finding(holds, figure + without(seconds, COROUTINES))


def _threads_in_words(count: float) -> str:
    return "1 thread" if count == 1 else f"{count:.0f} threads"


def _threads_and_gil() -> Values:
    values: Values = {"waits": THREADS, "wait_seconds": THREAD_WAIT_SECONDS}
    with site.running(site.Workload(pages=THREADS, latency=f"constant:{THREAD_WAIT_SECONDS}")) as served:
        for engine in ("serial", "thread"):
            began = time.monotonic()
            run(engine, wait_for_page, served.urls())
            values[f"{engine}_seconds"] = time.monotonic() - began
    return values


def threads_and_gil_rule(values: Values) -> Finding:
    """Say whether threads are useless: not even `LEAST_SPEED_UP` times as fast as one wait after another."""
    faster = values["serial_seconds"] / values["thread_seconds"]
    figure = (
        f"{values['waits']:.0f} waits of {values['wait_seconds'] * 1e3:g} ms: {values['serial_seconds']:.2f} s one "
        f"after another, {values['thread_seconds']:.2f} s in {values['waits']:.0f} threads, {faster:.1f} times as fast"
    )
    return Finding(faster < LEAST_SPEED_UP, figure)


def _widths() -> Values:
    values: Values = {"pages": WIDTH_PAGES, "wait_seconds": WIDTH_WAIT_SECONDS}
    with site.running(site.Workload(pages=WIDTH_PAGES, latency=f"constant:{WIDTH_WAIT_SECONDS}")) as served:
        run("greenlet", wait_for_page, served.urls(), WIDTHS[-1])  # the warm-up, dropped
        for width in (engines.width("greenlet", width) for width in WIDTHS):
            began = time.monotonic()
            run("greenlet", wait_for_page, served.urls(), width)
            values[f"at_{width}_pages_per_second"] = WIDTH_PAGES / (time.monotonic() - began)
    return values


def widths_rule(values: Values) -> Finding:
    """Say whether each step to more concurrency brought at least `LEAST_GAIN` times the pages a second."""
    speeds = {int(name.removeprefix("at_")): speed for name, speed in by_name(values, "_pages_per_second").items()}
    widths = sorted(speeds)
    if len(widths) < len(WIDTHS):
        return Finding(None, "not measured: too few files may be open here; raise the limit with `ulimit -n 16384`")
    pairs = itertools.pairwise(widths)
    each = ", ".join(f"{speeds[width]:,.0f} pages/s with {width} at once" for width in widths)
    holds = all(speeds[more] >= LEAST_GAIN * speeds[fewer] for fewer, more in pairs)
    return Finding(holds, f"greenlet, pages after {values['wait_seconds'] * 1e3:g} ms: {each}")


MANY_WAITS = Claim(
    name="one-thread-many-waits",
    says="One thread can wait for a thousand things at once.",
    how=f"{WAITS:,} jobs, each waiting {WAIT_SECONDS:g} s for a page of the embedded site over a real connection, "
    "under each coroutine engine; the threads of the process are counted as the pages come back. Holds when the total "
    f"is at most 1/{LEAST_AT_ONCE} of one wait after another, on one thread, under each of them.",
    measure=_many_waits,
    rule=many_waits_rule,
    source="man 7 epoll, https://man7.org/linux/man-pages/man7/epoll.7.html",
)
THREADS_AND_GIL = Claim(
    name="threads-useless-gil",
    says="Threads are useless in Python because of the GIL.",
    how=f"{THREADS} waits of {THREAD_WAIT_SECONDS * 1e3:g} ms for a page of the embedded site, one after another and "
    "in as many threads: a thread gives the GIL up while it waits. Holds when the threads are less than "
    f"{LEAST_SPEED_UP} times as fast. (For work that computes instead of waiting see coroutines-one-core.)",
    measure=_threads_and_gil,
    rule=threads_and_gil_rule,
    source="https://docs.python.org/3/library/threading.html: threading is still an appropriate model if you want to "
    "run multiple I/O-bound tasks simultaneously",
)
MORE_IS_FASTER = Claim(
    name="more-concurrency-faster",
    says="More concurrency is always faster.",
    how=f"{WIDTH_PAGES} pages of the embedded site, each after {WIDTH_WAIT_SECONDS * 1e3:g} ms, under greenlet with "
    f"{', '.join(map(str, WIDTHS))} at once. Holds when each step brings at least {LEAST_GAIN:g} times the pages a "
    "second. The site shares this machine, so its limit is in the figure with ours.",
    measure=_widths,
    rule=widths_rule,
)

CLAIMS = (MANY_WAITS, THREADS_AND_GIL, MORE_IS_FASTER)
