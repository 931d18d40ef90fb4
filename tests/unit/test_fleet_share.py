"""One shard by itself: mail that comes before all its lines were read waits, and keeps its order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cormorant.fleet.mail import batch
from cormorant.fleet.shards import Split
from cormorant.fleet.share import Share
from cormorant.jobs import Job
from cormorant.messages import Found, Lead, LinkOver
from cormorant.opening import Crawling

OTHER = 5


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Share]:
    job = Job.open(tmp_path / "shard", {"command": "shard"}, is_lasting=False)
    station = Crawling({"scope": "any"}, None)
    share = Share(0, job, Split("domain", 1), station.scheduler, job.frontier((), 30.0))
    share.commits.keep_letters(share)
    yield share
    share.close()


def link(number: int) -> LinkOver:
    return LinkOver(Lead(url=f"http://a.example/{number}"), Found(depth=1, source="http://b.example/"))


def test_mail_that_comes_before_the_end_of_the_lines_is_taken_in_order(share: Share) -> None:
    share.take(batch(OTHER, 0, 0, [link(0), link(1)]))
    share.lines.total = 0
    share.scheduler.next(time.monotonic())
    assert share.scheduler.input_ended
    share.take(batch(OTHER, 0, 2, [link(2)]))  # before anybody has looked whether the first may be taken now
    assert share.take_early()
    assert share.scheduler.offered == 3
    share.commits.last()
    assert share.to_acknowledge == [(OTHER, 3)]
