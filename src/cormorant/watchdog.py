"""Names the call that held the loop: under greenlet, gevent and asyncio one blocking call stops every page.

Theory of operation. A thread of its own asks the loop, twice within each limit, to answer in its next round
(`interfaces.OneLoop`). A loop that is free answers at once. When no answer comes, the thread looks at what the loop's
thread is running, again and again until the answer comes, and shares the time out among the places it saw. Each place
is told once, with its stack, and counted. Nothing is added to a page's road, so a page costs what it did.

What can be seen: a hold of 1.5 times the limit or more is always noticed, one below the limit never.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import sysconfig
import threading
import time
import traceback
from _queue import Empty, SimpleQueue  # native ones, also in a process that gevent has patched
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple

from cormorant.engines.job import Job

ASKED_PER_LIMIT = 2
OFTEN = 20  # looks after which they become rarer, down to one in
LONGEST_LOOK_SECONDS = 1.0
LONGEST_NAME = 200
DEEPEST_STACK = 25

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OURS = __file__.rpartition("watchdog")[0]

CallSoon = Callable[[Callable[[], None]], object]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One place that held the loop: `place` is `file:line in function`, `job` what it was busy with (None: no job).

    `times` it was seen, `seconds` altogether and `longest_seconds`; `stack` as it stood the first time.
    """

    place: str
    job: str | None
    times: int
    seconds: float
    longest_seconds: float
    stack: str


class _Sight(NamedTuple):
    """What the loop's thread was running at one look."""

    place: str
    job: str | None
    stack: str


class Watchdog:
    """Watches one loop from `watch` to `close`; writes a warning to the log, once per place."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._places: dict[str, Held] = {}
        self._answered_at: float | None = None
        self._closing: SimpleQueue[None] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._closed = False
        self._call_soon: CallSoon
        self._thread = 0

    def watch(self, call_soon: CallSoon) -> None:
        """Begin; the loop runs in the calling thread and runs what is given to `call_soon` in its next round."""
        self._call_soon = call_soon
        monkey = sys.modules.get("gevent.monkey")
        if monkey is None or not monkey.is_module_patched("threading"):
            self._thread = threading.get_ident()
            threading.Thread(target=self._run, name="cormorant-watchdog", daemon=True).start()
        else:  # there `threading` makes greenlets, which a held loop would hold too
            self._thread = monkey.get_original("_thread", "get_ident")()
            monkey.get_original("_thread", "start_new_thread")(self._run, ())

    def held(self) -> tuple[Held, ...]:
        """Return the places that held the loop so far, the longest in all first. May be called from any thread."""
        return tuple(sorted(self._places.copy().values(), key=lambda held: -held.seconds))

    def close(self) -> None:
        """End, and wait until the thread has: after this nothing calls the loop any more."""
        if self._thread and not self._closed:
            self._closed = True
            self._closing.put(None)
            self._ended.get()

    # --- in the watching thread ---

    def _run(self) -> None:
        try:
            while not self._closed:
                self._ask_once()
        except RuntimeError:
            pass  # the loop is closed: the run is over
        finally:
            self._ended.put(None)

    def _ask_once(self) -> None:
        """Ask for one answer; look at the loop's thread for as long as it does not come."""
        self._answered_at = None
        asked = time.monotonic()
        self._call_soon(self._answer)
        look = self._limit / ASKED_PER_LIMIT  # one waking for each: the loop pays for every one by handing over the GIL
        sights: list[_Sight] = []
        self._pause(look)
        while self._answered_at is None and not self._closed:
            sights.append(_look_at(self._thread))
            self._pause(look / 2)
            look = min(look if len(sights) < OFTEN else look * 1.5, LONGEST_LOOK_SECONDS)
        held = (self._answered_at or time.monotonic()) - asked
        if held >= self._limit and sights:
            self._book_hold(sights, held)

    def _answer(self) -> None:
        """Answer, in the loop."""
        self._answered_at = time.monotonic()

    def _pause(self, seconds: float) -> None:
        try:
            self._closing.get(timeout=seconds)
        except Empty:
            pass

    def _book_hold(self, sights: list[_Sight], seconds: float) -> None:
        """Share a hold out among the places seen in it; those below the limit count only when no other is above."""
        seen = Counter(sight.place for sight in sights)
        shares = {place: seconds * count / len(sights) for place, count in seen.items()}
        long = {place: share for place, share in shares.items() if share >= self._limit}
        for place, share in (long or {seen.most_common(1)[0][0]: seconds}).items():
            self._book(next(sight for sight in sights if sight.place == place), share)

    def _book(self, sight: _Sight, seconds: float) -> None:
        known = self._places.get(sight.place)
        if known is None:
            known = Held(place=sight.place, job=sight.job, times=0, seconds=0.0, longest_seconds=0.0, stack=sight.stack)
        self._places[sight.place] = held = dataclasses.replace(
            known,
            times=known.times + 1,
            seconds=known.seconds + seconds,
            longest_seconds=max(known.longest_seconds, seconds),
        )
        if held.times == 1:
            logging.getLogger(__name__).warning("%s", told(held))


def _look_at(thread: int) -> _Sight:
    innermost = sys._current_frames().get(thread)
    frames = [frame for frame, _ in traceback.walk_stack(innermost)] if innermost is not None else []
    stack = "".join(traceback.format_list(traceback.StackSummary.extract(_outermost_first(frames), limit=None)))
    return _Sight(_place(frames), _job(frames), stack.rstrip())


def _outermost_first(frames: list[FrameType]) -> Any:
    return ((frame, frame.f_lineno) for frame in reversed(frames[:DEEPEST_STACK]))


def _place(frames: list[FrameType]) -> str:
    """Return the innermost line of the user's; where there is none, the innermost of all."""
    mine = next((frame for frame in frames if _is_users(frame.f_code)), None)
    frame = mine or (frames[0] if frames else None)
    if frame is None:
        return "a thread that has ended"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"


def _is_users(code: CodeType) -> bool:
    path = code.co_filename
    return not (path.startswith((*_LIBRARIES, _OURS, "<frozen")) or "site-packages" in path)


def _job(frames: list[FrameType]) -> str | None:
    """Name the job on the stack by its argument: engines call both `running` and `argument` where they run one."""
    for frame in frames:
        if frame.f_code.co_filename.startswith(_OURS) and isinstance(frame.f_locals.get("running"), Job):
            argument = frame.f_locals.get("argument")
            name = getattr(argument, "url", None) or repr(argument)
            return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"
    return None


def told(held: Held) -> str:
    """Return the report of a place, for people: what, how long, for which job, the stack."""
    whose = f"job {held.job}" if held.job is not None else "no job: the loop over the outcomes, or what writes them"
    return (
        f"the loop was held for {held.longest_seconds:.2f} s by {held.place} ({whose}); "
        f"nothing else ran meanwhile. The stack:\n{held.stack}"
    )
