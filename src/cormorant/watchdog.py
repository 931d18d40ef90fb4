"""Names the call that held the loop: under greenlet, gevent and asyncio one blocking call stops every page.

Theory of operation. A thread of its own asks the loop, twice within each limit, to answer in its next round
(`interfaces.OneLoop`). A loop that is free answers at once. When no answer comes, the thread looks at what the loop's
thread is running, again and again until the answer comes, and shares the time out among the places it saw: each has
the seconds until the next look, the first one those before it too. Each place is told once, with its stack, and
counted. Nothing is added to a page's road, so a page costs what it did.

What can be seen: a hold of 1.5 times the limit or more is always noticed, one below the limit never.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import reprlib
import sys
import sysconfig
import threading
import time
import traceback
from _queue import Empty, SimpleQueue  # native ones, also in a process that gevent has patched
from collections import defaultdict
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple

from cormorant.engines.job import Job

ASKED_PER_LIMIT = 2
OFTEN = 20  # looks after which they become rarer, down to one in
LONGEST_LOOK_SECONDS = 1.0
LONGEST_NAME = 200
DEEPEST_STACK = 25

NO_JOB = object()
NOT_OURS = "no job of ours: another task, or the loop over the outcomes"

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OURS = __file__.rpartition("watchdog")[0]


class _Short(reprlib.Repr):
    """A `repr` that looks at a few elements of a large argument only, and lets errors through."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = LONGEST_NAME

    def repr_instance(self, x: Any, level: int) -> str:
        return repr(x)


_short = _Short()

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
    """What the loop's thread was running at one look; `argument` is that of the job, `NO_JOB` for none."""

    at: float
    place: str
    argument: Any
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
            while not self._closed and self._is_asked():
                pass
        finally:
            self._ended.put(None)

    def _is_asked(self) -> bool:
        """Ask for one answer, and look at the loop's thread while it does not come. Returns False for a closed loop."""
        self._answered_at = None
        asked = time.monotonic()
        try:
            self._call_soon(self._answer)
        except RuntimeError:
            return False
        look = self._limit / ASKED_PER_LIMIT  # one waking for each: the loop pays for every one by handing over the GIL
        sights: list[_Sight] = []
        self._pause(look)
        while self._answered_at is None and not self._closed:
            sights.append(_look_at(self._thread))
            self._pause(look / 2)
            look = min(look if len(sights) < OFTEN else look * 1.5, LONGEST_LOOK_SECONDS)
        ended = self._answered_at or time.monotonic()
        if ended - asked >= self._limit and sights:
            self._book_hold([sight for sight in sights if sight.at < ended] or sights[:1], asked, ended)
        return True

    def _answer(self) -> None:
        """Answer, in the loop."""
        self._answered_at = time.monotonic()

    def _pause(self, seconds: float) -> None:
        try:
            self._closing.get(timeout=seconds)
        except Empty:
            pass

    def _book_hold(self, sights: list[_Sight], began: float, ended: float) -> None:
        """Share a hold out among the places seen in it; those below the limit count only when no other is above."""
        shares: defaultdict[str, float] = defaultdict(float)
        instants = [began, *(sight.at for sight in sights[1:]), ended]
        for sight, (since, until) in zip(sights, itertools.pairwise(instants), strict=True):
            shares[sight.place] += until - since
        long = {place: share for place, share in shares.items() if share >= self._limit}
        for place, share in (long or {max(shares, key=shares.__getitem__): ended - began}).items():
            self._book(next(sight for sight in sights if sight.place == place), share)

    def _book(self, sight: _Sight, seconds: float) -> None:
        known = self._places.get(sight.place)
        if known is None:
            job = None if sight.argument is NO_JOB else _name(sight.argument)
            known = Held(place=sight.place, job=job, times=0, seconds=0.0, longest_seconds=0.0, stack=sight.stack)
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
    return _Sight(time.monotonic(), _place(frames), _argument(frames), stack.rstrip())


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


def _argument(frames: list[FrameType]) -> Any:
    """Return the argument of the job on the stack: engines call both `running` and `argument` where they run one."""
    for frame in frames:
        if frame.f_code.co_filename.startswith(_OURS) and isinstance(frame.f_locals.get("running"), Job):
            return frame.f_locals.get("argument")
    return NO_JOB


def _name(argument: Any) -> str:
    """Name a job by its argument, in bounds; by its type where a `repr` of the user's cannot say what it is."""
    try:
        url = getattr(argument, "url", None)
        name = url if isinstance(url, str) else _short.repr(argument)
    except Exception:
        return type(argument).__name__
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"


def told(held: Held) -> str:
    """Return the report of a place, for people: what, how long, for which job, the stack."""
    whose = f"job {held.job}" if held.job is not None else NOT_OURS
    return (
        f"the loop was held for {held.longest_seconds:.2f} s by {held.place} ({whose}); "
        f"nothing else ran meanwhile. The stack:\n{held.stack}"
    )
