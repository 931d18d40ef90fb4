"""HTTP/2 over TLS: the same outcomes as over HTTP/1, and the faults only frames can have."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cormorant.messages import Kind, Outcome
from cormorant.options import Options
from cormorant.transport import Curl
from driving import EventedDriver, asking
from rude import Rude, body
from rude.codings import ENCODED_SIZE

Fetch = Callable[..., Outcome]
pytestmark = pytest.mark.usefixtures("trusted")


@pytest.mark.parametrize(
    ("path", "status", "size"), [("/ok", 200, None), ("/bytes/1000000", 200, 1_000_000), ("/status/404", 404, None)]
)
def test_page_comes_over_http2(path: str, status: int, size: int | None, rude: Rude, fetch: Fetch) -> None:
    """HTTP/2 is used where the host offers it, flow control included."""
    url = rude.https_url(path, tls="h2")
    page = fetch(url)
    assert (page.kind, page.status, page.http_version) == (None, status, "2"), page.message
    assert page.body == body(url, size)
    assert page.header("content-type") == "text/html"


def test_nothing_of_http1_is_asked_over_http2(rude: Rude, fetch: Fetch) -> None:
    """No Connection, Host or Upgrade field goes out (RFC 9113 8.2.2)."""
    said = dict(json.loads(fetch(rude.https_url("/echo", tls="h2")).body)["headers"])
    assert {"connection", "host", "upgrade", "http2-settings"}.isdisjoint(said)
    assert said["accept-encoding"] == "gzip, deflate, br, zstd"


@pytest.mark.parametrize(
    ("path", "kind", "status", "keeps"),
    [
        ("/partial/5000", Kind.TRUNCATED, 200, 5000),
        ("/rst/5000", Kind.TRUNCATED, 200, 5000),
        ("/goaway/5000", Kind.TRUNCATED, 200, 5000),
        ("/garbage", Kind.PROTOCOL, None, 0),
        ("/hpack", Kind.PROTOCOL, None, 0),
        ("/continuation", Kind.PROTOCOL, 200, 0),
        ("/infinite", Kind.TOO_LARGE, 200, 0),
    ],
)
def test_fault_over_http2(path: str, kind: Kind, status: int | None, keeps: int, rude: Rude, fetch: Fetch) -> None:
    """Cut streams are truncated pages that keep what came; broken frames are protocol failures."""
    url = rude.https_url(path, tls="h2")
    failure = fetch(url, max_body=100_000)
    assert (failure.kind, failure.status) == (kind, status), failure.message
    assert failure.body == body(url, 10_000)[:keeps]
    assert failure.message


def test_refused_stream_is_no_fault_of_the_page(rude: Rude, fetch: Fetch) -> None:
    """REFUSED_STREAM for ever ends, soon, as a failure without a status."""
    failure = fetch(rude.https_url("/refuse", tls="h2"))
    assert failure.kind in (Kind.PROTOCOL, Kind.CONNECT)
    assert failure.status is None
    assert len(rude.log()) < 20


def test_upper_case_field_is_a_protocol_failure(rude: Rude, fetch: Fetch) -> None:
    """RFC 9113 8.2.1: an upper-case field name makes the answer malformed."""
    failure = fetch(rude.https_url("/upper", tls="h2"))
    assert failure.kind is Kind.PROTOCOL


@pytest.mark.parametrize(("how", "kind"), [("ok", None), ("cut", Kind.TRUNCATED), ("lie", None)])
def test_encoded_body_over_http2(how: str, kind: Kind | None, rude: Rude, fetch: Fetch) -> None:
    """Bodies are decoded by the same rules."""
    url = rude.https_url(f"/gzip/{how}", tls="h2")
    outcome = fetch(url)
    whole = body(url, ENCODED_SIZE["gzip"])
    assert outcome.kind is kind
    assert outcome.body == whole if kind is None else whole.startswith(outcome.body) and len(outcome.body) > 0


def test_hang_over_http2_delays_nobody_on_the_same_connection(rude: Rude) -> None:
    """Streams are apart: twenty pages come while one hangs, each with its own body."""
    driver = EventedDriver(Curl(Options()))
    paths = ["/hang", *(f"/ok/{n}" for n in range(20))]
    requests = [asking(rude.https_url(path, tls="h2"), 0.6) for path in paths]
    hung, *pages = driver.fetch_all(requests)
    assert (hung.kind, getattr(hung, "phase", None)) == (Kind.TIMEOUT, "first_byte")
    assert [page.body for page in pages] == [body(request.url) for request in requests[1:]]
    driver.close()


def test_connection_is_reused_and_survives_a_cut_stream(rude: Rude, drive: Callable[..., Any]) -> None:
    """One connection carries page after page; a stream that was reset takes nothing else with it."""
    driver = drive()
    for path in ("/ok/1", "/ok/2", "/rst/100", "/ok/3"):
        driver.fetch(asking(rude.https_url(path, tls="h2")))
    assert driver.fetch(asking(url := rude.https_url("/ok/4", tls="h2"))).body == body(url)
    assert len({hit.port for hit in rude.log()}) == 1
