"""Which shard a URL belongs to, and which worker has which shard. Pure.

A job is cut into shards when it is created, and never again: the shard of a host is a hash of its key (RFC 7693), so
every worker knows it without asking. Workers own whole shards, so that one host is asked by one worker alone.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from hashlib import blake2b

from cormorant import urls
from cormorant.errors import BadURL, UsageError
from cormorant.policies.domains import registered_domain

SPLITS = ("domain", "host", "address", "url")
MOST_SHARDS = 9_999
SHARDS_A_WORKER = 4  # so that shards can be dealt evenly when a job goes on with other numbers of workers


class Split:
    """Cuts by registered domain, by host, by address, or by URL (the shards share hosts, and divide their budgets).

    By address a host is first looked up by the shard of its name, and belongs to the shard of what is found.
    """

    def __init__(self, by: str, shards: int) -> None:
        if by not in SPLITS:
            raise UsageError(f"split is {by!r}; give one of {', '.join(SPLITS)}")
        if not 1 <= shards <= MOST_SHARDS:
            raise UsageError(f"shards is {shards}; give 1 to {MOST_SHARDS:,}")
        self.by, self.shards = by, shards
        self._of_origin = functools.lru_cache(maxsize=65_536)(self._shard_of_origin)

    def of(self, url: str) -> int:
        """Return the shard of a clean URL."""
        if self.by == "url":
            return self._shard(urls.canonical(url))
        return self._of_origin(urls.origin(url))

    def of_line(self, text: str) -> int:
        """Return the shard of a line of input; one that is no URL has one, too."""
        try:
            url, _ = urls.split_credentials(urls.clean(text))
        except BadURL:
            return self._shard(text)
        return self.of(url)

    def of_address(self, address: str) -> int:
        """Return the shard of all hosts at an address, where those are kept together."""
        return self._shard(address)

    def _shard_of_origin(self, origin: str) -> int:
        if self.by == "domain":
            return self._shard(registered_domain(origin))
        address = urls.address_in(origin) if self.by == "address" else None
        return self._shard(address or urls.host_and_port(origin)[0])

    def _shard(self, key: str) -> int:
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % self.shards


def dealt(shards: Collection[int], members: Collection[int], before: Mapping[int, int] | None = None) -> dict[int, int]:
    """Return which member has which shard: evenly, and as many as can be stay where they were `before`."""
    before = before or {}
    hands: dict[int, list[int]] = {member: [] for member in members}
    least, more = divmod(len(shards), len(hands))  # so many members have one more than the least
    homeless = []
    for shard in sorted(shards):
        hand = hands.get(before.get(shard, -1))
        if hand is not None and len(hand) == least and more:
            more -= 1
        elif hand is None or len(hand) >= least:
            homeless.append(shard)
            continue
        hand.append(shard)
    for shard in homeless:
        min(hands.values(), key=len).append(shard)
    return {shard: member for member, hand in hands.items() for shard in hand}
