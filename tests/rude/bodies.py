"""What each page of the rude site holds: a pure function of its URL, so that a test knows the right answer."""

from __future__ import annotations

import functools
import gzip
import hashlib
import itertools
import sys
import zlib

BOMB_BYTES = 64 * 1024 * 1024


def body(url: str, size: int | None = None) -> bytes:
    """Return the page of `url`: it names its own URL first, then (to `size` bytes) text that hardly compresses."""
    start = f"<!doctype html><p>This is {url}\n".encode()
    if size is None:
        return start
    chunks, length = [start], len(start)
    for number in itertools.count():
        if length >= size:
            return b"".join(chunks)[:size]
        chunks.append(hashlib.sha256(f"{number} {url}".encode()).hexdigest().encode() + b"\n")
        length += len(chunks[-1])
    raise AssertionError("count() does not end")


def gzipped(plain: bytes) -> bytes:
    """Return one gzip member, the same bytes every time."""
    return gzip.compress(plain, mtime=0)


def raw_deflated(plain: bytes) -> bytes:
    """Return `plain` as deflate without the zlib wrapper, as some servers wrongly send it."""
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(plain) + squeeze.flush()


def brotlied(plain: bytes) -> bytes:
    """Return `plain` in brotli."""
    import brotli

    return bytes(brotli.compress(plain, quality=5))


def zstandard(plain: bytes) -> bytes:
    """Return `plain` as one zstd frame."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return bytes(zstd.compress(plain))


SQUEEZE = {"gzip": gzipped, "deflate": zlib.compress, "br": brotlied, "zstd": zstandard}


@functools.cache
def bomb(coding: str) -> bytes:
    """Return `BOMB_BYTES` of zeros in `coding`: a few KB on the wire."""
    return SQUEEZE[coding](bytes(BOMB_BYTES))
