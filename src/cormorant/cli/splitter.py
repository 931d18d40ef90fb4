"""Bytes to lines, and a line to what it means: a URL, an item of text, a JSON value."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final, TypeAlias

LONGEST_URL_LINE = 64 * 1024
LONGEST_ITEM_LINE = 64 * 1024 * 1024


class Skip(enum.Enum):
    """The type of `SKIP`."""

    SKIP = "skip"


SKIP: Final = Skip.SKIP

Read: TypeAlias = Callable[[bytes], Any]


def url_line(raw: bytes) -> str | Skip:
    """Read a line of a URL list: blank ones and those that begin with `#` are skipped.

    Bytes that are not UTF-8 stay as lone surrogates, which no URL can hold: the line ends as `bad_url`, not as
    another page.
    """
    stripped = raw.strip()
    if not stripped or stripped.startswith(b"#"):
        return SKIP
    return stripped.decode("utf-8", "surrogateescape")


def text_line(raw: bytes) -> str | Skip:
    """Read an item as it stands, without its line end; blank lines are skipped."""
    return raw.rstrip(b"\r").decode("utf-8", "surrogateescape") if raw.strip() else SKIP


def json_line(raw: bytes) -> Any:
    """Read an item written as JSON; blank lines are skipped. Raises ValueError."""
    import msgspec

    if not raw.strip():
        return SKIP
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error}); without --json every line is an item of text") from None


class Splitter:
    """Cuts chunks into lines at each line feed; of a line longer than `longest` bytes only the beginning is kept.

    That beginning is the same however the chunks are cut. `offset` (bytes) is where the line begins that comes next.
    """

    def __init__(self, longest: int, offset: int = 0) -> None:
        """Expect chunks from `offset` on, where a line begins."""
        self.offset = offset
        self._longest = longest
        self._fed = offset
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes."""
        first, *rest = chunk.split(b"\n")
        self._fed += len(chunk)
        self._hold(first)
        if not rest:
            return []
        last = rest.pop()
        self.offset = self._fed - len(last)
        if len(chunk) > self._longest:
            rest = [line[: self._longest + 1] for line in rest]
        lines = [self._release(), *rest]
        self._hold(last)
        return lines

    def end(self) -> list[bytes]:
        """Return the last line, if the list does not end with a line end."""
        return [self._release()] if self._parts else []

    def _hold(self, part: bytes) -> None:
        part = part[: self._longest + 1 - self._held]
        if part:
            self._parts.append(part)
            self._held += len(part)

    def _release(self) -> bytes:
        line = b"".join(self._parts)
        self._parts.clear()
        self._held = 0
        return line
