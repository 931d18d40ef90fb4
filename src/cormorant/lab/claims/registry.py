"""Where each claim lives, in the order they are judged in. A claim's module is imported when the claim is asked for."""

from __future__ import annotations

import difflib
import importlib

from cormorant.errors import UsageError
from cormorant.lab.claims.claim import Claim

HOMES = {
    "one-thread-many-waits": "waits",
    "coroutine-switch-cheap": "switching",
    "thread-switch-cheap": "switching",
    "memory-per-wait": "memory",
    "blocking-stops-all": "blocking",
    "coroutines-one-core": "cores",
    "processes-all-cores": "cores",
    "first-back-first-served": "order",
    "epoll-only-ready": "readiness",
    "epoll-mmap": "readiness",
    "threads-useless-gil": "waits",
    "asyncio-parallel": "cores",
    "more-concurrency-faster": "waits",
}


def require(name: str) -> None:
    """Raise UsageError, with the nearest name, when there is no such claim."""
    if name not in HOMES:
        near = difflib.get_close_matches(name, HOMES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(HOMES)}"
        raise UsageError(f"no claim {name!r}; {hint}")


def claim(name: str) -> Claim:
    """Return a claim by its name, which `require` has passed."""
    claims: tuple[Claim, ...] = importlib.import_module(f"cormorant.lab.claims.{HOMES[name]}").CLAIMS
    return next(each for each in claims if each.name == name)
