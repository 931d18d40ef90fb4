"""One table for every transport: what the rude site does, and the one right outcome.

Each case fixes kind, status and body, so both transports give the same outcome or one of them is red.
HAZARDS A to D and F; what needs more than one fetch is in `test_hazards.py`.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cormorant import urls
from cormorant.messages import Failure, Kind, Outcome, Page, Request
from cormorant.options import Options
from cormorant.transport import Curl
from driving import DRIVERS
from rude import Rude, body
from rude.codings import ENCODED_SIZE as SIZE

KIB = 1024
CODINGS = tuple(SIZE)
Fetch = Callable[..., Outcome]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A path, and its outcome: `kind` None is a page. `size` is what the site promises, `keeps` what must arrive.

    `keeps`: None all, N that many bytes, "some" at least one byte but not all,
    "any" is not looked at.
    """

    path: str
    kind: Kind | None = None
    status: int | None = 200
    size: int | None = None
    keeps: int | str | None = None
    content: bytes | None = None
    phase: tuple[str, ...] | None = None
    seconds: float = 10.0
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def whole(*paths: str, **more: Any) -> list[Case]:
    """Paths that end in a page with its own body."""
    return [Case(path=path, **more) for path in paths]


def failing(kind: Kind, *paths: str, **more: Any) -> list[Case]:
    """Paths that end in a failure; but for a cut page, nothing of the body is kept."""
    return [Case(path=path, **{"kind": kind, "keeps": 0, **more}) for path in paths]


def late(*paths: str, **more: Any) -> list[Case]:
    """Paths that never end: whatever came, the outcome is a timeout, soon."""
    return failing(Kind.TIMEOUT, *paths, **{"seconds": 0.4, **more})


CASES = [
    # orderly
    *whole("/ok", "/until-close", "/no-reason", "/slow/0.05", "/http10"),
    *whole("/bytes/0", content=b""),
    *whole("/bytes/10", size=10),
    *whole("/bytes/300000", size=300_000),
    *(Case(path=f"/status/{n}", status=n) for n in (201, 301, 302, 307, 400, 401, 403, 404, 410, 429, 500, 503, 999)),
    *(Case(path=f"/status/{n}", status=n, content=b"") for n in (204, 304)),
    # redirects are answers, not followed
    *whole("/redir/3", "/redir/loop", "/redir/ever", "/redir?to=file:///etc/passwd", status=302),
    *whole("/redir?to=http://user:secret@127.0.0.1:1/&status=308", status=308),
    # A: waiting
    *late("/hang", status=None, phase=("first_byte",)),
    *late("/drip-headers", phase=("first_byte", "body")),
    *late("/hang-after-headers", "/drip", "/drip?every=0.3", "/stall-at/9000", phase=("body",)),
    # B: size. 10,000 bytes are allowed where the limit is 10,000, one more is not
    *failing(Kind.TOO_LARGE, "/infinite", "/infinite/chunked", "/cl/1000000000000000000", options={"max_body": 9999}),
    *failing(Kind.TOO_LARGE, "/bytes/10000", options={"max_body": 9999}),
    *whole("/bytes/10000", size=10_000, options={"max_body": 10_000}),
    *whole("/chunk/ok", size=10_000, options={"max_body": 10_000}),
    *whole("/bytes/300000", size=300_000, options={"max_body": 0}),
    *failing(Kind.TOO_LARGE, "/chunk/ok", options={"max_body": 9999}),
    *(
        case
        for name in CODINGS
        for case in failing(Kind.TOO_LARGE, f"/{name}/ok", options={"max_body": SIZE[name] - 1})
    ),
    *(case for name in CODINGS for case in whole(f"/{name}/ok", size=SIZE[name], options={"max_body": SIZE[name]})),
    *failing(
        Kind.TOO_LARGE, *(f"/{name}/bomb" for name in ("gzip", "br", "zstd", "deflate")), options={"max_body": KIB}
    ),
    *failing(Kind.PROTOCOL, "/headers/endless", "/headers/long", "/headers/6000"),
    *failing(Kind.PROTOCOL, "/continue", status=None),
    *failing(Kind.PROTOCOL, "/trailers/endless"),
    *whole("/headers/100", "/continue/3", "/trailers"),
    # C: broken HTTP
    *failing(Kind.TRUNCATED, "/partial/0", "/rst/0", size=10_000, keeps=0),
    *failing(Kind.TRUNCATED, "/partial/5000", "/rst/5000", size=10_000, keeps=5000),
    *failing(Kind.TRUNCATED, "/chunk/noend", size=10_000, keeps=4000),
    *failing(Kind.TRUNCATED, "/chunk/cut", size=10_000, keeps=4100),
    *failing(Kind.PROTOCOL, "/chunk/badsize", "/chunk/huge", "/chunk/neg"),
    *whole("/chunk/ok", "/chunk/ext", size=10_000),
    *failing(Kind.PROTOCOL, "/two-cl", "/cl-letters", "/nul-header"),
    *failing(Kind.PROTOCOL, "/two-location", status=302),
    *failing(Kind.PROTOCOL, "/garbage", "/http09", "/101", status=None),
    *failing(Kind.CONNECT, "/rst", "/drop", status=None),
    *whole("/bare-lf", "/folded", "/same", "/drop/body"),
    *(Case(path=f"/{n}-with-body", status=n, content=b"") for n in (204, 304)),
    # encodings: whole only with the end of the stream
    *(Case(path=f"/{name}/ok", size=SIZE[name]) for name in CODINGS),
    *(Case(path=f"/{name}/lie", size=SIZE[name]) for name in CODINGS),
    *(Case(path=f"/{name}/empty", content=b"") for name in CODINGS),
    *(Case(path=f"/{name}/cut", kind=Kind.TRUNCATED, size=SIZE[name], keeps="some") for name in CODINGS),
    *(Case(path=f"/{name}/until-close", kind=Kind.TRUNCATED, size=SIZE[name], keeps="some") for name in CODINGS),
    *whole("/deflate/zlib", "/deflate/raw", "/gzip/x", "/gzip/members", "/gzip/garbage", size=SIZE["gzip"]),
    *whole("/zstd/members", size=SIZE["zstd"]),
    *failing(Kind.TRUNCATED, "/gzip/notrailer", "/gzip/badcrc", size=SIZE["gzip"], keeps=None),
    *failing(Kind.PROTOCOL, "/gzip/corrupt", keeps="any"),
    *whole("/enc-x"),
    *whole("/chain/2", "/chain/5"),
    *failing(Kind.PROTOCOL, "/chain/6", "/chain/40", keeps="any"),
    # no_body: the head is all that was asked for, so nothing in the body is wrong
    *whole("/ok", "/infinite", "/hang-after-headers", content=b"", seconds=1.0, options={"no_body": True}),
    *whole("/gzip/cut", "/gzip/bomb", "/partial/10", content=b"", options={"no_body": True, "max_body": KIB}),
]


