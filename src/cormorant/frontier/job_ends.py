"""How a row ended, as one byte in the journal: the places in `ENDS` are the format, so the list only grows."""

from __future__ import annotations

from collections import Counter

from cormorant.messages import Failure, Outcome

OPEN = 0
OK = "ok"
HTTP_ERROR = "http_error"
SERVICE = "service"  # an answer for the scheduler itself (a sitemap), without an outcome

ENDS = (
    "open",
    OK,
    HTTP_ERROR,
    SERVICE,
    "dns",
    "connect",
    "tls",
    "timeout",
    "protocol",
    "truncated",
    "too_large",
    "redirect",
    "blocked",
    "bad_url",
    "worker_lost",
    "local",
    "cancelled",
    "callback",
)
_CODES = {name: code for code, name in enumerate(ENDS)}


def code_of(outcome: Outcome, is_handed_over: bool) -> int:
    """Return the byte for a request that ended in `outcome`."""
    if not is_handed_over:
        return _CODES[SERVICE]
    if isinstance(outcome, Failure):
        return _CODES[outcome.kind.value]
    return _CODES[OK if outcome.ok else HTTP_ERROR]


def code_named(name: str) -> int:
    """Return the byte of an end by its name. Raises KeyError."""
    return _CODES[name]


def tally_of(ended: bytearray) -> Counter[str]:
    """Count the ends by name."""
    return Counter({name: count for code, name in enumerate(ENDS) if code != OPEN and (count := ended.count(code))})
