"""Which job a socket serves: libcurl names both ends of a hop's connection, and tells them when the hop is over.

1. HTTP/1: a connection carries one hop at a time. What was heard of it since the hop was asked for, and did not belong
   to the hop before, is this hop's.
2. HTTP/2: it may carry several at once. What was heard while more than one was under way is nobody's.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any, TypeAlias

from cormorant.lab.trace.notes import Notes

End: TypeAlias = tuple[str, int]  # address and port
SHARED = "a connection carried several pages at once (HTTP/2): what was heard of it meanwhile belongs to no job"


class _Socket:
    """A connection, as far as it is known: `remote` is None until it is connected."""

    __slots__ = ("local", "notes", "remote", "shared")

    def __init__(self, local: End) -> None:
        self.local = local
        self.remote: End | None = None
        self.notes: list[Any] = []
        self.shared: set[int] = set()  # places in `notes`

    def give(self, job: int | None, since: float) -> None:
        """Give a job, the only one at a time, what is left."""
        for note in self.notes:
            if note.at >= since:
                note.job = job
        self.notes.clear()

    def share(self, job: int | None, since: float) -> bool:
        """Give a job, one of several, what is its own alone; returns whether something was not."""
        for place, note in enumerate(self.notes):
            if note.at >= since:
                if note.job is not None:
                    self.shared.add(place)
                note.job = None if place in self.shared else job
        return bool(self.shared)


class Sockets:
    """Keeps what was heard of each descriptor until a hop owns up to its connection."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._watched: dict[int, _Socket] = {}
        self._by_port: dict[int, list[_Socket]] = {}

    def is_connection(self, descriptor: int) -> bool:
        """Return whether it is no bell (that of our resolver, or one of libcurl's)."""
        return descriptor in self._watched or _end(descriptor, "getsockname") is not None

    def heard(self, descriptor: int, note: Any) -> None:
        """Take a note about a descriptor."""
        found = self._watched.get(descriptor) or self._met(descriptor)
        if found is not None:
            found.remote = found.remote or _end(descriptor, "getpeername")
            found.notes.append(note)

    def forgotten(self, descriptor: int, note: Any) -> None:
        """Take the last note about a descriptor: it is closed, or idle until it is met again."""
        self.heard(descriptor, note)
        self._watched.pop(descriptor, None)

    def _met(self, descriptor: int) -> _Socket | None:
        local = _end(descriptor, "getsockname")
        if local is None:
            return None
        remote = _end(descriptor, "getpeername")
        found = self._find(local, remote) if remote is not None else None
        if found is None:
            found = _Socket(local)
            self._by_port.setdefault(local[1], []).append(found)
        self._watched[descriptor] = found
        return found

    def _find(self, local: End, remote: End | None) -> _Socket | None:
        """Return the newest connection between two ends; one that never connected, if no other has that local end."""
        here = [one for one in self._by_port.get(local[1], ()) if one.local == local]
        connected = [one for one in here if one.remote == remote]
        if connected:
            return connected[-1]
        return here[0] if len(here) == 1 and here[0].remote is None else None

    def ended(self, ends: tuple[End, End], job: int | None, since: float, *, is_alone: bool) -> None:
        """Give a hop's job what was heard of its connection; `is_alone`: it carried no other hop meanwhile."""
        found = self._find(*ends)
        if found is None:
            return
        if is_alone:
            found.give(job, since)
            if found not in self._watched.values():
                self._by_port[found.local[1]].remove(found)
        elif found.share(job, since):
            self._notes.remark(SHARED)


def _end(descriptor: int, which: str) -> End | None:
    """Return one end of a connection; None for what is none, or not connected."""
    try:
        borrowed = socket.socket(fileno=descriptor)
    except OSError:
        return None
    name = None
    with contextlib.suppress(OSError):
        name = getattr(borrowed, which)()
    borrowed.detach()  # it stays libcurl's
    return (name[0].partition("%")[0], name[1]) if isinstance(name, tuple) else None
