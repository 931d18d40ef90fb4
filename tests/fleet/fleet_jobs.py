"""Functions for the workers to run on pages; in a module of their own so that they can be imported there."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
import time

import psutil

import cormorant

DEADLY = "deadly"  # in the URL of a page that a function dies of


def length(page: cormorant.Page) -> int:
    return len(page.body)


async def awaited_length(page: cormorant.Page) -> int:
    return len(page.body)


def process_of(page: cormorant.Page) -> int:
    """Return which process this is."""
    return os.getpid()


def crash(page: cormorant.Page) -> int:
    """Crash the process at one page, as a bug in a C extension does."""
    if DEADLY in page.url:
        os.kill(os.getpid(), signal.SIGSEGV)
    return len(page.body)


def leave(page: cormorant.Page) -> int:
    """End the process at one page, without a word."""
    if DEADLY in page.url:
        os._exit(3)
    return len(page.body)


def leave_a_child(place: str, page: cormorant.Page) -> int:
    """Fork a child at one page, which stays; say in a file `place` who it is, and whose."""
    with contextlib.suppress(FileExistsError), open(place, "x") as file:  # the other worker may be at this, too
        child = os.fork()
        if not child:
            signal.pause()
            os._exit(0)
        file.write(f"{os.getpid()} {child}")
    return len(page.body)


def stop_the_run(page: cormorant.Page) -> int:
    """Have the driver stop at one page, as Ctrl-C does, and go on until the other workers have left."""
    if "/out/" in page.url:
        driver = psutil.Process().parents()[1]  # between us is the server of processes
        driver.send_signal(signal.SIGINT)
        time.sleep(1.0)
    return len(page.body)


def lock(page: cormorant.Page) -> object:
    """Return what cannot be pickled at every tenth page."""
    return threading.Lock() if page.url.endswith("3") else 0


def refuse(page: cormorant.Page) -> int:
    """Raise at every second page."""
    if page.url.endswith(("1", "3", "5", "7", "9")):
        raise ValueError(f"cannot read {page.url}")
    return len(page.body)


def stop_thinking(page: cormorant.Page) -> int:
    """Hold the whole process at one page, for ever as it seems."""
    while DEADLY in page.url:
        os.kill(os.getpid(), signal.SIGSTOP)
    return len(page.body)


def leave_program(page: cormorant.Page) -> int:
    sys.exit(5)


def fill_the_disk(room: str, url: str, page: cormorant.Page) -> int:
    """Have this process write nothing more from one page on, until there is `room`: what a full disk is to it."""
    if page.url == url and not os.path.exists(room):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
    return len(page.body)
