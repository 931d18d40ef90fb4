"""Signals: the first Ctrl-C (or SIGTERM, SIGHUP) drains, the second stops at once.

Laws: a handler only sets a flag, asks the worker to stop and writes a line with `os.write`; the second one raises
KeyboardInterrupt in the main thread, but never inside a write to the output, so that a file ends in a whole line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from _thread import start_new_thread
from collections.abc import Callable, Iterator
from time import sleep
from types import FrameType, TracebackType

from cormorant.cli.exits import Exit

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SECONDS_TO_CLOSE = 2.0


class Stops:
    """What signals have asked for so far. Also the shield under which a second Ctrl-C waits for a write to end."""

    def __init__(self, note: str = "") -> None:
        """Prepare; `note` is written to stderr at the first signal (nothing when empty)."""
        self.count = 0
        self._note = note
        self._drain: Callable[[], None] = _nothing
        self._save: Callable[[], None] = _nothing
        self._shielded = False
        self._pending = False

    @contextlib.contextmanager
    def installed(self, drain: Callable[[], None], save: Callable[[], None]) -> Iterator[None]:
        """Handle signals until the block ends: the first by `drain`, the second by `save` and KeyboardInterrupt.

        A signal that is ignored (nohup, `&`) stays ignored.
        """
        self._drain, self._save = drain, save
        mine = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._handle) for number in mine}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def __enter__(self) -> None:
        """Hold back a second Ctrl-C until the block ends."""
        self._shielded = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let a second Ctrl-C through."""
        self._shielded = False
        if self._pending:
            self._pending = False
            self._interrupt()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1:
            _tell(self._note)
            self._drain()
            return
        if self.count == 2:
            # Saving may hang on a pipe that is full, closing on a thread that is stuck.
            start_new_thread(_end_soon, ())
            _quieten_gevent()
        if self._shielded:
            self._pending = True
        else:
            self._interrupt()

    def _interrupt(self) -> None:
        # Saved here and now: the engine is closed before the sink is, and closing it may never end.
        save, self._save = self._save, _nothing
        save()
        raise KeyboardInterrupt


def _nothing() -> None:
    pass


def _tell(note: str) -> None:
    if note:
        # os.write: the signal may have come in the middle of a write to sys.stderr, which cannot be entered twice.
        with contextlib.suppress(OSError):
            clear = "\r\x1b[K" if os.isatty(2) else ""
            os.write(2, f"{clear}{note}\n".encode())


def _quieten_gevent() -> None:
    """Keep gevent's hub, where it runs, from printing the traceback of our KeyboardInterrupt before passing it on."""
    gevent = sys.modules.get("gevent")
    if gevent is not None:
        gevent.get_hub().NOT_ERROR += (KeyboardInterrupt,)


def _end_soon() -> None:
    sleep(SECONDS_TO_CLOSE)
    os._exit(Exit.KILLED)
