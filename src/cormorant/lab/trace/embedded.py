"""A few pages of the embedded site to trace when nobody named any: good ones, a slow one, and one that hangs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cormorant.lab import site

TIMEOUT_SECONDS = 1.0
WORKLOAD = site.Workload(
    pages=5, hosts=5, seed=70, slow=1, slow_seconds=0.3, hang=1, redirect=1, latency="uniform:0.01:0.06"
)
THREE_TIMEOUT_SECONDS = 0.5
THREE = site.Workload(pages=3, hosts=3, slow=1, slow_seconds=0.2, hang=1, latency="uniform:0.01:0.04")


@contextlib.contextmanager
def pages(workload: site.Workload) -> Iterator[list[str]]:
    """Serve `workload` for a block and give its URLs. Raises MissingPackage without granian."""
    with site.running(workload) as served:
        yield served.urls()
