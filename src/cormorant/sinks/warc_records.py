"""The layout of WARC/1.1 records (https://iipc.github.io/warc-specifications/), as bytes. Decides nothing.

Laws: a value in a head is one line, whatever a page sent; every record has a block digest, and every response the
digest of its payload: `sha1:` and Base32, as all tools write them.

An HTTP head stands before the body as it was decoded. So the fields that spoke of the body as it was sent are
renamed, as Common Crawl does it: `X-Crawler-Content-Encoding`, `X-Crawler-Transfer-Encoding` and, where it differs,
`X-Crawler-Content-Length`; `Content-Length` is that of the body in the record.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import http
import re
import urllib.parse
import uuid
from collections.abc import Iterable

from cormorant.messages import Headers, Kind, Outcome

IDENTICAL_PAYLOAD = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
FIELDS_TYPE = "application/warc-fields"
HTTP_TYPE = "application/http; msgtype={}"
ORIGINAL = "X-Crawler-"
PROTOCOLS = {"1.0": "http/1.0", "1.1": "http/1.1", "2": "h2", "3": "h3"}
NO_URL = "http://no-url.invalid/"  # RFC 2606
TRUNCATED = {Kind.TRUNCATED: "disconnect", Kind.TOO_LARGE: "length", Kind.TIMEOUT: "time"}

Fields = Iterable[tuple[str, str | None]]

_ENCODINGS = ("content-encoding", "transfer-encoding")
_NO_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_LINE_BREAKS = re.compile(r"[\r\n\0]")
_URI = "".join(map(chr, range(0x21, 0x7F))).translate({ord(character): None for character in '"<>\\^`{|}'})
_HTTP_URL = re.compile(r"https?://([^/?#]+)([^#]*)", re.IGNORECASE)


def record(kind: str, name: str, date: str, fields: Fields, content: bytes) -> bytes:
    """Return one whole record; fields that are None are left out."""
    lines = [
        "WARC/1.1",
        f"WARC-Type: {kind}",
        f"WARC-Record-ID: {name}",
        f"WARC-Date: {date}",
        f"Content-Length: {len(content)}",
        f"WARC-Block-Digest: {digest(content)}",
        *(f"{field}: {single_line(value)}" for field, value in fields if value is not None),
    ]
    head = "\r\n".join(lines).encode("utf-8", "backslashreplace")
    return b"".join((head, b"\r\n\r\n", content, b"\r\n\r\n"))


def new_name() -> str:
    """Return an identity for a record."""
    return f"<urn:uuid:{uuid.uuid4()}>"


def date_of(seconds: float) -> str:
    """Write an instant (seconds since the epoch) as WARC-Date, with milliseconds."""
    instant = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{instant.isoformat(timespec='milliseconds')[:-6]}Z"


def digest(content: bytes) -> str:
    """Return the labelled digest of `content`."""
    return f"sha1:{base64.b32encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()}"


def uri(url: str) -> str:
    """Return `url` as a WARC-Target-URI; a text that is no http or https URL becomes one of a host that cannot be."""
    quoted = urllib.parse.quote(url, safe=_URI, errors="surrogatepass")
    return quoted if _HTTP_URL.match(url) else f"{NO_URL}{quoted}"


def request_head(target: str) -> bytes:
    """Return what is known of the request for a target URI: its line and its host. Other headers were not kept."""
    match = _HTTP_URL.match(target)
    host, path = match.groups() if match else ("", "")
    path = path if path.startswith("/") else f"/{path}"
    return f"GET {path} HTTP/1.1\r\nHost: {host.rpartition('@')[2]}\r\n\r\n".encode()


def response_head(outcome: Outcome) -> bytes:
    """Return the HTTP head that fits to the decoded body."""
    status = outcome.status or 0
    phrase = http.HTTPStatus(status).phrase if status in http.HTTPStatus._value2member_map_ else ""
    lines = [f"HTTP/1.1 {status:03} {phrase}".encode()]
    lines += (_header_line(name, value) for name, value in _headers(outcome.headers, str(len(outcome.body))))
    return b"\r\n".join((*lines, b"", b""))


def truncation(outcome: Outcome) -> str | None:
    """Return why the body of an answer is not whole, as WARC-Truncated says it, or None."""
    if outcome.kind is None or outcome.kind in (Kind.CALLBACK, Kind.BLOCKED):
        return None
    return TRUNCATED.get(outcome.kind, "unspecified")


def single_line(text: str) -> str:
    """Return `text` without what would begin a new line of a head."""
    return _LINE_BREAKS.sub(" ", text)


def _headers(headers: Headers, length: str) -> Iterable[tuple[str, str]]:
    for name, value in headers:
        lowered = name.lower()
        if lowered in _ENCODINGS or (lowered == "content-length" and value != length):
            yield f"{ORIGINAL}{name}", value
        elif lowered != "content-length":
            yield name, value
    yield "Content-Length", length


@functools.lru_cache(maxsize=1024)  # the same few lines come with every page of a host
def _header_line(name: str, value: str) -> bytes:
    line = f"{_NO_TOKEN.sub('_', name) or '_'}: {single_line(value)}"
    try:
        return line.encode("latin-1")  # as it came: libcurl's bytes were read as Latin-1
    except UnicodeEncodeError:
        return line.encode("utf-8", "backslashreplace")
