"""Pages on a terminal: one readable line each, with nothing in it that the terminal would obey.

What comes from the web (or from a list) may hold escape sequences that recolour, retitle or type; they are shown
as text instead. This is a `Sink`, chosen when stdout is a terminal and no output was named.
"""

from __future__ import annotations

import re
from typing import Any, TextIO

from cormorant.cli.units import size_text, span_text
from cormorant.errors import OutputError
from cormorant.messages import Failure, Page, Result

LONGEST_VALUE = 200

# C0 and C1 controls; marks that reverse the reading direction (CVE-2021-42574); line and paragraph separators;
# lone surrogates, which cannot be written.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def neutral(text: str) -> str:
    """Return `text` with everything a terminal would obey written as an escape."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def readable(outcome: Any) -> str:
    """Return one outcome of `fetch` or one Result of `map` as a line for people."""
    if isinstance(outcome, Result):
        return _result(outcome)
    word = str(outcome.status) if isinstance(outcome, Page) else str(outcome.kind)
    size = size_text(len(outcome.body)) if outcome.status is not None else "-"
    parts = [f"{word:>11}  {size:>8}  {span_text(outcome.timings.total):>6}  {outcome.url}"]
    if outcome.final_url and outcome.final_url != outcome.url:
        parts.append(f"-> {outcome.final_url}")
    if isinstance(outcome, Failure):
        parts.append(f"({outcome.message})")
    return neutral("  ".join(parts))


def _result(result: Result) -> str:
    word = "ok" if result.ok else str(result.kind)
    said = repr(result.value) if result.ok else f"({result.message})"
    short = said if len(said) <= LONGEST_VALUE else f"{said[:LONGEST_VALUE]}…"
    return neutral(f"{word:>11}  {span_text(result.seconds):>6}  {result.item}  {short}")


class TerminalSink:
    """Writes `readable` lines to a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, outcome: Any) -> None:
        """Write one line. Raises OutputError when the terminal is gone."""
        encoding = self._stream.encoding or "utf-8"
        line = f"{readable(outcome)}\n".encode(encoding, "backslashreplace").decode(encoding)
        try:
            self._stream.write(line)
        except OSError as error:
            raise OutputError(f"cannot write to the terminal: {error.strerror}") from error

    def flush(self) -> None:
        """Show what was written. Raises OutputError when the terminal is gone."""
        try:
            self._stream.flush()
        except OSError as error:
            raise OutputError(f"cannot write to the terminal: {error.strerror}") from error

    def close(self) -> None:
        """Show what was written; the terminal itself stays open."""
        self.flush()
