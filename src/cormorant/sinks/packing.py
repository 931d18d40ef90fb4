"""How blocks of an output are compressed, and files read back: gzip and zstd, a member or frame of its own each block.

So a file that is cut between two blocks is whole, and every tool reads on from one to the next (RFC 1952 2.2,
RFC 8878 3.1). gzip is written by ISA-L where it is installed (five times as fast as zlib at the same size).
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from cormorant.errors import MissingPackage

Pack: TypeAlias = Callable[[bytes], bytes]

GZIP_FORMAT = 31  # wbits: 32 KiB of window, with the header and trailer of gzip
ISAL_LEVEL = 2
ZLIB_LEVEL = 6
ZSTD_LEVEL = 3


def by_suffix(name: str) -> Pack | None:
    """Return what compresses a block for a file of this name; None for a file that is not compressed."""
    if name.lower().endswith(".gz"):
        return gzip_member()
    if name.lower().endswith(".zst"):
        return zstd_frame(name)
    return None


def gzip_member() -> Pack:
    """Return a function from bytes to one gzip member."""
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return functools.partial(zlib.compress, level=ZLIB_LEVEL, wbits=GZIP_FORMAT)
    return functools.partial(isal_zlib.compress, level=ISAL_LEVEL, wbits=GZIP_FORMAT)


def zstd_frame(name: str) -> Pack:
    """Return a function from bytes to one zstd frame with its length and checksum. Raises MissingPackage."""
    zstd = _zstd(name)
    options = {zstd.CompressionParameter.compression_level: ZSTD_LEVEL, zstd.CompressionParameter.checksum_flag: 1}
    compressor = zstd.ZstdCompressor(options=options)
    return functools.partial(compressor.compress, mode=compressor.FLUSH_FRAME)


def opened(path: str) -> Any:
    """Open a file for reading its content, unpacked as its suffix says. Raises OSError, MissingPackage."""
    if path.lower().endswith(".gz"):
        import gzip

        return gzip.open(path)
    if path.lower().endswith(".zst"):
        zstd = _zstd(path)
        return zstd.ZstdFile(path) if os.path.getsize(path) else io.BytesIO()  # it was cut back to nothing
    return open(path, "rb")


def _zstd(name: str) -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise MissingPackage(f"{name!r} needs zstd: pip install backports.zstd") from None
    return zstd
