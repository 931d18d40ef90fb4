"""How a row ended, as one byte in the journal: the places in `ENDS` are the format, so the list only grows."""

from __future__ import annotations

from collections import Counter

from cormorant.messages import Failure, Outcome

OPEN = 0
OK = "ok"
HTTP_ERROR = "http_error"
SERVICE = "service"  # without an outcome: an answer for the scheduler itself (a sitemap), or left out after all

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
_NOT_ASKED_FOR = {OPEN, _CODES[SERVICE], _CODES["blocked"], _CODES["bad_url"]}


def code_of(outcome: Outcome | None) -> int:
    """Return the byte for a request that ended in `outcome`."""
    if outcome is None:
        return _CODES[SERVICE]
    if isinstance(outcome, Failure):
        return _CODES[outcome.kind.value]
    return _CODES[OK if outcome.ok else HTTP_ERROR]


def code_named(name: str) -> int:
    """Return the byte of an end by its name. Raises KeyError."""
    return _CODES[name]


def was_asked_for(code: int) -> bool:
    """Tell whether what ended so was asked for, as near as the byte tells.

    A host that was given up, or whose robots.txt could not be read, was not asked (its pages count as if it had been);
    a page that was blocked at a redirect was.
    """
    return code not in _NOT_ASKED_FOR


def tally_of(ended: bytearray) -> Counter[str]:
    """Count the ends by name."""
    return Counter({name: count for code, name in enumerate(ENDS) if code != OPEN and (count := ended.count(code))})
