"""One handle that waits: the transport of serial, pool, process and thread. One per thread, reused for life."""

from __future__ import annotations

import threading
import time

import pycurl

from cormorant.messages import Kind, Outcome, Purpose, Request
from cormorant.options import Options
from cormorant.transport.exchange import Connections, Exchange
from cormorant.transport.resolver import address_page, dialled, lookup, no_address
from cormorant.urls import origin


class BlockingCurl:
    """Implements `interfaces.Transport` by blocking the calling thread (the GIL is released meanwhile)."""

    def __init__(self, options: Options) -> None:
        self._exchange: Exchange | None = Exchange(options, Connections())
        if threading.current_thread() is threading.main_thread():
            # Python runs signal handlers between bytecodes: without some, Ctrl-C would wait for the page.
            self._exchange.curl.setopt(pycurl.NOPROGRESS, 0)
            self._exchange.curl.setopt(pycurl.XFERINFOFUNCTION, _let_signals_in)

    def fetch(self, request: Request) -> Outcome:
        """Make one hop and wait for it."""
        exchange = self._exchange
        assert exchange is not None, "fetch after close"
        if request.purpose is Purpose.ADDRESS:
            return _address(request)
        outcome = self._perform(exchange, request)
        if exchange.must_be_made_again:
            exchange.use_fresh_connection(True)
            outcome = self._perform(exchange, request)
            exchange.use_fresh_connection(False)
        return outcome

    def _perform(self, exchange: Exchange, request: Request) -> Outcome:
        exchange.load(request)
        if exchange.is_interrupted:
            return exchange.outcome((pycurl.E_ABORTED_BY_CALLBACK, "stopped before it began"))
        try:
            exchange.curl.perform()
        except pycurl.error as error:
            code, words = error.args
            return exchange.outcome((code, words))
        return exchange.outcome(None)

    def interrupt(self) -> None:
        """Make a `fetch` in another thread return soon."""
        if self._exchange is not None:
            self._exchange.interrupt()

    def close(self) -> None:
        """Drop the handle and its connections."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()


def _address(request: Request) -> Outcome:
    """Look up what the name in the request stands for; the system knows no deadline for that."""
    host, _, name = dialled(origin(request.target))
    began = time.monotonic()
    resolved = lookup(name or host)
    seconds = time.monotonic() - began
    if resolved.addresses:
        return address_page(request, resolved.addresses, seconds)
    return no_address(request, Kind.DNS, resolved.problem, seconds)


def _let_signals_in(*_progress: int) -> None:
    """Give the interpreter a bytecode to run pending signal handlers at."""
