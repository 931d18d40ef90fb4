"""`curl_multi` behind two callbacks, and no loop: the transport of greenlet, gevent and asyncio.

libcurl says which sockets to watch and when to be woken; whoever hosts us (`interfaces.Loop`) does both and
reports back by `ready` and `expired`. After each round of these it calls `deliver_ended`, once: asking libcurl
what has ended costs the same for one page as for fifty. Names are looked up before libcurl sees a request
(`resolver.py`), and how long a hop may take we count ourselves (`deadlines.py`). Everything but the looking up
happens in the loop's thread.
"""

from __future__ import annotations

import math
import resource
import socket
import time
from functools import partial
from typing import Any, TypeAlias

import msgspec
import pycurl

from cormorant.interfaces import Deliver, Loop
from cormorant.messages import Kind, Purpose, Request
from cormorant.options import Options
from cormorant.transport.deadlines import Deadlines, TimedExchange, without_pauses
from cormorant.transport.exchange import Connections, ca_options
from cormorant.transport.resolver import Question, Resolved, Resolver, address_page, dialled, lookup, no_address
from cormorant.urls import origin

Hop: TypeAlias = tuple[TimedExchange, int]  # a handle, and which of its loads

MOST_KEPT_CONNECTIONS = 4096
ENDED_AT_ONCE = 256  # most ended hops taken from libcurl in one call


class _Named:
    """The key of a hop that waits for its name first."""

    __slots__ = ("hop", "question")

    def __init__(self) -> None:
        self.question: Question
        self.hop: Hop | None = None


