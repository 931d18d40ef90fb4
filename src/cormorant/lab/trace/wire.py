"""The wire, heard from both sides: what jobs ask of the transport, and what the transport asks of the loop.

Nothing is changed on the way; each call is written down and passed on. An `EventedTransport` is heard through the
loop it was given, which is how its wishes (watch this socket, wake me in n ms) become visible: those of libcurl, and
those of our own deadlines and resolver, which go the same way.
"""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Callable
from typing import Any

from cormorant.interfaces import Deliver, EventedTransport, Loop, Transport, Transports
from cormorant.lab.trace.events import What
from cormorant.lab.trace.notes import Notes, ticket
from cormorant.lab.trace.sockets import End, Sockets
from cormorant.messages import Outcome, Page, Request

NO_CONNECTION = ", a bell and no connection"
HTTP_1 = (1, 2)  # CURL_HTTP_VERSION_1_0 and _1_1: one hop at a time


@dataclasses.dataclass(frozen=True, slots=True)
class HeardTransports:
    """Implements `interfaces.Transports`; picklable, as what it wraps is."""

    transports: Transports
    notes: Notes

    def blocking(self) -> Transport:
        """Return a blocking transport that is heard."""
        return HeardBlocking(self.transports.blocking(), self.notes)

    def evented(self, loop: Loop) -> EventedTransport:
        """Return an evented transport that is heard, over a loop that is heard."""
        sockets = Sockets(self.notes)
        return HeardEvented(self.transports.evented(HeardLoop(loop, self.notes, sockets)), self.notes, sockets)


class HeardBlocking:
    """Implements `interfaces.Transport`: notes entering and leaving the blocking call."""

    def __init__(self, transport: Transport, notes: Notes) -> None:
        self._transport, self._notes = transport, notes
        self.interrupt, self.close = transport.interrupt, transport.close

    def fetch(self, request: Request) -> Outcome:
        """Make one hop and wait for it."""
        job = ticket()
        self._notes.note(What.ENTERED, "Transport.fetch", job=job, detail=f"{request.method} {request.target}")
        before = _times_asleep()
        outcome = self._transport.fetch(request)
        after = _times_asleep()
        asleep = None if before is None or after is None else after - before
        self._notes.note(What.LEFT, "Transport.fetch", job=job, detail=end_of(outcome), context_switches=asleep)
        return outcome


def _times_asleep() -> int | None:
    """Return how often this thread gave its core away of its own will; the kernel tells per thread on Linux only."""
    who = getattr(resource, "RUSAGE_THREAD", None)
    return None if who is None else resource.getrusage(who).ru_nvcsw


class HeardLoop:
    """Implements `interfaces.Loop`: notes what the transport wants of the loop, and passes it on."""

    def __init__(self, loop: Loop, notes: Notes, sockets: Sockets) -> None:
        self._loop, self._notes, self._sockets = loop, notes, sockets

    def watch(self, descriptor: int, reading: bool, writing: bool) -> None:
        """Watch this socket from now on; both False: no longer."""
        wish = _modes(reading, writing)
        detail = f"tell when fd {descriptor} is {wish}" if wish else f"watch fd {descriptor} no longer"
        if not self._sockets.is_connection(descriptor):
            detail += NO_CONNECTION
        note = self._notes.note(What.WANTED, "Loop.watch", detail=detail, descriptor=descriptor)
        (self._sockets.heard if wish else self._sockets.forgotten)(descriptor, note)
        self._loop.watch(descriptor, reading, writing)

    def wake_in(self, seconds: float | None) -> None:
        """Call `expired` after this long."""
        detail = "wake me no more" if seconds is None else f"wake me in {seconds * 1000:,.0f} ms"
        self._notes.note(What.TIMER, "Loop.wake_in", detail=detail, seconds=seconds)
        self._loop.wake_in(seconds)


class HeardEvented:
    """Implements `interfaces.EventedTransport`: notes what jobs ask and get, and what the loop tells."""

    def __init__(self, transport: EventedTransport, notes: Notes, sockets: Sockets) -> None:
        self._transport, self._notes, self._sockets = transport, notes, sockets
        self._hops: dict[int, tuple[object, int | None, float]] = {}
        self.deliver_ended, self.paused, self.close = transport.deliver_ended, transport.paused, transport.close

    def start(self, request: Request, deliver: Deliver) -> object:
        """Begin one hop."""
        job = ticket()
        asked = self._notes.note(
            What.ASKED, "EventedTransport.start", job=job, detail=f"{request.method} {request.target}"
        )

        def delivered(outcome: Outcome) -> None:
            self._end(key)
            detail = end_of(outcome)
            self._notes.note(What.DELIVERED, "EventedTransport.deliver_ended", job=job, detail=detail)
            deliver(outcome)

        key = self._transport.start(request, delivered)
        self._hops[id(key)] = key, job, asked.at
        return key

    def _end(self, key: object) -> None:
        """Ask libcurl, as long as the handle still knows, by which connection the hop went."""
        _, job, since = self._hops.pop(id(key), (None, None, 0.0))
        curl = _curl_of(key)
        ends = None if curl is None else _ends_of(curl)
        if ends is not None:
            self._sockets.ended(ends, job, since, is_alone=_http_version(curl) in HTTP_1)

    def cancel(self, key: object) -> None:
        """Drop a hop."""
        if id(key) in self._hops:
            self._notes.note(What.CANCELLED, "EventedTransport.cancel", job=self._hops[id(key)][1])
            self._end(key)
        self._transport.cancel(key)

    def ready(self, descriptor: int, readable: bool, writable: bool) -> None:
        """Let libcurl read or write this socket."""
        what = "" if self._sockets.is_connection(descriptor) else NO_CONNECTION
        detail = f"fd {descriptor} is {_modes(readable, writable)}{what}"
        note = self._notes.note(What.READY, "EventedTransport.ready", detail=detail, descriptor=descriptor)
        self._sockets.heard(descriptor, note)
        self._transport.ready(descriptor, readable, writable)
        note.is_over()

    def expired(self) -> None:
        """Let libcurl see to what has run out of time, and to what was just started."""
        note = self._notes.note(What.EXPIRED, "EventedTransport.expired", detail="the time that was asked for is over")
        self._transport.expired()
        note.is_over()


def _curl_of(key: object) -> Any:
    """Return the handle of a hop of `EventedCurl`; None when it never had one, or is not libcurl's."""
    hop = getattr(key, "hop", key)  # a hop that had to wait for its name is kept inside its question
    return getattr(hop[0], "curl", None) if isinstance(hop, tuple) else None


def _ends_of(curl: Any) -> tuple[End, End] | None:
    """Return both ends of a hop's connection; None when it never had one."""
    import pycurl

    ask: Callable[[int], Any] = curl.getinfo
    local = ask(pycurl.LOCAL_IP), int(ask(pycurl.LOCAL_PORT))
    remote = ask(pycurl.PRIMARY_IP), int(ask(pycurl.PRIMARY_PORT))
    return (local, remote) if local[1] else None


def _http_version(curl: Any) -> int:
    """Return how the hop was answered, as a CURL_HTTP_VERSION; 0: not at all."""
    import pycurl

    return int(curl.getinfo(pycurl.INFO_HTTP_VERSION))


def _modes(reading: bool, writing: bool) -> str:
    return " and ".join(word for word, is_so in (("readable", reading), ("writable", writing)) if is_so)


def end_of(outcome: Outcome) -> str:
    """Return in a word how a hop ended."""
    return str(outcome.status) if isinstance(outcome, Page) else str(outcome.kind)
