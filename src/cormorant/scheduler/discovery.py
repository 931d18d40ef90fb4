"""What a page leads to: which of its links become requests, which are left out, and why. Pure.

A URL is looked at once, by its canonical form; but what was left out for its depth, or because no seed reached so far,
may still come in: by a shorter way, or when a seed has moved there. Budgets of pages are spent when a page is about to
be asked for, so that those that go first, and that robots.txt allows, get them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from cormorant import urls
from cormorant.interfaces import Books, Frontier, Neighbours
from cormorant.messages import (
    Failure,
    Found,
    Harvest,
    Headers,
    Kind,
    Lead,
    LeftOut,
    LinkOver,
    Page,
    Purpose,
    Request,
    SitemapOver,
    failed,
)
from cormorant.policies.following import Following
from cormorant.policies.redirects import carried_across_origins
from cormorant.policies.scope import MAY_COME_IN, Scope

MOST_SITEMAP_BYTES = 50 * 1024 * 1024  # https://www.sitemaps.org/protocol.html
MOST_SITEMAPS_A_HOST = 1_000
DEEPEST_SITEMAP = 3  # an index of indexes of indexes; the protocol allows one level


class Discovery:
    """Turns what pages hold into requests. `left_out` counts by reason. `is_closed`: no page more is asked for.

    In a fleet what lies on a host of another share is looked at there: `neighbours` carry it over. Where depth is
    limited, what lies on our own hosts travels, too: else a longer way within one share would be found before a
    shorter one between two, for mail takes its time.
    """

    def __init__(
        self,
        scope: Scope,
        following: Following,
        frontier: Frontier,
        headers: Headers,
        seconds: float,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._neighbours = neighbours
        self._bounds = scope.bounds()
        self._following, self._frontier = following, frontier
        self._headers, self._seconds = headers, seconds
        self._strangers = carried_across_origins(headers)
        self._own_headers: dict[str, Headers] = {}  # of the seeds' origins, where there is anything to keep from others
        self._sitemaps_of: Counter[str] = Counter()
        self._told: list[LeftOut] = []
        self.left_out: Counter[str] = Counter()
        self.found = 0
        self.reports_left_out = False
        self.is_closed = False

    @property
    def reads_sitemaps(self) -> bool:
        """Whether sitemaps are asked for."""
        return self._following.sitemaps

    def headers_for(self, origin: str) -> Headers:
        """Return what a host may be sent: the user's own headers and credentials where a seed is, else the harmless."""
        return self._own_headers.get(origin, self._strangers)

    def may_start(self, request: Request) -> bool:
        """Take a page out of the budgets of pages; when they are spent it is left out. Others always may."""
        if request.purpose is not Purpose.PAGE or request.attempts > 1 or request.redirects:
            return True
        reason = "pages" if self.is_closed else self._bounds.spend_page(request.url)
        if reason is not None and request.found is not None:
            self._leave_out(request.url, reason, request.found.source, request.found.depth)
        return reason is None

    def seed(self, request: Request) -> Request:
        """Return a line of input as a request. What it sends goes to its own origin alone."""
        self._reach_out(request)
        return msgspec.structs.replace(request, found=Found(), priority=self._following.priority(request.url))

    def _reach_out(self, seed: Request) -> None:
        self._bounds.add_seed(seed.url)
        if seed.headers != self._strangers:
            self._own_headers[urls.origin(seed.url)] = seed.headers

    def go_on(self, books: Books, found: int, left_out: Mapping[str, int]) -> None:
        """Go on with a crawl that has come so far: take its seeds and its budgets from what it has found."""
        self.found = found
        self.left_out.update(left_out)
        counts_hosts = self._bounds.counts_hosts
        if not counts_hosts:
            self._bounds.spend_pages(books.asked_for)
        for request, moved, was_asked_for in books.trail(is_whole=counts_hosts):
            if request.purpose is Purpose.SITEMAP:
                self._sitemaps_of[urls.origin(request.url)] += 1
                continue
            if moved is not None:
                if _is_seed(request):
                    self._bounds.seed_moved(request.target, moved)
                continue
            if _is_seed(request):
                self._reach_out(request)
            else:
                self._bounds.spend(request.url)
            if was_asked_for and counts_hosts:
                self._bounds.spend_page(request.url)

    def requests(self, harvest: Harvest, source: Request) -> Iterator[Request]:
        """Yield a request for each link that is new and within bounds."""
        outcome, depth = harvest.outcome, source.found.depth if source.found is not None else 0
        page_url = outcome.final_url or outcome.url
        is_page = source.purpose is Purpose.PAGE
        for lead in harvest.leads:
            if self._following.obey_meta and lead.nofollow:
                continue  # another page may link to it without
            found = Found(depth=depth + 1 if is_page else 0, source=page_url, text=lead.text, lastmod=lead.lastmod)
            if self._neighbours is not None and not self._is_judged_here(lead.url, found.depth):
                self._neighbours.hand_over(LinkOver(lead, found))
                continue
            request = self._request(lead, found)
            if request is not None:
                yield request
        if harvest.left_out and self._frontier.is_new(f"too many links {page_url}"):  # else it was counted before
            self.found += harvest.left_out
            self.left_out["links a page"] += harvest.left_out
        yield from self._sitemaps(harvest.sitemaps, depth + 1, page_url)

    def _is_judged_here(self, url: str, depth: int) -> bool:
        """Whether a link is looked at when its page is, and not when its mail comes."""
        assert self._neighbours is not None
        if not self._neighbours.owns(url):
            return False
        return not self._bounds.limit_depth or self._bounds.is_too_deep(depth) or self._frontier.knows(self.key(url))

    def sighted(self, item: LinkOver | SitemapOver) -> Iterator[Request]:
        """Yield a request for what another share has found on a host of ours, if it is new and within bounds."""
        if isinstance(item, SitemapOver):
            yield from self._sitemaps((item.url,), item.depth, item.index)
            return
        request = self._request(item.lead, item.found)
        if request is not None:
            yield request

    def _request(self, lead: Lead, found: Found) -> Request | None:
        url, key = lead.url, self.key(lead.url)
        if self._frontier.knows(key):
            return None
        reason = self._bounds.refusal(url, found.depth)
        if not self._frontier.is_new(f"{reason} {key}" if reason in MAY_COME_IN else key):
            return None
        self.found += 1
        reason = reason or self._bounds.spend(url)
        if reason is not None:
            self._leave_out(url, reason, found.source, found.depth)
            return None
        return Request(
            url=url,
            target=url,
            input=url,
            headers=self.headers_for(urls.origin(url)),
            seconds=self._seconds,
            found=found,
            priority=self._following.priority(url) if self._following.prefer else 0,
        )

    def sitemaps_of(self, origin: str, named: Sequence[str]) -> Iterator[Request]:
        """Yield a request for each sitemap of a host within reach: those its robots.txt names, else the usual one.

        Those may lie elsewhere: https://www.sitemaps.org/protocol.html#submit_robots.
        """
        if self._bounds.reaches(origin) and self._frontier.is_new(f"sitemaps {origin}"):
            yield from self._sitemaps(named or (f"{origin}/sitemap.xml",), 0)

    def _sitemaps(self, listed: Sequence[str], depth: int, index: str = "") -> Iterator[Request]:
        """Yield a request for each sitemap that is new; `depth` counts the indexes above it, `index` is the nearest."""
        for url in listed:
            if self._neighbours is not None and not self._neighbours.owns(url):
                self._neighbours.hand_over(SitemapOver(url, depth, index))
                continue
            origin = urls.origin(url)
            if not self._frontier.is_new(f"sitemap {url}"):
                continue
            reason = self._no_sitemap(origin, depth, index)
            if reason is not None:
                self.found += 1
                self._leave_out(url, reason, index, depth)
                continue
            self._sitemaps_of[origin] += 1
            yield Request(
                url=url,
                target=url,
                headers=self.headers_for(origin),
                seconds=self._seconds,
                purpose=Purpose.SITEMAP,
                found=Found(depth=depth),
                max_body=MOST_SITEMAP_BYTES,
            )

    def _no_sitemap(self, origin: str, depth: int, index: str) -> str | None:
        """Return why a sitemap is left out, or None."""
        if depth > DEEPEST_SITEMAP:
            return "sitemap depth"
        if index and origin != urls.origin(index) and not self._bounds.reaches(origin):
            return "scope"
        if self._sitemaps_of[origin] >= MOST_SITEMAPS_A_HOST:
            return "sitemaps"
        return "pages" if self.is_closed or self._bounds.is_spent else None

    def redirected(self, request: Request, hop: Request, page: Page) -> Request | Failure | None:
        """Return the hop if it is to be made, the failure when it leads out of bounds, None when it is seen already.

        To another spelling of the same URL it is made: so a site takes its tracking parameters off.
        A seed may move within its registered domain, and the crawl with it: few sites still answer under the name
        that people type. A hop to a host of another share is judged there, by the same call.
        """
        assert request.found is not None
        if self._neighbours is not None and not self._neighbours.owns(hop.target):
            return hop
        reason = (
            self._bounds.seed_moved(request.target, hop.target)
            if _is_seed(request)
            else self._bounds.refusal(hop.target, request.found.depth)
        )
        if reason is not None:
            return failed(page, Kind.BLOCKED, f"the redirect to {hop.target} is left out: {reason}")
        if hop.target in (hop_made.url for hop_made in hop.redirects):
            return failed(page, Kind.REDIRECT, f"a redirect loop: back to {hop.target}")
        key = self.key(hop.target)
        is_respelt = hop.target != request.target and key == self.key(request.target)
        return hop if is_respelt or self._frontier.is_new(key, by=request) else None

    def key(self, url: str) -> str:
        """Return what `url` is known by in this crawl."""
        return urls.canonical(url, self._following.drop_tracking)

    def _leave_out(self, url: str, reason: str, source: str, depth: int) -> None:
        self.left_out[reason] += 1
        if self.reports_left_out:
            self._told.append(LeftOut(url=url, reason=reason, source=source, depth=depth))

    def take_left_out(self) -> list[LeftOut]:
        """Hand over, once, what was left out since the last call."""
        told, self._told = self._told, []
        return told


def _is_seed(request: Request) -> bool:
    return request.found is not None and not request.found.depth and not request.found.source
