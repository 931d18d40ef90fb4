"""Small disks for tests: one that can be full, one that can be read only, one whose power can be cut. Linux, as root.

The last is an ext4 file system in a file. `Disk.cut` is the kernel's own emergency stop (EXT4_IOC_SHUTDOWN, without
flushing its log): from that instant on not a byte reaches the file, whatever waits in memory; what the journal of the
file system holds is replayed when it is mounted again. So what was not synced is gone, as with the plug pulled.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SHUTDOWN = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125  # _IOR('X', 125, __u32): linux/fs/ext4/ext4.h
WITHOUT_FLUSH = struct.pack("I", 2)
UNMOUNT_SECONDS = 10.0


@contextlib.contextmanager
def memory_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a disk of `size` (as mount takes it: 300k) in memory."""
    folder.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "cormorant-test", folder)
    try:
        yield
    finally:
        unmount(folder)


def remount(folder: Path, options: str) -> None:
    """Change the options of a mounted disk: its size, `ro` or `rw`."""
    run("mount", "-o", f"remount,{options}", folder)


class Disk:
    """An ext4 file system of `megabytes` in a file, to be mounted at `folder`."""

    def __init__(self, folder: Path, megabytes: int = 64) -> None:
        self.folder, self._image = folder, folder.with_suffix(".ext4")
        folder.mkdir()
        with self._image.open("wb") as image:
            image.truncate(megabytes << 20)
        run("mkfs.ext4", "-q", "-F", self._image)

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Disk]:
        """Have it mounted."""
        run("mount", "-o", "loop", self._image, self.folder)
        with self._file("synced").open("wb", buffering=0) as file:
            file.write(b"x" * 100)
            os.fsync(file.fileno())
        try:
            yield self
        finally:
            unmount(self.folder)

    def _file(self, name: str) -> Path:
        return self.folder / f".{name}"

    def cut(self) -> None:
        """Cut the power. A small file is written before and not synced: it shows that it was."""
        self._file("forgotten").write_bytes(b"x" * 100)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, WITHOUT_FLUSH)
        finally:
            os.close(descriptor)

    def start_again(self) -> None:
        """Mount it anew once nobody uses it any more. Raises AssertionError where nothing was lost by the cut."""
        unmount(self.folder)
        run("mount", "-o", "loop", self._image, self.folder)
        forgotten = self._file("forgotten")
        assert self._file("synced").stat().st_size == 100
        assert not forgotten.exists() or forgotten.stat().st_size == 0
        forgotten.unlink(missing_ok=True)


def unmount(folder: Path) -> None:
    """Unmount, and wait for whoever is just about to leave. Raises CalledProcessError."""
    until = time.monotonic() + UNMOUNT_SECONDS
    while True:
        try:
            run("umount", folder)
            return
        except subprocess.CalledProcessError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def run(*words: object) -> None:
    subprocess.run(list(map(str, words)), check=True, stdin=subprocess.DEVNULL, capture_output=True)


# --- what can be had here ---


@functools.cache
def can_mount() -> bool:
    """Tell whether a disk in memory can be mounted."""
    return works(lambda folder: memory_disk(folder, "64k"))


@functools.cache
def can_cut() -> bool:
    """Tell whether an ext4 file system can be mounted from a file, and stopped."""
    return works(cut_once)


@contextlib.contextmanager
def cut_once(folder: Path) -> Iterator[None]:
    with Disk(folder / "disk", 8).mounted() as disk:
        disk.cut()
        disk.start_again()
        yield


def works(disk: object) -> bool:
    with tempfile.TemporaryDirectory(prefix="cormorant-disk-") as folder:
        try:
            with disk(Path(folder)):  # type: ignore[operator]
                return True
        except (OSError, subprocess.CalledProcessError, AssertionError):
            return False
