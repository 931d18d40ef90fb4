"""What the suites of a crawl share: the engines, and waits for robots.txt short enough for a test."""

from __future__ import annotations

import pytest

from cormorant import engines


@pytest.fixture(params=engines.names())
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine by its name."""
    if request.param == "gevent":
        pytest.importorskip("gevent")
    return str(request.param)


@pytest.fixture(params=[name for name in engines.names() if name != "serial"])
def concurrent_engine(request: pytest.FixtureRequest) -> str:
    """Each engine that has several pages under way at once."""
    if request.param == "gevent":
        pytest.importorskip("gevent")
    return str(request.param)


@pytest.fixture
def hasty_robots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a robots.txt that did not come asked for again at once, where a run waits 1 s and then 10 s."""
    monkeypatch.setattr("cormorant.policies.robots.AGAIN_SECONDS", (0.02,))
