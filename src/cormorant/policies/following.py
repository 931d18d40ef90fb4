"""Which links of a page are followed, and which of them first. Pure."""

from __future__ import annotations

import dataclasses
import re

from cormorant.policies.scope import compiled


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """How a crawl goes on from a page.

    sitemaps        also fetch what the hosts' sitemaps list
    prefer          patterns (regular expressions, searched in the URL): a URL goes first for each that it matches
    obey_meta       do not follow `nofollow` links and pages, keep no `noindex` pages
    drop_tracking   take URLs that differ in tracking parameters alone (utm_source, gclid, ...) for one
    """

    sitemaps: bool = False
    prefer: tuple[str, ...] = ()
    obey_meta: bool = False
    drop_tracking: bool = False

    def __post_init__(self) -> None:
        compiled("prefer", self.prefer)

    def priority(self, url: str) -> int:
        """Return how many of the preferred patterns `url` matches."""
        return sum(re.search(pattern, url) is not None for pattern in self.prefer)
