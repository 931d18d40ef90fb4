"""The engines under test, by what they share."""

from __future__ import annotations

import os

from cormorant import engines

ENGINES = engines.names()
CONCURRENT = tuple(name for name in ENGINES if name != "serial")
PROCESSES = ("pool", "process")


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))
