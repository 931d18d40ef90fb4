"""Claims about the price of a switch: from one job to the next, by hand, by a loop, by the kernel.

Each figure is nanoseconds from one job to the other: two of them do nothing but hand over, `ROUNDS` times each, and the
best of `REPEATS` runs counts, since other programs can only add time. With gevent and asyncio every hand-over goes
through the loop, as it does in a program. What a thread or a process costs depends on where the kernel puts the two and
how they tell each other: a core that sleeps has to be woken first. So these are measured by more than one means and
in two places; the best counts.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from cormorant.lab.claims.claim import COROUTINES, Claim, Finding, Values, by_name, without

REPEATS = 5
ROUNDS = {"greenlet": 50_000, "gevent": 5_000, "asyncio": 5_000, "uvloop": 5_000, "thread": 1_000}
FAR = 3  # times as much
CHEAPER = 1.5  # times as much; nearer than that is about the same

_ECHO = "import os\nwhile os.read(0, 1): os.write(1, b'.')"


def _greenlet_ns(rounds: int) -> float:
    import greenlet

    def give_back() -> None:
        while True:
            here.switch()

    here, other = greenlet.getcurrent(), greenlet.greenlet(give_back)
    other.switch()
    began = time.perf_counter_ns()
    for _ in itertools.repeat(None, rounds):
        other.switch()
    return (time.perf_counter_ns() - began) / (2 * rounds)


def _gevent_ns(rounds: int) -> float:
    import gevent

    def hand_over() -> None:
        for _ in itertools.repeat(None, rounds):
            gevent.sleep(0)

    began = time.perf_counter_ns()
    gevent.joinall([gevent.spawn(hand_over), gevent.spawn(hand_over)], raise_error=True)
    return (time.perf_counter_ns() - began) / (2 * rounds)


def _loop_ns(new_loop: Callable[[], asyncio.AbstractEventLoop], rounds: int) -> float:
    async def hand_over() -> None:
        for _ in itertools.repeat(None, rounds):
            await asyncio.sleep(0)

    async def both() -> float:
        began = time.perf_counter_ns()
        await asyncio.gather(hand_over(), hand_over())
        return (time.perf_counter_ns() - began) / (2 * rounds)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(both())


def _asyncio_ns(rounds: int) -> float:
    return _loop_ns(asyncio.SelectorEventLoop, rounds)


def _uvloop_ns(rounds: int) -> float:
    import uvloop

    return _loop_ns(uvloop.new_event_loop, rounds)


def _thread_by_locks_ns(rounds: int) -> float:
    mine, other = threading.Lock(), threading.Lock()
    mine.acquire()
    other.acquire()

    def give_back() -> None:
        for _ in itertools.repeat(None, rounds + 1):
            other.acquire()
            mine.release()

    thread = threading.Thread(target=give_back)
    thread.start()
    other.release()
    mine.acquire()  # now it runs
    began = time.perf_counter_ns()
    for _ in itertools.repeat(None, rounds):
        other.release()
        mine.acquire()
    took = time.perf_counter_ns() - began
    thread.join()
    return took / (2 * rounds)


def _thread_by_pipes_ns(rounds: int) -> float:
    (take, give_there), (take_back, give) = os.pipe(), os.pipe()

    def give_back() -> None:
        while os.read(take, 1):
            os.write(give, b".")

    thread = threading.Thread(target=give_back)
    thread.start()
    try:
        return _echoed_ns(give_there, take_back, rounds)
    finally:
        os.close(give_there)
        thread.join()
        for descriptor in (take, take_back, give):
            os.close(descriptor)


def _process_ns(rounds: int) -> float:
    child = subprocess.Popen([sys.executable, "-S", "-c", _ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        return _echoed_ns(child.stdin.fileno(), child.stdout.fileno(), rounds)


def _echoed_ns(there: int, back: int, rounds: int) -> float:
    os.write(there, b".")
    os.read(back, 1)  # now the other runs
    began = time.perf_counter_ns()
    for _ in itertools.repeat(None, rounds):
        os.write(there, b".")
        os.read(back, 1)
    return (time.perf_counter_ns() - began) / (2 * rounds)


_METERS = {
    "greenlet": _greenlet_ns,
    "gevent": _gevent_ns,
    "asyncio": _asyncio_ns,
    "uvloop": _uvloop_ns,
    "thread_by_locks": _thread_by_locks_ns,
    "thread_by_pipes": _thread_by_pipes_ns,
    "process": _process_ns,
}


def _measure(*names: str, ending: str = "_switch_ns") -> Values:
    values: Values = {}
    for name in names:
        if name in ("gevent", "uvloop") and importlib.util.find_spec(name) is None:
            continue
        meter, rounds = _METERS[name], ROUNDS.get(name, ROUNDS["thread"])
        values[f"{name}{ending}"] = min(meter(rounds) for _ in range(REPEATS))
    return values


def _measure_both_places(*names: str) -> Values:
    """Measure wherever the kernel puts the two, then on one core; this process is ours alone and ends after that."""
    values = _measure(*names, ending="_anywhere_ns")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        values |= _measure(*names, ending="_on_one_core_ns")
    return values


def _best(values: Values, kind: str) -> float:
    """Return the cheapest switch of a kind: by any of its means, in any place."""
    return min(ns for name, ns in values.items() if name.startswith(kind))


def _coroutines_and_thread() -> Values:
    coroutines = _measure("greenlet", "gevent", "asyncio", "uvloop")
    threads = _measure_both_places("thread_by_locks", "thread_by_pipes")
    return coroutines | {"thread_switch_ns": _best(threads, "thread")} | threads


def _thread_and_process() -> Values:
    values = _measure_both_places("thread_by_locks", "thread_by_pipes", "process")
    best = {f"{kind}_switch_ns": _best(values, kind) for kind in ("thread", "process")}
    return best | values


def _listed(nanoseconds: Values) -> str:
    each = ((name, f"{ns:,.0f} ns" if ns < 10_000 else f"{ns / 1e3:,.1f} µs") for name, ns in nanoseconds.items())
    return "a switch costs " + ", ".join(f"{name} {text}" for name, text in each)


def coroutine_rule(values: Values) -> Finding:
    """Say whether every coroutine's switch costs at most 1/`FAR` of a thread's; name those whose does not."""
    nanoseconds = by_name(values, "_switch_ns")
    thread = nanoseconds["thread"]
    ratios = {name: thread / ns for name, ns in nanoseconds.items() if name != "thread"}
    each = ", ".join(f"{ratio:.1f} x {name}" for name, ratio in ratios.items())
    figure = f"{_listed(nanoseconds)}; a thread costs {each}"
    return Finding(min(ratios.values()) >= FAR, figure + without(nanoseconds, [*COROUTINES, "uvloop"]))


def thread_rule(values: Values) -> Finding:
    """Say whether a process's switch costs at least `CHEAPER` times a thread's."""
    nanoseconds = by_name(values, "_switch_ns")
    ratio = nanoseconds["process"] / nanoseconds["thread"]
    return Finding(ratio >= CHEAPER, f"{_listed(nanoseconds)}; a process costs {ratio:.1f} times a thread")


_HOW = (
    "Two jobs that do nothing but hand over to each other; ns from one to the other, the best of "
    f"{REPEATS} runs. Loops switch through themselves, threads by locks or pipes (and the GIL), processes by pipes; of "
    "threads and processes the cheapest of all means and places (where the kernel puts them, on one core) counts. "
)
COROUTINE_SWITCH = Claim(
    name="coroutine-switch-cheap",
    says="Switching coroutines is far cheaper than switching threads.",
    how=f"{_HOW}Holds when each kind of coroutine costs at most 1/{FAR} of a thread.",
    measure=_coroutines_and_thread,
    rule=coroutine_rule,
)
THREAD_SWITCH = Claim(
    name="thread-switch-cheap",
    says="Switching threads is cheaper than switching processes.",
    how=f"{_HOW}Holds when a process costs at least {CHEAPER} times a thread.",
    measure=_thread_and_process,
    rule=thread_rule,
)

CLAIMS = (COROUTINE_SWITCH, THREAD_SWITCH)
