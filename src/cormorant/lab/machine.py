"""Where something was measured: the machine and the versions, for whoever compares figures."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from pathlib import Path

from cormorant.lab import meters
from cormorant.lab.comparison import Machine

PACKAGES = ("cormorant", "pycurl", "greenlet", "gevent", "uvloop", "granian", "psutil")


def here() -> Machine:
    """Return what is known of this machine. Raises MissingPackage without psutil."""
    meters.process()
    import psutil

    return Machine(
        system=platform.platform(),
        processor=_processor(),
        cores=meters.cores(),
        memory_bytes=psutil.virtual_memory().total,
    )


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of Python, libcurl and the packages that matter; what is not installed is left out."""
    import pycurl

    found = {"python": platform.python_version(), "libcurl": pycurl.version}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
