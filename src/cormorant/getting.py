"""One page: `get` and `aget`, in the way of the running engine inside a job, by blocking (or awaiting) outside."""

from __future__ import annotations

import os
import threading
from typing import Any

import msgspec

from cormorant import engines, fetching
from cormorant.engines import job
from cormorant.errors import DeadlineExceeded, FetchError, UsageError
from cormorant.interfaces import Wire
from cormorant.messages import Failure, Outcome, Page, Request
from cormorant.options import Options, header_pairs
from cormorant.policies.redirects import Redirects
from cormorant.scheduler.requests import failure_of, first_request
from cormorant.transport import Curl


def get(
    url: str, *, timeout: float | None = None, header: Any = (), method: str = "GET", body: bytes | None = None
) -> Page:
    """Fetch one page, redirects followed, and return it whatever its status.

    Inside a job (`map`, a parse function) it waits the way the running engine waits, through the engine's
    connections, and never longer than the job's deadline. Elsewhere it blocks. `timeout` is the total, in
    seconds (default 30). Raises FetchError, which carries the Failure, when there is no page; UsageError when
    `url` is no URL, or inside an `async def` job (`await cormorant.aget(url)` there).
    """
    request = _request(url, timeout, header, method, body)
    running = job.current.get()
    if running is None:
        return _page(_hops(request, _own_wire()))
    if running.wire is None:
        raise UsageError("get would block the event loop: inside an async function write `await cormorant.aget(url)`")
    return _page(_hops(request, running.wire))


async def aget(
    url: str, *, timeout: float | None = None, header: Any = (), method: str = "GET", body: bytes | None = None
) -> Page:
    """Do what `get` does with `await`: inside an `async def` job, or in your own event loop."""
    request = _request(url, timeout, header, method, body)
    running = job.current.get()
    if running is not None and running.awaited_wire is not None:
        step: Request | Outcome = request
        while isinstance(step, Request):
            step = _after(step, await running.awaited_wire.fetch(step))
        return _page(step)
    return _page(await _alone(request))


async def _alone(request: Request) -> Outcome:
    """Make one fetch on the running loop, outside any job."""
    setup = engines.Setup(work=fetching.afetch, transports=Curl(Options()), width=1, has_user_code=False)
    engine = engines.start_awaited(setup)
    try:
        step: Request | Outcome = request
        while isinstance(step, Request):
            engine.start(0, step, step.seconds)
            (done,) = await engine.collect(None)
            step = _after(step, done.value if done.fault is None else failure_of(step, done.fault))
        return step
    finally:
        await engine.close()


def _hops(request: Request, wire: Wire) -> Outcome:
    step: Request | Outcome = request
    while isinstance(step, Request):
        step = _after(step, wire.fetch(step))
    return step


def _after(request: Request, outcome: Outcome) -> Request | Outcome:
    """Return the next hop, or the end."""
    return (Redirects().next(request, outcome) or outcome) if isinstance(outcome, Page) else outcome


def _request(url: str, timeout: float | None, header: Any, method: str, body: bytes | None) -> Request:
    method = method.upper()
    if not method.isalpha() or not method.isascii() or (body is not None and method in ("GET", "HEAD")):
        raise UsageError(f"method {method!r} cannot be sent{' with a body' if body is not None else ''}; write 'POST'")
    seconds = Options(timeout=Options().timeout if timeout is None else timeout).timeout
    running = job.current.get()
    if running is not None:
        seconds = min(seconds, running.seconds_left())
        if seconds <= 0:
            raise DeadlineExceeded
    request = first_request(url, None, header_pairs(header), seconds)
    return msgspec.structs.replace(request, method=method, body=body) if method != "GET" else request


def _page(outcome: Outcome) -> Page:
    if isinstance(outcome, Failure):
        raise FetchError(outcome)
    return outcome


_thread = threading.local()


def _own_wire() -> Wire:
    """Return this thread's own blocking transport, for `get` outside jobs; never the one of a process we forked off."""
    if getattr(_thread, "process", None) != os.getpid():
        _thread.process, _thread.wire = os.getpid(), Curl(Options()).blocking()
    wire: Wire = _thread.wire
    return wire
