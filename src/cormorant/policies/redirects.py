"""Whether and how a redirect is followed. Pure.

Every hop goes back through the scheduler as a request of its own, so that politeness, scope and the address
guard hold on it. Method rules: https://fetch.spec.whatwg.org/#http-redirect-fetch. What a user put on the
request for one origin (credentials, custom headers) is not carried to another: libcurl and the
well-known clients all leak custom headers there.
"""

from __future__ import annotations

import dataclasses

import msgspec

from cormorant import urls
from cormorant.errors import BadURL
from cormorant.messages import REDIRECTS, Failure, Headers, Kind, Page, Redirect, Request, failed

CARRIED_ACROSS_ORIGINS = frozenset(("accept", "accept-language", "user-agent"))
ABOUT_THIS_URL = frozenset(("if-none-match", "if-modified-since"))  # a validator of one URL says nothing of another
ABOUT_THE_BODY = frozenset(("content-encoding", "content-language", "content-location", "content-type"))


def points_elsewhere(page: Page) -> bool:
    """Return whether `page` is a redirect rather than an end in itself."""
    return page.status in REDIRECTS and page.header("location") is not None


@dataclasses.dataclass(frozen=True, slots=True)
class Redirects:
    """Follow at most `limit` hops."""

    limit: int = 10

    def next(self, request: Request, page: Page) -> Request | Failure | None:
        """Return the next hop, the failure it ends in, or None when `page` is an end in itself."""
        location = page.header("location") if page.status in REDIRECTS else None
        if location is None:
            return None
        if len(request.redirects) >= self.limit:
            return failed(page, Kind.REDIRECT, f"more than {self.limit} redirects")
        try:
            # Headers are read as Latin-1; a Location in raw UTF-8 is meant as UTF-8 (browsers agree).
            target, _ = urls.split_credentials(urls.clean(_as_utf8(location), request.target))
        except BadURL as error:
            kind = Kind.BLOCKED if "scheme" in str(error) else Kind.REDIRECT
            return failed(page, kind, f"redirect to {location[:200]!r}: {error}")
        left = request.seconds - page.timings.total
        if left <= 0:
            return failed(page, Kind.TIMEOUT, "the time was up after a redirect")
        return _hop(request, page, target, left)


def _hop(request: Request, page: Page, target: str, seconds_left: float) -> Request:
    method, body, headers = request.method, request.body, request.headers
    becomes_get = page.status == 303 and method not in ("GET", "HEAD")
    if becomes_get or (page.status in (301, 302) and method == "POST"):
        method, body = "GET", None
        headers = tuple(pair for pair in headers if pair[0].lower() not in ABOUT_THE_BODY)
    headers = tuple(pair for pair in headers if pair[0].lower() not in ABOUT_THIS_URL) if headers else headers
    if urls.origin(target) != urls.origin(request.target):
        headers = carried_across_origins(headers)
    hop = Redirect(url=request.target, status=page.status, seconds=page.timings.total)
    return msgspec.structs.replace(
        request,
        target=target,
        method=method,
        body=body,
        headers=headers,
        seconds=seconds_left,
        redirects=(*request.redirects, hop),
    )


def carried_across_origins(headers: Headers) -> Headers:
    """Return those of a user's headers that strangers may see."""
    return tuple(pair for pair in headers if pair[0].lower() in CARRIED_ACROSS_ORIGINS)


def _as_utf8(value: str) -> str:
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
