"""What comes before a body: the status and the headers, out of the lines that libcurl handed over. Pure."""

from __future__ import annotations

import functools
from typing import NamedTuple

from cormorant.messages import Headers, first_value


class Head(NamedTuple):
    """What came before a body. `is_plain`: no Content-Encoding and no Transfer-Encoding among the headers."""

    status: int
    headers: Headers
    is_plain: bool


def parse_head(lines: list[bytes]) -> Head:
    """Return the last head in `lines`; 1xx heads before it and trailers are left out. Status 0: no final one."""
    status, inside, is_plain = 0, False, True
    pairs: list[tuple[str, str]] = []
    for line in lines:
        if not inside:
            if line.startswith(b"HTTP/"):
                inside, pairs, status, is_plain = True, [], _status_of(line), True
            continue
        pair, says_encoding = _header_of(line)
        if pair is not None:
            pairs.append(pair)
            if says_encoding:
                is_plain = False
        elif not line.strip():
            inside = False
        elif line[0] in b" \t" and pairs:  # a folded line, RFC 9112 5.2
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {line.decode('latin-1').strip()}".strip())
    return Head(status if status >= 200 else 0, tuple(pairs), is_plain)


@functools.lru_cache(maxsize=1024)  # the same few lines come with every page of a host
def _header_of(line: bytes) -> tuple[tuple[str, str] | None, bool]:
    """Return name and value (None for a line that is no header of its own), and whether it names an encoding."""
    name, colon, value = line.decode("latin-1").partition(":")
    if not colon or name[:1] in " \t":
        return None, False
    return (name, value.strip()), name.lower() in ("content-encoding", "transfer-encoding")


def content_encoding(headers: Headers) -> str | None:
    """Return the codings of the body in the order applied, over all header lines (RFC 9110 8.4), or None."""
    values = [value for name, value in headers if name.lower() == "content-encoding"]
    return ", ".join(values) if values else None


def has_two_lengths(headers: Headers) -> bool:
    """Return whether an answer states its length twice, a smuggler's mark: RFC 9112 6.1 has its connection closed."""
    return None not in (first_value(headers, "transfer-encoding"), first_value(headers, "content-length"))


def _status_of(line: bytes) -> int:
    words = line.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
