"""What a worker has under way, in a file that outlives it: so that who takes over knows what it may have died of.

A record for each job: the request's print (eight bytes), and whether the user's function has it. A death while a
function ran is blamed on what it ran for, a crash (not a kill from outside) without one on all that was under way. A
request that was blamed twice ends as `worker_lost`; after the first time it is run alone, so that the second blame is
its own.
"""

from __future__ import annotations

import inspect
import mmap
import struct
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from cormorant.messages import Outcome, Page, Request

FREE, UNDER_WAY, IN_FUNCTION = 0, 1, 2
_RECORD = struct.Struct("<QB")


def print_of(request: Request | Outcome) -> int:
    """Return the number by which a request is known again, and what came of it."""
    text = f"{request.url}\0{request.input}\0{request.line}"
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class Marks:
    """The records of one worker that has at most `width` jobs under way. Writes to memory alone."""

    def __init__(self, path: Path, width: int) -> None:
        size = _RECORD.size * width
        with path.open("w+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self._free = list(range(width))
        self._slots: dict[int, int] = {}

    def begin(self, mark: int) -> None:
        """Note that a job starts."""
        if mark not in self._slots:
            self._slots[mark] = slot = self._free.pop()
            _RECORD.pack_into(self._map, slot * _RECORD.size, mark, UNDER_WAY)

    def end(self, mark: int) -> None:
        """Note that a job has ended."""
        slot = self._slots.pop(mark, None)
        if slot is not None:
            _RECORD.pack_into(self._map, slot * _RECORD.size, 0, FREE)
            self._free.append(slot)

    def move(self, mark: int, phase: int) -> None:
        """Note whether the user's function has a job."""
        slot = self._slots.get(mark)
        if slot is not None:
            _RECORD.pack_into(self._map, slot * _RECORD.size, mark, phase)

    def watched(self, parse: Callable[[Page], Any]) -> Callable[[Page], Any]:
        """Return a parse function that is noted while it runs."""
        if inspect.iscoroutinefunction(parse):

            async def awaited(page: Page) -> Any:
                mark = print_of(page)
                self.move(mark, IN_FUNCTION)
                try:
                    return await parse(page)
                finally:
                    self.move(mark, UNDER_WAY)

            return awaited

        def plain(page: Page) -> Any:
            mark = print_of(page)
            self.move(mark, IN_FUNCTION)
            try:
                return parse(page)
            finally:
                self.move(mark, UNDER_WAY)

        return plain


def blamed(path: Path, is_crash: bool) -> list[int]:
    """Return the prints of what a dead worker may have died of; `is_crash`: nobody killed it from outside."""
    try:
        records = list(_RECORD.iter_unpack(path.read_bytes()))
    except OSError:
        return []  # it died before it began
    in_function = [mark for mark, phase in records if phase == IN_FUNCTION]
    if in_function or not is_crash:
        return in_function
    return [mark for mark, phase in records if phase == UNDER_WAY]