class EventedCurl:
    """Implements `interfaces.EventedTransport` over one `CurlMulti`."""

    def __init__(self, options: Options, loop: Loop) -> None:
        self._options = options
        self._loop = loop
        self._connections = Connections()
        self._idle: list[TimedExchange] = []
        self._running: dict[Any, TimedExchange] = {}
        self._deadlines = Deadlines(options.connect_timeout)
        self._curl_wakes_at = math.inf
        self._is_expiring = self._may_be_late = False
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._resolver: Resolver | None = None
        self._closed = False
        ca_options()  # what is wrong with the bundle is said now, not by every page
        self._multi: Any = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, _most_kept_connections())

    def start(self, request: Request, deliver: Deliver) -> Hop | _Named:
        """Begin one hop; `deliver(outcome)` follows exactly once."""
        host, port, name = dialled(origin(request.target))
        if name is None or self._options.proxy:  # a proxy looks names up itself
            return self._begin(request, deliver)
        known = self._resolver.kept(name) if self._resolver is not None else None
        if known is not None and known.addresses and request.purpose is not Purpose.ADDRESS:
            return self._begin(request, deliver, (host, port, known.addresses))
        named = _Named()
        named.question = Question(name, partial(self._on_resolved, named, request, deliver, port))
        seconds = min(self._options.connect_timeout, request.seconds)
        self._open_resolver().ask(named.question, seconds)
        self._wish()
        return named

    def _begin(
        self,
        request: Request,
        deliver: Deliver,
        resolved: tuple[str, int, tuple[str, ...]] | None = None,
        waited: float = 0.0,
    ) -> Hop:
        """Put a hop on a handle, with its addresses and the seconds it waited for them."""
        exchange = self._idle.pop() if self._idle else TimedExchange(self._options, self._connections)
        exchange.deliver = deliver
        exchange.load(request)
        if resolved is not None:
            exchange.name_seconds = waited
            exchange.use_addresses(*resolved)
        self._deadlines.begin(exchange)
        self._running[exchange.curl] = exchange
        self._multi.add_handle(exchange.curl)
        return exchange, exchange.loads

    def cancel(self, key: object) -> None:
        """Drop a hop; its connection is closed, its `deliver` forgotten."""
        if isinstance(key, _Named):
            key.question.is_withdrawn = True
            self.cancel(key.hop)
        elif isinstance(key, tuple):
            exchange, loads = key
            if exchange.loads == loads and self._running.pop(exchange.curl, None) is not None:
                self._multi.remove_handle(exchange.curl)
                exchange.deliver = None
                self._idle.append(exchange)

    def ready(self, descriptor: int, readable: bool, writable: bool) -> None:
        """Let libcurl read or write this socket."""
        if self._bell is not None and descriptor == self._bell[1].fileno():
            self._bell[1].recv(4096)
            return
        flags = (pycurl.CSELECT_IN if readable else 0) | (pycurl.CSELECT_OUT if writable else 0)
        self._multi.socket_action(descriptor, flags)

    def expired(self) -> None:
        """Let libcurl see to what has run out of time, and to what was just started."""
        self._curl_wakes_at = math.inf
        self._is_expiring = self._may_be_late = True
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._is_expiring = False
        self._wish()

    def paused(self, seconds: float) -> None:
        """Count these seconds for no hop."""
        self._deadlines.pause(seconds)
        if self._resolver is not None:
            self._resolver.pauses += seconds

    def deliver_ended(self) -> None:
        """Hand every ended hop to its `deliver`."""
        if self._resolver is not None:
            self._resolver.answer()
        self._end_what_libcurl_ended()
        if self._may_be_late and not self._closed:
            self._may_be_late = False
            if self._deadlines.next_at <= time.monotonic():
                self._end_late()

    def _end_what_libcurl_ended(self) -> None:
        queued = 1
        while queued and not self._closed:
            queued, good, bad = self._multi.info_read(ENDED_AT_ONCE)
            for curl in good:
                self._end(curl, None)
            for curl, code, words in bad:
                self._end(curl, (code, words))

    def _end_late(self) -> None:
        """End the hops that are late although the ready sockets of this round were read."""
        late = self._deadlines.take_late()
        for exchange in late:
            exchange.end_now()
            if exchange.descriptor is not None:
                self._multi.socket_action(exchange.descriptor, 0)
        hops = [(exchange, exchange.loads) for exchange in late]
        self._end_what_libcurl_ended()
        if any(self._is_running(hop) for hop in hops):  # without a socket of its own: libcurl has to look at all
            self._multi.perform()
            self._end_what_libcurl_ended()
        for hop in hops:  # libcurl began it less than its millisecond ago
            if self._is_running(hop):
                self._deadlines.look_again(hop[0])
        if not self._closed:
            self._wish()

    def _is_running(self, hop: Hop) -> bool:
        exchange, loads = hop
        return exchange.loads == loads and exchange.curl in self._running

    def _end(self, curl: Any, error: tuple[int, str] | None) -> None:
        exchange = self._running.pop(curl, None)
        if exchange is None:
            return  # cancelled, or all closed, by a `deliver` of this very round
        outcome = exchange.outcome(error)  # first: a removed handle does not know its socket any more
        if exchange.pauses_before != self._deadlines.pauses:
            outcome = without_pauses(outcome, self._deadlines.seconds_of(exchange))
        self._multi.remove_handle(exchange.curl)
        if exchange.must_be_made_again:
            self._make_again(exchange)
            return
        exchange.use_fresh_connection(False)
        deliver, exchange.deliver = exchange.deliver, None
        self._idle.append(exchange)
        assert deliver is not None
        deliver(outcome)

    def _make_again(self, exchange: TimedExchange) -> None:
        """Start a hop once more, on a new connection; its time is the one it had."""
        began, name_seconds = exchange.began, exchange.name_seconds
        exchange.load(exchange.request)
        exchange.use_fresh_connection(True)
        self._deadlines.go_on(exchange, began, name_seconds)
        self._running[exchange.curl] = exchange
        self._multi.add_handle(exchange.curl)

    # --- names ---

    def _open_resolver(self) -> Resolver:
        if self._resolver is None:
            self._bell = bell = socket.socketpair()
            for end in bell:
                end.setblocking(False)
            self._loop.watch(bell[1].fileno(), True, False)
            self._resolver = Resolver(partial(_ring, bell[0]), lookup)
        return self._resolver

    def _on_resolved(
        self, named: _Named, request: Request, deliver: Deliver, port: int, resolved: Resolved, waited: float
    ) -> None:
        """Go on with a hop whose name was looked up, within what is left of its time."""
        left = request.seconds - waited
        if resolved.addresses and request.purpose is Purpose.ADDRESS:
            deliver(address_page(request, resolved.addresses, waited))
            return
        if resolved.addresses and left > 0:
            host = dialled(origin(request.target))[0]
            rest = msgspec.structs.replace(request, seconds=left)
            named.hop = self._begin(rest, deliver, (host, port, resolved.addresses), waited)
            return
        kind = Kind.TIMEOUT if resolved.is_late or resolved.addresses else Kind.DNS
        deliver(no_address(request, kind, resolved.problem or f"Resolving took {waited:.1f} s", waited))

    # --- what libcurl wants of the loop; called inside libcurl ---

    def _on_socket(self, event: int, descriptor: int, _multi: object, _data: object) -> None:
        if event == pycurl.POLL_REMOVE:
            self._loop.watch(descriptor, False, False)
        else:
            self._loop.watch(descriptor, bool(event & pycurl.POLL_IN), bool(event & pycurl.POLL_OUT))

    def _on_timer(self, milliseconds: int) -> None:
        if milliseconds <= 0:
            self._curl_wakes_at = math.inf if milliseconds else 0.0
        else:
            self._curl_wakes_at = time.monotonic() + milliseconds / 1000
        if self._is_expiring:
            return  # `expired` will wish
        if milliseconds == 0:
            self._loop.wake_in(0.0)
        else:
            self._wish()

    def _wish(self) -> None:
        """Ask to be woken for libcurl, for a hop or for a name that takes too long, whichever is first."""
        at, due = self._curl_wakes_at, self._deadlines.next_at
        if due < at:
            at = due
        if self._resolver is not None:
            at = min(at, self._resolver.next_deadline() or math.inf)
        seconds = at - time.monotonic()
        self._loop.wake_in(None if at == math.inf else seconds if seconds > 0 else 0.0)

    def close(self) -> None:
        """Drop every hop and connection without delivering."""
        if self._closed:
            return
        self._closed = True
        for curl in self._running:
            self._multi.remove_handle(curl)
        for exchange in (*self._running.values(), *self._idle):
            exchange.close()
        self._running.clear()
        self._idle.clear()
        self._multi.close()
        if self._resolver is not None and self._bell is not None:
            self._resolver.close()
            self._loop.watch(self._bell[1].fileno(), False, False)
            for end in self._bell:
                end.close()


def _most_kept_connections() -> int:
    """Return how many idle connections may be kept: half of the files we may open are for those under way."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (
        MOST_KEPT_CONNECTIONS
        if files == resource.RLIM_INFINITY
        else min(MOST_KEPT_CONNECTIONS, max(8, files // 2 - 32))
    )


def _ring(bell: socket.socket) -> None:
    """Wake the loop; from any thread."""
    try:
        bell.send(b"!")
    except OSError:
        pass  # rung enough already, or closed meanwhile
