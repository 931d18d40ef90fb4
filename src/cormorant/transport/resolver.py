"""Names to addresses beside the loop, so that a dead zone delays only its own pages.

libcurl's resolver has 20 threads for a whole `curl_multi` and each name takes two: 20 dead names ahead, and a
healthy host waits 20 s. Here every name under way has a thread of its own in the system's getaddrinfo, up
to `MOST_THREADS`; results are kept for a while, failures for a shorter one. It is the same getaddrinfo (hosts
file, nsswitch, search domains) that the blocking engines use inside libcurl, so every engine sees the same names.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import itertools
import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from cormorant.messages import Failure, Kind, Page, Request, Timings
from cormorant.urls import host_and_port, name_in

MOST_THREADS = 256
KEPT_NAMES = 10_000
GOOD_SECONDS = 60.0
BAD_SECONDS = 5.0
IDLE_SECONDS = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Resolved:
    """What a name stands for: addresses in the order to try, or why there are none."""

    addresses: tuple[str, ...]
    problem: str = ""
    is_late: bool = False


class Question:
    """Somebody who wants to know; `answer(resolved, seconds)` is called once, in the loop's thread.

    Not when it `is_withdrawn`. `asked_at` is in the time of the resolver.
    """

    __slots__ = ("answer", "asked_at", "is_withdrawn", "name")

    def __init__(self, name: str, answer: Callable[[Resolved, float], None]) -> None:
        self.name, self.answer = name, answer
        self.asked_at = 0.0
        self.is_withdrawn = False

    def settle(self, resolved: Resolved, now: float) -> None:
        """Answer, with the seconds it took until `now`, unless that was done or nobody wants to know any more."""
        if not self.is_withdrawn:
            self.is_withdrawn = True
            self.answer(resolved, now - self.asked_at)


class Resolver:
    """Looks names up in daemon threads; `ring` is called, in such a thread, when `answer` has something to do.

    `pauses` are the seconds in which nobody ran the loop; they count for no question.
    """

    def __init__(self, ring: Callable[[], None], lookup: Callable[[str], Resolved]) -> None:
        self._ring, self._lookup = ring, lookup
        self.pauses = 0.0
        self._kept: OrderedDict[str, tuple[float, Resolved]] = OrderedDict()
        self._asked: dict[str, list[Question]] = {}
        self._deadlines: list[tuple[float, int, Question]] = []
        self._order = itertools.count()
        self._found: deque[tuple[str, Resolved | None]] = deque()
        self._work = threading.Condition()
        self._names: deque[str] = deque()  # under _work, like the next three
        self._threads = self._idle = 0
        self._closed = False

    def kept(self, name: str) -> Resolved | None:
        """Return what is known of a name without asking."""
        until, resolved = self._kept.get(name, (0.0, None))
        return resolved if until > time.monotonic() else None

    def ask(self, question: Question, seconds: float) -> None:
        """Have a name looked up; the answer follows from `answer`, after `seconds` at the latest."""
        question.asked_at = time.monotonic() - self.pauses
        heapq.heappush(self._deadlines, (question.asked_at + seconds, next(self._order), question))
        waiting = self._asked.get(question.name)
        if waiting is not None:
            waiting.append(question)
            return
        self._asked[question.name] = [question]
        known = self.kept(question.name)
        if known is not None:
            self._found.append((question.name, known))
            self._ring()
            return
        self._queue(question.name)

    def _queue(self, name: str) -> None:
        with self._work:
            self._names.append(name)
            if len(self._names) <= self._idle or self._threads >= MOST_THREADS:
                self._work.notify()
                return
            self._threads += 1
        threading.Thread(target=self._serve, name="cormorant-dns", daemon=True).start()

    def _serve(self) -> None:
        """Look up names, in a thread, until there have been none for a while."""
        while (name := self._next_name()) is not None:
            wanted = any(not question.is_withdrawn for question in tuple(self._asked.get(name, ())))
            self._found.append((name, self._lookup(name) if wanted else None))
            self._ring()

    def _next_name(self) -> str | None:
        with self._work:
            if not self._names and not self._closed:
                self._idle += 1
                self._work.wait_for(lambda: self._names or self._closed, IDLE_SECONDS)
                self._idle -= 1
            if self._closed or not self._names:
                self._threads -= 1
                return None
            return self._names.popleft()

    def next_deadline(self) -> float | None:
        """Return the monotonic instant at which `answer` must be called even if nothing was found."""
        while self._deadlines and self._deadlines[0][2].is_withdrawn:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] + self.pauses if self._deadlines else None

    def answer(self) -> None:
        """Answer every question whose name was found or whose time is up."""
        while self._found:
            name, resolved = self._found.popleft()
            questions = self._asked.pop(name, [])
            if resolved is None:  # nobody waited any more when its turn came
                self._ask_again(name, questions)
                continue
            self._keep(name, resolved)
            for question in questions:
                question.settle(resolved, time.monotonic() - self.pauses)
        while (at := self.next_deadline()) is not None and at <= time.monotonic():
            question = heapq.heappop(self._deadlines)[2]
            late = Resolved((), f"Resolving {question.name} timed out", is_late=True)
            question.settle(late, at - self.pauses)

    def _ask_again(self, name: str, questions: list[Question]) -> None:
        """Queue a name again for those who asked for it just as it was passed over."""
        waiting = [question for question in questions if not question.is_withdrawn]
        if waiting:
            self._asked[name] = waiting
            self._queue(name)

    def _keep(self, name: str, resolved: Resolved) -> None:
        seconds = GOOD_SECONDS if resolved.addresses else BAD_SECONDS
        self._kept[name] = (time.monotonic() + seconds, resolved)
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT_NAMES:
            self._kept.popitem(last=False)

    def close(self) -> None:
        """Answer nobody any more. Threads end by themselves as soon as the system lets them."""
        self._asked.clear()
        self._deadlines.clear()
        with self._work:
            self._closed = True
            self._work.notify_all()


def lookup(name: str) -> Resolved:
    """Ask the system, blocking."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Resolved((), f"Could not resolve host: {name} ({error})")
    return Resolved(tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))


@functools.lru_cache(maxsize=4096)
def dialled(origin: str) -> tuple[str, int, str | None]:
    """Return host and port of a clean URL's origin, and the name to look up, if it is one."""
    host, port = host_and_port(origin)
    return host, port, name_in(host)


def address_page(request: Request, addresses: tuple[str, ...], seconds: float) -> Page:
    """Return the answer to a request for an address: in `ip`, the same one whatever order the system gives them in."""
    return Page(
        url=request.url,
        status=200,
        final_url=request.target,
        attempts=request.attempts,
        fetched_at=time.time(),
        timings=Timings(dns=seconds, total=seconds),
        ip=min(addresses),
    )


def no_address(request: Request, kind: Kind, message: str, seconds: float) -> Failure:
    """Return the outcome of a request whose name stands for no address."""
    return Failure(
        kind=kind,
        message=message,
        phase="dns",
        url=request.url,
        input=request.input,
        line=request.line,
        final_url=request.target,
        attempts=request.attempts,
        redirects=request.redirects,
        found=request.found,
        fetched_at=time.time(),
        timings=Timings(dns=seconds, total=seconds),
    )
