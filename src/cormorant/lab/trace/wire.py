"""The wire, heard from both sides: what jobs ask of the transport, and what libcurl asks of the loop.

Nothing is changed on the way; each call is written down and passed on. An `EventedTransport` is heard through the
loop it was given, which is how libcurl's own wishes (watch this socket, wake me in n ms) become visible.
"""

from __future__ import annotations

import dataclasses
import resource
import socket
from collections.abc import Callable
from typing import Any

from cormorant.interfaces import Deliver, EventedTransport, Loop, Transport, Transports
from cormorant.lab.trace.events import What
from cormorant.lab.trace.notes import Notes, ticket
from cormorant.messages import Outcome, Page, Request

SOCKET_CALLBACK = "curl_multi socket callback"
TIMER_CALLBACK = "curl_multi timer callback"


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
        sockets = _Sockets()
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


class _Sockets:
    """Which job a socket serves, found by its local port: libcurl names the port of a hop when that is over."""

    def __init__(self) -> None:
        self._port_of: dict[int, int | None] = {}
        self._unowned: dict[int, list[Any]] = {}

    def watched(self, descriptor: int, note: Any) -> None:
        """Take a note about a descriptor that libcurl wants to be watched."""
        self._port_of[descriptor] = _local_port(descriptor)
        self.heard(descriptor, note)

    def heard(self, descriptor: int, note: Any) -> None:
        """Take a note about a descriptor."""
        port = self._port_of.get(descriptor)
        if port is not None:
            self._unowned.setdefault(port, []).append(note)

    def forgotten(self, descriptor: int, note: Any) -> None:
        """Take the last note about a descriptor."""
        self.heard(descriptor, note)
        self._port_of.pop(descriptor, None)

    def is_socket(self, descriptor: int) -> bool:
        """Return whether it is a connection, and no bell."""
        return self._port_of.get(descriptor) is not None

    def owned(self, port: int, job: int | None, since: float) -> None:
        """Give a hop's job everything that was heard of its connection since the hop began."""
        for note in self._unowned.pop(port, ()):
            if note.at >= since:
                note.job = job


def _local_port(descriptor: int) -> int | None:
    """Return a connection's local port; None for what is no connection (the bells of libcurl and of our resolver)."""
    try:
        borrowed = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        name = borrowed.getsockname()
    except OSError:
        return None
    finally:
        borrowed.detach()  # it stays libcurl's
    return name[1] if isinstance(name, tuple) else None


class HeardLoop:
    """Implements `interfaces.Loop`: notes what libcurl wants of the loop, and passes it on."""

    def __init__(self, loop: Loop, notes: Notes, sockets: _Sockets) -> None:
        self._loop, self._notes, self._sockets = loop, notes, sockets

    def watch(self, descriptor: int, reading: bool, writing: bool) -> None:
        """Watch this socket from now on; both False: no longer."""
        wish = _modes(reading, writing)
        detail = f"tell when fd {descriptor} is {wish}" if wish else f"watch fd {descriptor} no longer"
        note = self._notes.note(What.WANTED, SOCKET_CALLBACK, detail=detail, descriptor=descriptor)
        (self._sockets.watched if wish else self._sockets.forgotten)(descriptor, note)
        self._loop.watch(descriptor, reading, writing)

    def wake_in(self, seconds: float | None) -> None:
        """Call `expired` after this long."""
        detail = "wake me no more" if seconds is None else f"wake me in {seconds * 1000:,.0f} ms"
        self._notes.note(What.TIMER, TIMER_CALLBACK, detail=detail, seconds=seconds)
        self._loop.wake_in(seconds)


class HeardEvented:
    """Implements `interfaces.EventedTransport`: notes what jobs ask and get, and what the loop tells libcurl."""

    def __init__(self, transport: EventedTransport, notes: Notes, sockets: _Sockets) -> None:
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
        """Ask libcurl, as long as the handle still knows, by which port the hop went."""
        _, job, since = self._hops.pop(id(key), (None, None, 0.0))
        port = _port_of(key)
        if port:
            self._sockets.owned(port, job, since)

    def cancel(self, key: object) -> None:
        """Drop a hop."""
        if id(key) in self._hops:
            self._notes.note(What.CANCELLED, "EventedTransport.cancel", job=self._hops[id(key)][1])
            self._end(key)
        self._transport.cancel(key)

    def ready(self, descriptor: int, readable: bool, writable: bool) -> None:
        """Let libcurl read or write this socket."""
        what = "" if self._sockets.is_socket(descriptor) else ", a bell and no connection"
        detail = f"fd {descriptor} is {_modes(readable, writable)}{what}"
        note = self._notes.note(What.READY, "EventedTransport.ready", detail=detail, descriptor=descriptor)
        self._sockets.heard(descriptor, note)
        self._transport.ready(descriptor, readable, writable)

    def expired(self) -> None:
        """Let libcurl see to what has run out of time, and to what was just started."""
        self._notes.note(What.EXPIRED, "EventedTransport.expired", detail="the time libcurl asked for is over")
        self._transport.expired()


def _port_of(key: object) -> int:
    """Return the local port of a hop of `EventedCurl`; 0 when it never had a connection, or is not libcurl's."""
    hop = getattr(key, "hop", key)  # a hop that had to wait for its name is kept inside its question
    curl = getattr(hop[0], "curl", None) if isinstance(hop, tuple) else None
    if curl is None:
        return 0
    import pycurl

    ask: Callable[[int], Any] = curl.getinfo
    return int(ask(pycurl.LOCAL_PORT))


def _modes(reading: bool, writing: bool) -> str:
    return " and ".join(word for word, is_so in (("readable", reading), ("writable", writing)) if is_so)


def end_of(outcome: Outcome) -> str:
    """Return in a word how a hop ended."""
    return str(outcome.status) if isinstance(outcome, Page) else str(outcome.kind)