def named(case: Case) -> str:
    """Name a case in the report."""
    limit = "".join(f" {word}={value}" for word, value in case.options.items())
    return f"{case.path}{limit}"


@pytest.mark.parametrize("case", CASES, ids=named)
def test_outcome(case: Case, rude: Rude, fetch: Fetch) -> None:
    """Check kind, status, body and identity of one outcome."""
    url = rude.url(case.path)
    outcome = fetch(url, seconds=case.seconds, **case.options)
    assert (outcome.kind, outcome.status) == (case.kind, case.status), outcome.message
    assert isinstance(outcome, Page if case.kind is None else Failure)
    assert outcome.url == outcome.final_url == urls.clean(url)
    expected = body(url, case.size) if case.content is None else case.content
    if case.path == "/same":
        expected = b"the same page everywhere\n"
    if case.keeps == "some":
        assert 0 < len(outcome.body) < len(expected)
        assert expected.startswith(outcome.body)
    elif case.keeps != "any":
        assert outcome.body == expected[: case.keeps]
    if case.phase:
        assert outcome.phase in case.phase
    assert outcome.kind is None or outcome.message
    assert outcome.timings.total < case.seconds + 2


def test_outcome_of_interim_answers_keeps_only_the_last_header(rude: Rude, fetch: Fetch) -> None:
    """A 103 before the answer leaves nothing behind, nor do trailers after it."""
    for path in ("/continue/3", "/trailers"):
        page = fetch(rude.url(path))
        assert page.header("link") is None
        assert page.header("x-trailer") is None
        assert page.header("content-type") == "text/html; charset=utf-8"


