"""Where a run's results go, and whether there is room beside them for progress."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from cormorant.errors import UsageError
from cormorant.interfaces import Sink

if TYPE_CHECKING:
    from cormorant.jobs import Job

STDOUT = "-"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """The words of `-o` and the options beside it. No target: stdout, readable on a terminal."""

    target: str | None = None
    format: str | None = None
    overwrite: bool = False
    quiet: bool = False
    rotate_bytes: int | None = None

    @classmethod
    def of(cls, words: Mapping[str, Any]) -> Destination:
        """Take a command's words apart."""
        return cls(
            target=words["output"],
            format=words["format"],
            overwrite=words["overwrite"],
            quiet=words["quiet"],
            rotate_bytes=words["rotate"],
        )

    def __str__(self) -> str:
        """Return the name for people."""
        return "stdout" if self.is_stdout else str(self.target)

    @property
    def is_stdout(self) -> bool:
        """Whether results go to stdout."""
        return self.target in (None, STDOUT)

    def check(self, sources: Sequence[str]) -> None:
        """Raise UsageError when it would overwrite a list it is made from."""
        for source in sources:
            if self._is_same_file(source):
                raise UsageError(f"{self.target!r} is both the list and the output; name another output")

    def open(self, job: Job | None = None) -> Sink:
        """Open the sink; of a job, cut back."""
        if job is not None:
            return job.open_output(str(self.target), self.format, self.overwrite, self.rotate_bytes)
        if self.target is None and self.format is None and is_terminal(sys.stdout):
            from cormorant.cli.terminal import TerminalSink

            return TerminalSink(sys.stdout)
        from cormorant.sinks import open_sink
        from cormorant.sinks.jsonl import JsonLines

        if self.is_stdout and self.format in (None, "jsonl") and self.rotate_bytes is None:
            return JsonLines(data_stream(), overwrite=False)
        format = self.format or ("jsonl" if self.is_stdout else None)
        return open_sink(self.target or STDOUT, format, overwrite=self.overwrite, rotate_bytes=self.rotate_bytes)

    def shows_progress(self) -> bool:
        """Tell whether progress may be shown: not where the results themselves go to a terminal (as in curl)."""
        return not self.quiet and not (self.is_stdout and is_terminal(sys.stdout))

    def _is_same_file(self, source: str) -> bool:
        try:
            return self.target is not None and os.path.samefile(self.target, source)
        except (OSError, ValueError):
            return False


def data_stream() -> BinaryIO:
    """Return stdout for the data alone: what a user's function prints goes to stderr from now on, in children too."""
    try:
        data = os.dup(sys.stdout.fileno())
        sys.stdout.flush()
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    except (OSError, ValueError):  # closed, or not a file at all
        return sys.stdout.buffer
    return os.fdopen(data, "wb", closefd=False)  # it stays open as long as the process, like stdout


def is_terminal(stream: Any) -> bool:
    """Tell whether `stream` is open and a terminal."""
    try:
        return bool(stream is not None and stream.isatty())
    except ValueError:
        return False
