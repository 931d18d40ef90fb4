"""Fakes that ship: a transport that follows a script, and a clock moved by hand. For your tests and for ours.

    transports = Scripted({"https://a.example/": Reply(body=b"hello"), "https://b.example/": Reply(kind=Kind.DNS)})
    for outcome in run(["https://a.example/"], transports, Options(engine="greenlet")): ...

The script answers by target URL, waits its `seconds` in the manner of the engine, and opens no socket.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import time
from collections.abc import Generator, Iterable, Mapping
from typing import Any

from cormorant.interfaces import Deliver, Loop
from cormorant.messages import Failure, Headers, Kind, Outcome, Page, Request
from cormorant.opening import open_fetch
from cormorant.options import Options


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the script answers for one URL: a page, or with `kind` a failure, after `seconds`."""

    status: int = 200
    headers: Headers = ()
    body: bytes = b""
    kind: Kind | None = None
    seconds: float = 0.0

    def outcome(self, request: Request) -> Outcome:
        """Return the outcome of this reply to `request`; later than its deadline it is a timeout."""
        kind = Kind.TIMEOUT if self.seconds > request.seconds else self.kind
        known: dict[str, Any] = {
            "url": request.url,
            "input": request.input,
            "line": request.line,
            "final_url": request.target,
            "attempts": request.attempts,
            "redirects": request.redirects,
        }
        if kind is not None:
            return Failure(kind=kind, message=f"scripted {kind}", **known)
        return Page(status=self.status, headers=self.headers, body=self.body, **known)


@dataclasses.dataclass(frozen=True, slots=True)
class Scripted:
    """Implements `interfaces.Transports`: answers from `replies` by target URL; an URL that is not there is a 404."""

    replies: Mapping[str, Reply]

    def reply(self, request: Request) -> Reply:
        """Return the script's answer."""
        return self.replies.get(request.target, Reply(status=404))

    def blocking(self) -> ScriptedBlocking:
        """Return a transport that sleeps until the answer is due."""
        return ScriptedBlocking(self)

    def evented(self, loop: Loop) -> ScriptedEvented:
        """Return a transport that asks the loop to be woken when answers are due."""
        return ScriptedEvented(self, loop)


class ScriptedBlocking:
    """Implements `interfaces.Transport`."""

    def __init__(self, script: Scripted) -> None:
        self._script = script
        self._interrupted = False

    def fetch(self, request: Request) -> Outcome:
        """Sleep as long as the script says, then answer."""
        reply = self._script.reply(request)
        end = time.monotonic() + min(reply.seconds, request.seconds)
        while (left := end - time.monotonic()) > 0 and not self._interrupted:
            time.sleep(min(left, 0.01))
        return reply.outcome(request)

    def interrupt(self) -> None:
        """Cut the sleep short."""
        self._interrupted = True

    def close(self) -> None:
        """Nothing is open."""


class ScriptedEvented:
    """Implements `interfaces.EventedTransport` with timers alone."""

    def __init__(self, script: Scripted, loop: Loop) -> None:
        self._script, self._loop = script, loop
        self._keys = itertools.count()
        self._due: list[tuple[float, int]] = []
        self._waiting: dict[int, tuple[Request, Deliver]] = {}

    def start(self, request: Request, deliver: Deliver) -> int:
        """Note when the answer is due."""
        key = next(self._keys)
        self._waiting[key] = (request, deliver)
        seconds = min(self._script.reply(request).seconds, request.seconds)
        heapq.heappush(self._due, (time.monotonic() + seconds, key))
        self._wish()
        return key

    def cancel(self, key: object) -> None:
        """Forget a hop."""
        if isinstance(key, int):
            self._waiting.pop(key, None)

    def ready(self, descriptor: int, readable: bool, writable: bool) -> None:
        """Never called: no socket is watched."""

    def expired(self) -> None:
        """Do nothing: `deliver_ended` looks at the clock itself."""

    def deliver_ended(self) -> None:
        """Answer everything that is due."""
        while self._due and self._due[0][0] <= time.monotonic():
            waiting = self._waiting.pop(heapq.heappop(self._due)[1], None)
            if waiting is not None:
                request, deliver = waiting
                deliver(self._script.reply(request).outcome(request))
        self._wish()

    def paused(self, seconds: float) -> None:
        """Do nothing: the script says what is late."""

    def _wish(self) -> None:
        self._loop.wake_in(max(0.0, self._due[0][0] - time.monotonic()) if self._due else None)

    def close(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._due.clear()


class Clock:
    """A clock moved by hand: `clock()` is now, `clock.advance(seconds)` moves it."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += seconds


def run(urls: Iterable[str], transports: Scripted, options: Options | None = None) -> Generator[Outcome, None, None]:
    """Do what `cormorant.fetch` does, over a script instead of the network."""
    entries = ((text, number) for number, text in enumerate(urls, 1))
    return open_fetch(entries, options or Options(), transports=transports).run()
