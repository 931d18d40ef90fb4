"""Two ways to drive a transport in a test: straight (blocking), and by a loop of a few lines (evented).

Both offer `fetch` and `fetch_all`, so that one test body serves both.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from cormorant.interfaces import EventedTransport, Transports
from cormorant.messages import Outcome, Request
from cormorant.scheduler.requests import first_request

PATIENCE_SECONDS = 30.0


def asking(url: str, seconds: float = 10.0, **more: Any) -> Request:
    """Return a request for `url`, cleaned as the product does it."""
    extra = more.pop("headers", ())
    return msgspec.structs.replace(first_request(url, None, extra, seconds), **more)


class BlockingDriver:
    """One page after the other."""

    name = "blocking"

    def __init__(self, transports: Transports) -> None:
        self.transport = transports.blocking()

    def fetch(self, request: Request) -> Outcome:
        """Make one hop."""
        return self.transport.fetch(request)

    def fetch_all(self, requests: Sequence[Request]) -> list[Outcome]:
        """Make hops one after the other."""
        return [self.fetch(request) for request in requests]

    def close(self) -> None:
        """Drop the transport."""
        self.transport.close()


class HandLoop:
    """The least that `interfaces.Loop` asks for, over one selector."""

    def __init__(self) -> None:
        self.transport: EventedTransport
        self.selector = selectors.DefaultSelector()
        self.watched: dict[int, int] = {}
        self.wake_at: float | None = None
        self.wakes = 0

    def watch(self, descriptor: int, reading: bool, writing: bool) -> None:
        """Report this socket from now on, or forget it."""
        events = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if writing else 0)
        known = self.watched.pop(descriptor, 0)
        if known:
            self.selector.unregister(descriptor)
        if events:
            self.selector.register(descriptor, events)
            self.watched[descriptor] = events

    def wake_in(self, seconds: float | None) -> None:
        """Remember the last wish."""
        self.wake_at = None if seconds is None else time.monotonic() + seconds

    def turn(self, most: float) -> None:
        """Wait, report what is ready, report the time, deliver."""
        patience = most if self.wake_at is None else min(most, max(0.0, self.wake_at - time.monotonic()))
        for key, events in self.selector.select(patience):
            if key.fd in self.watched:  # the one before may have ended it
                reading, writing = bool(events & selectors.EVENT_READ), bool(events & selectors.EVENT_WRITE)
                self.transport.ready(key.fd, reading, writing)
        if self.wake_at is not None and self.wake_at <= time.monotonic():
            self.wake_at = None
            self.wakes += 1
            self.transport.expired()
        self.transport.deliver_ended()

    def run_until(self, done: Callable[[], bool], seconds: float = PATIENCE_SECONDS, most: float = 1.0) -> None:
        """Turn until `done()`, asking at least every `most` seconds; AssertionError when that takes too long."""
        end = time.monotonic() + seconds
        while not done():
            left = end - time.monotonic()
            assert left > 0, "the transport did not deliver"
            self.turn(min(left, most))


class EventedDriver:
    """Any number of pages at once."""

    name = "evented"

    def __init__(self, transports: Transports) -> None:
        self.loop = HandLoop()
        self.transport = self.loop.transport = transports.evented(self.loop)

    def fetch(self, request: Request) -> Outcome:
        """Make one hop."""
        return self.fetch_all([request])[0]

    def fetch_all(self, requests: Sequence[Request]) -> list[Outcome]:
        """Make all hops at once; returns the outcomes in the order of the requests."""
        came: dict[int, Outcome] = {}

        def deliver_to(number: int) -> Callable[[Outcome], None]:
            def deliver(outcome: Outcome) -> None:
                assert number not in came, f"delivered twice: {outcome}"
                came[number] = outcome

            return deliver

        for number, request in enumerate(requests):
            self.transport.start(request, deliver_to(number))
        self.loop.run_until(lambda: len(came) == len(requests))
        return [came[number] for number in range(len(requests))]

    def close(self) -> None:
        """Drop the transport and the loop."""
        self.transport.close()
        self.loop.selector.close()


DRIVERS = {driver.name: driver for driver in (BlockingDriver, EventedDriver)}
Driver = BlockingDriver | EventedDriver
