"""Functions for the engines to run; in a module of their own so that worker processes can import them."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
import time
from typing import Any

import cormorant


def double(number: int) -> int:
    return number * 2


def sleep_seconds(seconds: float) -> float:
    """Block the thread without ever looking at an engine."""
    time.sleep(seconds)
    return seconds


def spin_seconds(seconds: float) -> float:
    """Burn the CPU in Python."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds


def status_of(url: str) -> int:
    return cormorant.get(url).status


def path_of(url: str) -> str:
    """Fetch twice, so that a job switches more than once; the page names its own URL."""
    first, second = cormorant.get(url), cormorant.get(url)
    assert first.body == second.body
    return first.final_url


def refuse(item: Any) -> None:
    raise ValueError(f"cannot do {item}")


def kill_own_process(item: str) -> str:
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def unpicklable(item: int) -> Any:
    return threading.Lock() if item == 3 else item


def leave(item: int) -> int:
    if item == 3:
        raise SystemExit(9)
    return item


def note_pid(item: tuple[str, float]) -> int:
    """Write this process's pid into a folder, then block."""
    folder, seconds = item
    with open(os.path.join(folder, str(os.getpid())), "w"):
        pass
    time.sleep(seconds)
    return os.getpid()


def clean_up_when_late(item: tuple[str, str]) -> None:
    """Hang in a fetch; leave a file behind when the deadline's exception passes through."""
    url, left_behind = item
    try:
        cormorant.get(url, timeout=60)
    finally:
        with open(left_behind, "w"):
            pass


async def await_status(url: str) -> int:
    return (await cormorant.aget(url)).status


async def await_sleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def get_without_await(url: str) -> int:
    return cormorant.get(url).status


def title_length(page: cormorant.Page) -> int:
    return len(page.body)


def failing_parse(page: cormorant.Page) -> None:
    raise KeyError("price")


def parse_that_fetches(page: cormorant.Page) -> int:
    return cormorant.get(page.final_url.rsplit("/", 1)[0] + "/ok").status


async def awaited_parse(page: cormorant.Page) -> int:
    await asyncio.sleep(0)
    return len(page.body)


def swallow_in_a_loop(seconds: float) -> float:
    """Catch everything, for ever: what a bare `except:` in somebody's retry loop does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(seconds)
        except BaseException:
            if time.monotonic() > end - seconds + 1.5:
                raise
    return seconds


_mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="clean")


def mark_context(item: int) -> str:
    """Say what the job before left in the context, and leave something."""
    found = _mark.get()
    _mark.set(f"job {item}")
    return found


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def fail_without_words(item: object) -> None:
    raise Mute
