"""Sizes and times as people write and read them: `10M`, `1.5G`, `500ms`, `2m`; and back."""

from __future__ import annotations

import re

import typer

_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*"
_SIZE = re.compile(_NUMBER + r"([kmgt]?)(?:b|(?<=[kmgt])ib)?\Z", re.I)
_TIME = re.compile(_NUMBER + r"(ms|s|m|h|d|)\Z", re.I)
# A letter is a power of 1024, as in curl and wget.
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def size(text: str) -> int:
    """Return `text` in bytes: `0`, `512K`, `10M`, `1.5G`, `10MiB`. Raises BadParameter."""
    found = _SIZE.match(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no size; write bytes or for example 512K, 10M, 1.5G")
    return int(float(found[1]) * _BYTES[found[2].lower()])


def seconds(text: str) -> float:
    """Return `text` in seconds: `1.5`, `500ms`, `2m`, `1h`. Raises BadParameter."""
    found = _TIME.match(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time; write seconds or for example 500ms, 1.5, 2m")
    return float(found[1]) * _SECONDS[found[2].lower()]


def size_text(count: float) -> str:
    """Return a size in three digits or so: `0 B`, `9.8 KB`, `41.2 MB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TB"


def size_option(count: int) -> str:
    """Return a size as `size` reads it, for a default in the help."""
    for letter in "TGMK":
        unit = _BYTES[letter.lower()]
        if count and count % unit == 0:
            return f"{count // unit}{letter}"
    return str(count)


def span_text(duration: float) -> str:
    """Return seconds as a person says them: `0.12s`, `4.2s`, `1m52s`, `3h05m`."""
    if duration < 1:
        return f"{duration:.2f}s"
    if duration < 59.95:
        return f"{duration:.1f}s"
    whole = round(duration)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
