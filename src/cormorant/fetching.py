"""The work of a fetch job: one hop, and the user's parse function beside it. Picklable, so it runs in any engine."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeGuard

import msgspec

from cormorant.engines import job
from cormorant.messages import Failure, Kind, Outcome, Page, Request, failed
from cormorant.policies.redirects import points_elsewhere

Parse = Callable[[Page], Any]


def fetch(request: Request) -> Outcome:
    """Make one hop, waiting as the running engine waits."""
    running = job.current.get()
    assert running is not None
    assert running.wire is not None
    return running.wire.fetch(request)


async def afetch(request: Request) -> Outcome:
    """Make one hop, awaiting it."""
    running = job.current.get()
    assert running is not None
    assert running.awaited_wire is not None
    return await running.awaited_wire.fetch(request)


@dataclasses.dataclass(frozen=True, slots=True)
class FetchAndParse:
    """Make one hop, then run `parse` on a good page; its result rides in `data`, what it raises makes the failure."""

    parse: Parse

    def __call__(self, request: Request) -> Outcome:
        """Do both for one request."""
        page = fetch(request)
        if not _is_parsed(page):
            return page
        try:
            return msgspec.structs.replace(page, data=self.parse(page))
        except Exception as error:
            return _parse_failed(page, error)


@dataclasses.dataclass(frozen=True, slots=True)
class AwaitedFetchAndParse:
    """Do what `FetchAndParse` does with an `async def` parse function."""

    parse: Callable[[Page], Any]

    async def __call__(self, request: Request) -> Outcome:
        """Do both for one request."""
        page = await afetch(request)
        if not _is_parsed(page):
            return page
        try:
            return msgspec.structs.replace(page, data=await self.parse(page))
        except Exception as error:
            return _parse_failed(page, error)


def work_for(engine: str, parse: Parse | None) -> Callable[[Request], Any]:
    """Return the work that suits an engine: awaiting where nothing plain has to run, plain otherwise."""
    if parse is None:
        return afetch if engine == "asyncio" else fetch
    return AwaitedFetchAndParse(parse) if inspect.iscoroutinefunction(parse) else FetchAndParse(parse)


def _is_parsed(page: Outcome) -> TypeGuard[Page]:
    return isinstance(page, Page) and page.ok and not points_elsewhere(page)


def _parse_failed(page: Page, error: Exception) -> Failure:
    fault = job.fault_of(error)
    return failed(page, Kind.CALLBACK, f"parse: {fault.message}")
