"""Files that are there whole or not at all: written beside and renamed, so that a reader never sees a part."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from cormorant.errors import OutputError


def write(path: str | Path, content: bytes) -> None:
    """Write `content` to the file at `path`, or into the device or pipe there. Raises OutputError, naming it."""
    try:
        if is_special(path):
            Path(path).write_bytes(content)
        else:
            _replace(Path(os.path.realpath(path)), content)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def is_special(path: str | Path) -> bool:
    """Tell whether a device or a pipe is there (/dev/null), which is written into and never replaced."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _replace(path: Path, content: bytes) -> None:
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)  # mkstemp's files are for their owner alone
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
