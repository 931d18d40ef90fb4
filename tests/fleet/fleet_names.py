"""A parse function, and names that are found at addresses of this machine: `n7.example`; in workers alone."""

from __future__ import annotations

import multiprocessing
import os
import socket
from typing import Any

import cormorant

ADDRESSES = 3


def address_of(name: str) -> str:
    """Return where a name is found."""
    return f"127.0.43.{1 + int(name.removeprefix('n').removesuffix('.example')) % ADDRESSES}"


def process_of(page: cormorant.Page) -> int:
    """Return who has fetched a page."""
    return os.getpid()


def _getaddrinfo(name: str, *_: object, **__: object) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address_of(name), 0))]


if multiprocessing.parent_process() is not None:
    socket.getaddrinfo = _getaddrinfo  # type: ignore[assignment]
