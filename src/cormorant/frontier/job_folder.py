"""The folder of a job: made private, refused where it holds something else, and put on stable storage."""

from __future__ import annotations

import os
from pathlib import Path

from cormorant.errors import OutputError, UsageError
from cormorant.frontier.job_store import FILE


def make(folder: Path) -> None:
    """Make the folder. Raises UsageError for what is no folder of a job, OutputError where it cannot be written."""
    try:
        made = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for place in made[1:]:
            _sync(place.resolve().parent)
        strange = not (folder / FILE).exists() and any(one.name != "lock" for one in folder.iterdir())
        if not (strange or (folder / FILE).exists()):
            folder.chmod(0o700)
    except FileExistsError:
        raise UsageError(f"{folder} is a file; name a folder for the job") from None
    except OSError as error:
        raise OutputError(
            f"cannot make the job folder {folder}: {error.strerror}; make its parent writable, or name another"
        ) from error
    if strange:
        raise UsageError(f"{folder} is not empty and holds no job; name a new folder")


def sync(folder: Path) -> None:
    """Make the names in a folder, and its own, as durable as the files."""
    for place in (folder, folder.resolve().parent):
        _sync(place)


def _sync(place: Path) -> None:
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # a parent that may be passed and not read
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OutputError(f"cannot write {place}: {error.strerror}; see to the disk, then run it again") from error
    finally:
        os.close(descriptor)
