"""The border: every libcurl error code becomes one `Kind`, here and nowhere else.

Source of the numbers: https://curl.se/libcurl/c/libcurl-errors.html. A code that is not in the table is
PROTOCOL: whatever it was, no page came.
"""

from __future__ import annotations

import errno

from cormorant.messages import Kind

# Out of our own descriptors, ports, buffers or memory: never the host's fault.
LOCAL_ERRNOS = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)
)

KIND_OF_CODE = {
    1: Kind.PROTOCOL,  # unsupported: HTTP/0.9 refused
    3: Kind.BAD_URL,
    5: Kind.DNS,  # the proxy's name
    6: Kind.DNS,
    7: Kind.CONNECT,
    8: Kind.PROTOCOL,  # weird server reply
    16: Kind.PROTOCOL,  # HTTP/2 framing
    18: Kind.TRUNCATED,
    26: Kind.LOCAL,
    27: Kind.LOCAL,  # out of memory
    28: Kind.TIMEOUT,
    35: Kind.TLS,
    42: Kind.CANCELLED,
    43: Kind.PROTOCOL,  # a NUL in a header
    45: Kind.LOCAL,  # the interface asked for
    52: Kind.CONNECT,  # closed without an answer
    53: Kind.TLS,
    54: Kind.TLS,
    55: Kind.CONNECT,  # sending failed
    56: Kind.CONNECT,  # receiving failed
    58: Kind.TLS,
    59: Kind.TLS,
    60: Kind.TLS,
    61: Kind.PROTOCOL,  # transfer encodings nobody speaks
    63: Kind.TOO_LARGE,
    64: Kind.TLS,
    66: Kind.TLS,
    77: Kind.LOCAL,  # our CA bundle cannot be read
    80: Kind.TLS,
    82: Kind.LOCAL,
    83: Kind.TLS,
    90: Kind.TLS,
    91: Kind.TLS,
    92: Kind.PROTOCOL,  # HTTP/2 stream
    95: Kind.PROTOCOL,
    96: Kind.CONNECT,
    97: Kind.CONNECT,  # the proxy's handshake
    98: Kind.TLS,  # client certificate demanded
    100: Kind.PROTOCOL,  # a header line too large
}


RECEIVING = (16, 56, 92)
# libcurl says only in words whether the bytes were wrong or just ended.
BROKEN_RULES = (
    "Too large",
    "Invalid HTTP header",
    "chunk hex-length",
    "nghttp2",
    "PROTOCOL_ERROR",
    "COMPRESSION_ERROR",
    "FRAME_SIZE_ERROR",
)


def kind_of(code: int, words: str, os_errno: int, heard: bool, began: bool) -> Kind:
    """Name the failure behind libcurl's `code` and `words`.

    `heard` says that some head had come, `began` that it held a final status: a connection lost after that cut
    the page short.
    """
    kind = KIND_OF_CODE.get(code, Kind.PROTOCOL)
    # 1. Ours: the machine ran out of something. 2. What was received breaks the rules, libcurl's ceilings included.
    # 3. A TLS alert while reading. 4. The connection or the stream was lost after the answer had begun.
    if kind is Kind.CONNECT and os_errno in LOCAL_ERRNOS:
        return Kind.LOCAL
    if (code == 52 and heard) or (code in RECEIVING and any(mark in words for mark in BROKEN_RULES)):
        return Kind.PROTOCOL
    if code in (55, 56) and "alert" in words:
        return Kind.TLS
    if code in RECEIVING and began:
        return Kind.TRUNCATED
    return kind
