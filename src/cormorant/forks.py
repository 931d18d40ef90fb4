"""Files that one process alone may hold: a child that somebody forks, such as a user's function, lets go of them.

A lock (`flock`) belongs to the open file, which a forked child has, too: it would hold a job, or an output, for as long
as it lives, however its parent has died.
"""

from __future__ import annotations

import io
import os
import weakref

_alone: weakref.WeakSet[io.FileIO] = weakref.WeakSet()


def held_alone(descriptor: int) -> io.FileIO:
    """Return an open file that no child will have; it is open for reading and writing there, and leads nowhere."""
    file = io.FileIO(descriptor, "r+b")
    _alone.add(file)
    return file


def _let_go() -> None:
    """Put /dev/null where the files were: their numbers stay theirs, whatever is still written to them."""
    files = [file for file in list(_alone) if not file.closed]
    if files:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for file in files:
            os.dup2(null, file.fileno(), inheritable=False)
        os.close(null)
    _alone.clear()


os.register_at_fork(after_in_child=_let_go)
