"""What a record says, whatever its format; and files as they were before they were compressed. For `strangers.py`."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@dataclasses.dataclass(frozen=True)
class Found:
    """What a record says, whatever its format. `hops` are the URLs that redirected on the way."""

    url: str
    line: str
    final_url: str
    status: int | None
    kind: str | None
    sha256: str | None
    hops: tuple[str, ...] = ()


def found_in(record: dict[str, Any], body: bytes | None) -> Found:
    """Take what we judge by out of a record, whose body was found beside it."""
    return Found(
        url=record["url"],
        line=record.get("input") or record["url"],
        final_url=record.get("final_url") or record["url"],
        status=record["status"],
        kind=record["kind"],
        sha256=None if body is None else hashlib.sha256(body).hexdigest(),
        hops=tuple(hop if isinstance(hop, str) else hop["url"] for hop in hops_in(record)),
    )


def hops_in(record: dict[str, Any]) -> list[Any]:
    return record.get("redirects") or record.get("hops") or []


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacked."""
    with contextlib.ExitStack() as stack:
        if path.suffix == ".gz":
            yield stack.enter_context(gzip.open(path))  # type: ignore[misc]
        elif path.suffix == ".zst":
            yield stack.enter_context(unpacked_zst(path))
        else:
            yield stack.enter_context(path.open("rb"))


def unpacked_zst(path: Path) -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found]
    except ImportError:  # before Python 3.14
        from backports import zstd
    return zstd.ZstdFile(path)
