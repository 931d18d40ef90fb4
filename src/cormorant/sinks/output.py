"""What a sink of records grows: the parts of a named output, or a stream that nobody can cut back."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO, TypeAlias

from cormorant.errors import UsageError
from cormorant.interfaces import Committed
from cormorant.sinks import packing
from cormorant.sinks.lines import LineFile
from cormorant.sinks.parts import Head, Parts

Growing: TypeAlias = LineFile | Parts


def growing(
    target: str | os.PathLike[str] | BinaryIO,
    overwrite: bool = False,
    *,
    rotate_bytes: int | None = None,
    resume: Committed | None = None,
    head: Head | None = None,
) -> Growing:
    """Open what records are appended to, compressed by blocks as the suffix says.

    Devices and named pipes are streams, as stdout is. Raises UsageError for what a stream cannot be.
    """
    if isinstance(target, str | os.PathLike) and not _is_special(target):
        pack = packing.by_suffix(os.fspath(target))
        return Parts(target, overwrite=overwrite, rotate_bytes=rotate_bytes, resume=resume, pack=pack, head=head)
    stream = LineFile(target, overwrite)
    if rotate_bytes is not None or resume is not None:
        stream.close()
        raise UsageError(f"{stream.name} is a stream, which has no parts and cannot be resumed; name a file")
    if head is not None:
        stream.append(head(stream.name))
    return stream


def sync(output: Growing) -> Committed:
    """Put everything on stable storage. Raises OutputError, and UsageError for a stream."""
    if isinstance(output, Parts):
        return output.sync()
    raise UsageError(f"{output.name} is a stream, which cannot be cut back after a crash; name a file for a job")


def _is_special(target: str | os.PathLike[str]) -> bool:
    try:
        mode = os.stat(target).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
