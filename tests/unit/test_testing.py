"""The fakes that ship: the scripted transport under every engine."""

from __future__ import annotations

import pytest

from cormorant import engines
from cormorant.messages import Kind
from cormorant.options import Options
from cormorant.testing import Clock, Reply, Scripted, run

SCRIPT = Scripted(
    {
        "https://a.example/": Reply(body=b"hello"),
        "https://a.example/moved": Reply(status=301, headers=(("Location", "/"),)),
        "https://b.example/": Reply(kind=Kind.DNS),
        "https://slow.example/": Reply(body=b"late", seconds=0.05),
        "https://hung.example/": Reply(seconds=60.0),
    }
)
URLS = [*SCRIPT.replies, "https://nowhere.example/", "no url"]


@pytest.mark.parametrize("engine", engines.names())
def test_a_script_is_played_under_every_engine(engine: str) -> None:
    outcomes = {
        outcome.url: outcome for outcome in run(URLS, SCRIPT, Options(engine=engine, concurrency=8, timeout=0.2))
    }
    assert {url: (outcome.status, outcome.kind, outcome.body) for url, outcome in outcomes.items()} == {
        "https://a.example/": (200, None, b"hello"),
        "https://a.example/moved": (200, None, b"hello"),
        "https://b.example/": (None, Kind.DNS, b""),
        "https://slow.example/": (200, None, b"late"),
        "https://hung.example/": (None, Kind.TIMEOUT, b""),
        "https://nowhere.example/": (404, None, b""),
        "no url": (None, Kind.BAD_URL, b""),
    }


def test_the_clock_moves_by_hand() -> None:
    clock = Clock(5.0)
    clock.advance(2.5)
    assert clock() == 7.5
