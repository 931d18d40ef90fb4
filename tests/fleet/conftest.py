"""What the tests of the fleet share: a site, a place for temporary folders, and that nothing is left behind."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
for folder in ("crawl", "durability"):  # their sites, disks and books
    sys.path.append(str(TESTS / folder))

from fleet_watch import Command, Truth, folders_in, wait_until, workers  # noqa: E402 - found beside this file
from kill_loop import serving  # noqa: E402
from truth_site import Web  # noqa: E402

LEAVE_SECONDS = 5.0
PAGES = 600


@pytest.fixture
def tidy(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have temporary folders made in the one returned; fail a test that leaves one there, or a worker."""
    place = tmp_path_factory.mktemp("t")  # short: the server of processes has its socket there (108 bytes)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setenv("TMPDIR", str(place))
    threads = set(threading.enumerate())
    yield place
    wait_until(lambda: not workers() and not folders_in(place), LEAVE_SECONDS)
    wait_until(lambda: not [one for one in threading.enumerate() if one not in threads and not one.daemon])


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Truth]:
    """A site of 600 pages on 12 hosts, that link on and redirect over hosts, so over shards."""
    folder = tmp_path_factory.mktemp("truth")
    web = Web(7, PAGES, 12)
    with serving(folder, web) as address:
        yield Truth(folder, web, address, PAGES)


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """The command; Ctrl-C works in it even where the tests themselves run in the background (SIGINT ignored)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    command = Command(tmp_path)
    yield command
    command.close()
    signal.signal(signal.SIGINT, before)
