"""How the command ends: its exit codes, and what a user's mistake looks like.

One line on stderr says what is wrong and how to mend it; a traceback means a bug of ours.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NoReturn

import typer

from cormorant.cli.terminal import neutral
from cormorant.errors import CormorantError, EngineLost, MissingPackage, OutputError, UsageError

SECONDS_TO_LEAVE = 0.5


class Exit(enum.IntEnum):
    """What the shell sees. `docs/reference.md` explains each."""

    GOOD = 0
    FAILURES = 1
    USAGE = 2
    NOTHING = 3
    OUTPUT = 4
    ENGINE = 5
    STOPPED = 7
    KILLED = 130
    # The reader of our stdout has left (`| head -1`): what the shell shows for a program that SIGPIPE ended. It is
    # quiet, but it is not 0, because 0 promises that every URL reached a good end.
    READER_LEFT = 141


def code_of(error: CormorantError) -> Exit:
    """Return the exit code for an error that ended the run."""
    if isinstance(error, OutputError):
        return Exit.READER_LEFT if is_reader_gone(error) else Exit.OUTPUT
    if isinstance(error, EngineLost):
        return Exit.ENGINE
    return Exit.USAGE if isinstance(error, (UsageError, MissingPackage)) else Exit.FAILURES


def is_reader_gone(error: BaseException) -> bool:
    """Tell whether `error` says that the pipe we write to was closed at its other end."""
    return isinstance(error, OutputError) and isinstance(error.__cause__, BrokenPipeError)


def complain(message: str) -> None:
    """Write one line of ours to stderr; a closed stderr is nobody's fault."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"cormorant: {neutral(message)}\n")
        sys.stderr.flush()


class LogOnStderr(logging.Handler):
    """Shows what the package logs as lines of ours, over a live line where one is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message; it may have several lines (a stack), each of which is made harmless."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if sys.stderr.isatty():
                sys.stderr.write("\r\x1b[2K")
            sys.stderr.write("cormorant: " + "\n".join(map(neutral, record.getMessage().splitlines())) + "\n")
            sys.stderr.flush()


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn an error of ours into its line on stderr and its exit code."""
    try:
        yield
    except CormorantError as error:
        if not is_reader_gone(error):
            complain(str(error))
        raise typer.Exit(code_of(error)) from None


def leave(code: int) -> NoReturn:
    """End the process, in the orderly way if nothing stands against it within `SECONDS_TO_LEAVE`.

    A thread that waits on a stranger (an abandoned job) is not waited for; one that is about to end is, so that
    what multiprocessing holds is released.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            # Else the interpreter complains about the same stream once more.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    until = time.monotonic() + SECONDS_TO_LEAVE
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    others = [thread for thread in others if not isinstance(thread, threading._DummyThread)]  # of a native thread's log
    for thread in others:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        os._exit(code)
    sys.exit(code)


def refuse_files(urls: Sequence[str]) -> None:
    """Raise UsageError for a file where a URL was expected: it is a list, and somebody forgot -i."""
    for url in urls:
        if "://" not in url and os.path.isfile(url):
            raise UsageError(
                f"{url!r} is a file: to read the URLs in it write -i {url}; of several, -i for each, or a pattern in "
                "quotes: -i '*.txt'"
            )
