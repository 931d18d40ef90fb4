"""A workload: how many pages on how many hosts, how late, how large, how many of them rude. Stated and seeded.

Two equal workloads are the same list of URLs and the same answers, on any machine and in any process.
The server needs one for its seed, latency and sizes; the counts only say what `urls` lists, for the
kind of a page stands in its path and the server serves every kind.
"""

from __future__ import annotations

import dataclasses
import functools
import random
import sys
from typing import Any

from cormorant.errors import UsageError
from cormorant.lab.site.distribution import Distribution

# What a page does, as the first part of its path -> in words.
KINDS = {
    "page": "answers 200 after its latency",
    "gzip": "the same, gzip-encoded",
    "slow": "answers `slow_seconds` later than its latency",
    "drip": "sends its body in pieces over `drip_seconds`",
    "hang": "takes the request and never answers",
    "not-found": "answers 404",
    "server-error": "answers 500",
    "cut": "says a Content-Length, sends half of it and closes",
    "redirect": "redirects one to three times and ends at a page of another host",
}
# The usual mix, of 100 pages.
PER_HUNDRED = {"gzip": 10, "redirect": 4, "not_found": 3, "slow": 2, "server_error": 2, "cut": 2, "drip": 1}

_HOSTS_A_BLOCK = 250
_MOST_HOSTS = 250 * 256


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What the site serves and `urls` lists. Times are seconds.

    pages         URLs in the list, all kinds together
    hosts         addresses they are spread over; only 127.0.0.1 where the system is not Linux
    seed          changes every draw and the order of the list
    latency       until the first byte: `constant:S`, `uniform:LOW:HIGH`, `exponential:MEAN`, `lognormal:MEDIAN:SIGMA`
    body_bytes    size of a good body before encoding, a number or a distribution; never below what names the page
    slow_seconds  added to the latency of a slow page
    drip_seconds  from first to last byte of a dripping page
    hang … gzip   how many of the pages are of that kind; the rest is good and plain
    """

    pages: int = 500
    hosts: int = 20
    seed: int = 1
    latency: str = "lognormal:0.02:0.8"
    body_bytes: int | str = 10240
    slow_seconds: float = 0.5
    drip_seconds: float = 0.5
    hang: int = 0
    drip: int = 0
    slow: int = 0
    not_found: int = 0
    server_error: int = 0
    cut: int = 0
    redirect: int = 0
    gzip: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.hosts <= _MOST_HOSTS:
            raise UsageError(f"hosts is {self.hosts}; give 1 to {_MOST_HOSTS}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "seed" and not isinstance(value, str) and value < 0:
                raise UsageError(f"{field.name} is {value}; give 0 or more")
        rude = sum(self.counts().values())
        if rude > self.pages:
            raise UsageError(
                f"{rude} pages of special kinds do not fit into {self.pages} pages; give pages={rude} or more"
            )
        Distribution.parse(self.latency)
        Distribution.parse(str(self.body_bytes))

    @classmethod
    def mixed(cls, pages: int = 500, **changes: Any) -> Workload:
        """Return the usual mix: `PER_HUNDRED` of each kind, one at the least, and two of all that hang."""
        counts: dict[str, Any] = {name: max(1, pages * share // 100) for name, share in PER_HUNDRED.items()}
        return cls(**{"pages": pages, "hang": 2, **counts, **changes})

    def counts(self) -> dict[str, int]:
        """Return how many pages of each special kind the list holds."""
        return {kind: getattr(self, kind.replace("-", "_")) for kind in KINDS if kind != "page"}

    def urls(self, port: int) -> list[str]:
        """Return the whole list for a site at `port`, kinds shuffled by the seed, hosts in turn."""
        return [self.url(number, port) for number in range(self.pages)]

    def url(self, number: int, port: int) -> str:
        """Return the URL of page `number`."""
        return f"http://{self.host(number)}:{port}/{_kinds(self)[number]}/{number}"

    def host(self, number: int) -> str:
        """Return the host of page `number`: 127.0.0.1 to 127.0.0.250, then 127.0.1.1 and on."""
        block, place = divmod(number % self.hosts_here, _HOSTS_A_BLOCK)
        return f"127.0.{block}.{place + 1}"

    @property
    def hosts_here(self) -> int:
        """How many hosts this machine can give: all of 127.0.0.0/8 is loopback on Linux only."""
        return self.hosts if sys.platform == "linux" else 1


@functools.lru_cache(maxsize=16)
def _kinds(workload: Workload) -> list[str]:
    kinds = [kind for kind, count in workload.counts().items() for _ in range(count)]
    kinds += ["page"] * (workload.pages - len(kinds))
    random.Random(workload.seed).shuffle(kinds)
    return kinds