@pytest.mark.parametrize("url", ["http://no-such-host.invalid/", f"http://{'a' * 64}.invalid/", "http://a..b/"])
def test_unknown_name_is_dns(url: str, fetch: Fetch) -> None:
    """A name without an address is the name's failure, whatever is wrong with it."""
    failure = fetch(url, seconds=5)
    assert (failure.kind, failure.status, failure.ip) == (Kind.DNS, None, None)


def test_refused_connection_is_connect(closed_url: str, fetch: Fetch) -> None:
    """A closed port is the host's failure."""
    failure = fetch(closed_url)
    assert (failure.kind, failure.phase, failure.status) == (Kind.CONNECT, "connect", None)


def test_swallowed_connection_is_a_connect_timeout(deaf_url: str, fetch: Fetch) -> None:
    """A swallowed SYN ends at the connect timeout, long before the total one."""
    failure = fetch(deaf_url, seconds=20, connect_timeout=0.3)
    assert (failure.kind, failure.phase) == (Kind.TIMEOUT, "connect")
    assert failure.timings.total < 2


def test_headers_come_as_pairs_in_order(rude: Rude, fetch: Fetch) -> None:
    """Repeated fields stay apart, names keep their case, folded values are joined."""
    page = fetch(rude.url("/set-cookie"))
    cookies = [pair for pair in page.headers if pair[0] == "Set-Cookie"]
    assert cookies == [("Set-Cookie", "taste=dough; Path=/"), ("Set-Cookie", "size=big; Path=/")]
    assert fetch(rude.url("/folded")).header("x-fold") == "one two"


@pytest.mark.parametrize(("path", "version"), [("/ok", "1.1"), ("/http10", "1.0")])
def test_page_knows_where_it_came_from(path: str, version: str, rude: Rude, fetch: Fetch) -> None:
    """Address, version and times are those of the hop."""
    page = fetch(rude.url(path, host="localhost"))
    assert (page.ip, page.http_version) == ("127.0.0.1", version)
    assert page.fetched_at > 1_600_000_000


def test_timings_are_those_of_the_phases(rude: Rude, fetch: Fetch) -> None:
    """A slow answer is slow in `first_byte`, and the phases make up the total."""
    times = fetch(rude.url("/slow/0.1")).timings
    assert times.first_byte >= 0.09
    phases = times.dns + times.connect + times.tls + times.first_byte + times.body
    assert times.tls == 0.0
    assert phases <= times.total + 0.001
    assert times.total - phases < 0.1


def test_request_rides_into_the_outcome(rude: Rude, drive: Callable[..., Any]) -> None:
    """Identity, input, line and attempts come home with a page and with a failure."""
    driver = drive()
    for path in ("/ok", "/drop"):
        request = Request(url="http://id.example/", target=rude.url(path), input=" in ", line=7, attempts=3)
        outcome = driver.fetch(request)
        assert (outcome.url, outcome.final_url) == ("http://id.example/", rude.url(path))
        assert (outcome.input, outcome.line, outcome.attempts) == (" in ", 7, 3)


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 404 No\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/2 200\r\n",
        b"HTTP/1.1 20",
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Content-Encoding: br, zstd, deflate\r\n",
        b"Location: \r\n",
        b"Connection: keep-alive\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
        b"\0",
        b"\xff\xfe",
        b": no name\r\n",
        b" folded\r\n",
    ]
)
ANSWERS = st.lists(PIECES | st.binary(max_size=20), max_size=12).map(b"".join) | st.lists(PIECES, max_size=9).map(
    lambda pieces: b"HTTP/1.1 200 OK\r\n" + b"".join(pieces)
)


def test_any_bytes_give_one_and_the_same_outcome(rude: Rude) -> None:
    """Whatever a server sends: no exception, one outcome in bounded time, equal for both transports."""
    drivers = [driver(Curl(Options(max_body=KIB))) for driver in DRIVERS.values()]

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(ANSWERS)
    def check(answer: bytes) -> None:
        url = rude.url("/raw/" + base64.urlsafe_b64encode(answer).decode())
        first, second = (driver.fetch(Request(url=url, target=url, seconds=5.0)) for driver in drivers)
        assert (first.kind, first.status, first.body) == (second.kind, second.status, second.body)
        assert first.headers == second.headers
        assert first.kind not in (Kind.TIMEOUT, Kind.LOCAL, Kind.CANCELLED)

    try:
        check()
    finally:
        for driver in drivers:
            driver.close()
