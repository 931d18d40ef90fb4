"""What the transport suites share: a transport of either kind, driven alike, and what to ask it."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cormorant.messages import Outcome
from cormorant.options import Options
from cormorant.transport import Curl, exchange
from driving import DRIVERS, Driver, asking
from rude import Rude

Drive = Callable[..., Driver]


@pytest.fixture(params=["blocking", "evented"])
def kind_of_transport(request: pytest.FixtureRequest) -> str:
    """Run the test for both transports."""
    return str(request.param)


@pytest.fixture
def drive(kind_of_transport: str) -> Iterator[Drive]:
    """Build drivers, `drive(**options)`, that are closed when the test is over."""
    with contextlib.ExitStack() as stack:

        def build(**options: Any) -> Driver:
            driver = DRIVERS[kind_of_transport](Curl(Options(**options)))
            stack.callback(driver.close)
            return driver

        yield build


@pytest.fixture
def fetch(drive: Drive) -> Callable[..., Outcome]:
    """Fetch one URL by a new transport: `fetch(url, seconds=…, **options)`."""

    def fetch_one(url: str, seconds: float = 10.0, **options: Any) -> Outcome:
        return drive(**options).fetch(asking(url, seconds))

    return fetch_one


@pytest.fixture(autouse=True)
def empty_truth_log(rude: Rude) -> None:
    """Let each test read only its own requests in the truth log."""
    rude.clear_log()


@pytest.fixture
def trusted(rude: Rude, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trust the rude site's authority, in the way curl's users do."""
    monkeypatch.setenv("SSL_CERT_FILE", rude.ca_file)
    exchange.ca_options.cache_clear()
    yield
    exchange.ca_options.cache_clear()


@pytest.fixture
def deaf_url() -> Iterator[str]:
    """Name a port on which the SYN is swallowed: its queue of connections is full and nobody accepts."""
    if sys.platform != "linux":
        pytest.skip("a full queue swallows the SYN on Linux only")
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@pytest.fixture
def closed_url() -> str:
    """Name a port nobody listens on."""
    with socket.socket() as spare:
        spare.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{spare.getsockname()[1]}/"
