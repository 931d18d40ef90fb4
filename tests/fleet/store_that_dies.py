"""A store for tests that several processes see: a folder, whose users die at the worst instants.

`dying:///folder` is fsspec's `file:///folder`, but where `folder/deaths/N` lie files, a process that is about to put a
manifest, and so has put all that it names, takes one away and kills itself. `parse` makes every worker know it.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from cormorant import Page
from cormorant.fleet import snapshots


class Dying(LocalFileSystem):
    protocol = "dying"

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return LocalFileSystem._strip_protocol(str(path).removeprefix("dying://"))

    def pipe_file(self, path: str, value: bytes, *arguments: Any, **options: Any) -> None:
        if "/manifest-" in path:
            _die(Path(path).parents[2] / "deaths", path, value)
            _hang(Path(path).parents[2] / "hangs")
        super().pipe_file(path, value, *arguments, **options)


def _die(deaths: Path, path: str, value: bytes) -> None:
    """Die, if somebody has to; every second time with half the manifest written."""
    with suppress(OSError):
        for death in sorted(deaths.iterdir()):
            death.unlink()
            if int(death.name) % 2:
                Path(path).write_bytes(value[: len(value) // 2])
            os.kill(os.getpid(), signal.SIGKILL)


def _hang(hangs: Path) -> None:
    """Never come back, if somebody has to."""
    with suppress(OSError):
        for hang in hangs.iterdir():
            hang.unlink()
            threading.Event().wait()


fsspec.register_implementation("dying", Dying, clobber=True)


def impatient(page: Page) -> int:
    """Know the store, and wait for it for a second only."""
    snapshots.STUCK_SECONDS = 1.0
    return len(page.body)


def parse(page: Page) -> int:
    return len(page.body)
