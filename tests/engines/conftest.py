"""What no engine may leave behind."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a worker process, a live thread or an open descriptor."""
    threads = set(threading.enumerate())
    yield
    end = time.monotonic() + 5
    while time.monotonic() < end:
        left = [thread for thread in threading.enumerate() if thread not in threads and not thread.daemon]
        if not left and not multiprocessing.active_children():
            return
        time.sleep(0.02)
    pytest.fail(f"left behind: {left} {multiprocessing.active_children()}")
