"""The work of a fetch job: one hop, and beside it what is to be made of the page. Picklable, so it runs in any engine.

`parse` is the user's function; a crawl's job also looks where the page leads. Both run in the job, so that they
use the cores that the engine uses.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeGuard

import msgspec

from cormorant.content import sitemaps
from cormorant.engines import job
from cormorant.messages import Failure, Harvest, Kind, Lead, Outcome, Page, Purpose, Request, failed
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
        return self.parsed(request, fetch(request))

    def parsed(self, request: Request, page: Outcome) -> Outcome:
        """Run the function on what came for a request."""
        if not _is_good(page, request):
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
        return await self.parsed(request, await afetch(request))

    async def parsed(self, request: Request, page: Outcome) -> Outcome:
        """Run the function on what came for a request."""
        if not _is_good(page, request):
            return page
        try:
            return msgspec.structs.replace(page, data=await self.parse(page))
        except Exception as error:
            return _parse_failed(page, error)


@dataclasses.dataclass(frozen=True, slots=True)
class FetchAndLook:
    """A crawl's job: make one hop, look where the page (or the sitemap) leads, then run `parse` if there is one."""

    parse: FetchAndParse | None
    obeys_meta: bool

    def __call__(self, request: Request) -> Harvest:
        """Do all for one request."""
        harvest = look(request, fetch(request), self.obeys_meta)
        if self.parse is None:
            return harvest
        return msgspec.structs.replace(harvest, outcome=self.parse.parsed(request, harvest.outcome))


@dataclasses.dataclass(frozen=True, slots=True)
class AwaitedFetchAndLook:
    """Do what `FetchAndLook` does, awaiting the page, and an `async def` parse function."""

    parse: AwaitedFetchAndParse | None
    obeys_meta: bool

    async def __call__(self, request: Request) -> Harvest:
        """Do all for one request."""
        harvest = look(request, await afetch(request), self.obeys_meta)
        if self.parse is None:
            return harvest
        return msgspec.structs.replace(harvest, outcome=await self.parse.parsed(request, harvest.outcome))


def work_for(engine: str, parse: Parse | None) -> Callable[[Request], Any]:
    """Return the work that suits an engine: awaiting where nothing plain has to run, plain otherwise."""
    if parse is None:
        return afetch if engine == "asyncio" else fetch
    return AwaitedFetchAndParse(parse) if inspect.iscoroutinefunction(parse) else FetchAndParse(parse)


def crawl_work_for(engine: str, parse: Parse | None, obeys_meta: bool) -> Callable[[Request], Any]:
    """Return the work of a crawl's jobs that suits an engine."""
    if parse is None:
        return AwaitedFetchAndLook(None, obeys_meta) if engine == "asyncio" else FetchAndLook(None, obeys_meta)
    if inspect.iscoroutinefunction(parse):
        return AwaitedFetchAndLook(AwaitedFetchAndParse(parse), obeys_meta)
    return FetchAndLook(FetchAndParse(parse), obeys_meta)


def look(request: Request, outcome: Outcome, obeys_meta: bool) -> Harvest:
    """Return an outcome with what it leads to: a good page to its links, a sitemap to what it lists."""
    if not isinstance(outcome, Page) or not outcome.ok or points_elsewhere(outcome):
        return Harvest(outcome=outcome)
    if request.purpose is Purpose.SITEMAP:
        return _of_sitemap(outcome)
    return _of_page(outcome, obeys_meta) if request.purpose is Purpose.PAGE else Harvest(outcome=outcome)


def _of_page(page: Page, obeys_meta: bool) -> Harvest:
    seen = page.look()
    leads = tuple(Lead(url=link.url, text=link.text, nofollow=link.nofollow) for link in seen.links)
    outcome: Outcome = page
    if obeys_meta:
        from cormorant.content.links import robots_tag

        tagged = robots_tag([value for name, value in page.headers if name.lower() == "x-robots-tag"])
        noindex, nofollow = tagged[0] or seen.noindex, tagged[1] or seen.nofollow
        if nofollow:
            leads = tuple(msgspec.structs.replace(lead, nofollow=True) for lead in leads)
        if noindex:
            bare = msgspec.structs.replace(page, body=b"")
            outcome = failed(bare, Kind.BLOCKED, "the page asks not to be kept: noindex", phase="robots")
    return Harvest(outcome=outcome, leads=leads, left_out=seen.left_out)


def _of_sitemap(page: Page) -> Harvest:
    listed = sitemaps.read(page.body, page.final_url or page.url)
    return Harvest(
        outcome=msgspec.structs.replace(page, body=b""),  # nobody keeps it, and it may have to travel
        leads=tuple(Lead(url=link.url, lastmod=link.lastmod) for link in listed.links),
        sitemaps=tuple(link.url for link in listed.sitemaps),
        left_out=listed.left_out,
    )


def _is_good(page: Outcome, request: Request) -> TypeGuard[Page]:
    """Return whether there is a page to parse: no redirect, and no word that an earlier one still holds."""
    if request.purpose is not Purpose.PAGE or not isinstance(page, Page):
        return False
    return page.ok and not page.unchanged and not points_elsewhere(page)


def _parse_failed(page: Page, error: Exception) -> Failure:
    fault = job.fault_of(error)
    return failed(page, Kind.CALLBACK, f"parse: {fault.message}")
