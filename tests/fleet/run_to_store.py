"""A driver to be killed: fetches the list on stdin with two workers, to a store, as a job that goes on."""

from __future__ import annotations

import sys

import cormorant
from cormorant.fleet import plan

if __name__ == "__main__":
    url, job, seconds = sys.argv[1:]
    plan.PUBLISH_SECONDS = float(seconds)
    pages = sys.stdin.read().split()
    for _ in cormorant.fetch(pages, concurrency=4, workers=2, output=url, job=job, delay=0.1):
        pass
