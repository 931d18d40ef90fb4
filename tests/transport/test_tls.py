"""TLS: what is trusted, and what every kind of bad certificate and bad handshake comes to (HAZARDS F)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cormorant.errors import UsageError
from cormorant.messages import Kind, Outcome
from cormorant.options import Options
from cormorant.transport import Curl, exchange
from driving import DRIVERS, asking
from rude import Rude, body

Fetch = Callable[..., Outcome]
pytestmark = pytest.mark.usefixtures("trusted")


def test_trusted_page(rude: Rude, fetch: Fetch) -> None:
    """A good certificate of an authority in SSL_CERT_FILE is accepted, by address and by name."""
    for host in ("127.0.0.1", "localhost"):
        url = rude.https_url("/ok", host=host)
        page = fetch(url)
        assert (page.kind, page.status, page.body, page.http_version) == (None, 200, body(url), "1.1"), page.message
        assert page.timings.tls > 0


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ("expired", "expired"),
        ("not-yet", "not yet valid"),
        ("wrong-name", "name"),
        ("self-signed", "common name"),  # libcurl looks at the name first, and this one has none
        ("unknown-root", "issuer"),
    ],
)
def test_bad_certificate_is_a_tls_failure_that_says_why(tls: str, words: str, rude: Rude, fetch: Fetch) -> None:
    """Nothing is asked of a host whose certificate does not hold."""
    failure = fetch(rude.https_url("/ok", tls=tls))
    assert (failure.kind, failure.phase, failure.status) == (Kind.TLS, "tls", None)
    assert words in failure.message
    assert rude.log() == []


@pytest.mark.parametrize("tls", ["expired", "not-yet", "wrong-name", "self-signed", "unknown-root"])
def test_insecure_skips_verification(tls: str, rude: Rude, fetch: Fetch) -> None:
    """`insecure` accepts any certificate, because it was asked to."""
    url = rude.https_url("/ok", tls=tls)
    assert fetch(url, insecure=True).body == body(url)


@pytest.mark.parametrize("insecure", [False, True], ids=["verifying", "insecure"])
@pytest.mark.parametrize("tls", ["http", "tls-garbage", "tls-close", "old-tls", "client-cert"])
def test_broken_handshake_is_a_tls_failure(tls: str, insecure: bool, rude: Rude, fetch: Fetch) -> None:
    """Plain HTTP, noise, a slammed door, TLS 1.1 only, a demand for our certificate: all TLS, none a cut page."""
    failure = fetch(rude.https_url("/ok", tls=tls), insecure=insecure)
    assert (failure.kind, failure.status, failure.body) == (Kind.TLS, None, b""), failure.message
    assert failure.message


@pytest.mark.parametrize(
    ("options", "seconds"), [({}, 0.4), ({"connect_timeout": 0.4}, 20.0)], ids=["total", "connect"]
)
def test_hung_handshake_is_a_timeout_of_the_tls_phase(
    options: dict[str, Any], seconds: float, rude: Rude, fetch: Fetch
) -> None:
    """A host that takes the hello and says nothing ends at either timeout."""
    failure = fetch(rude.https_url("/ok", tls="tls-hang"), seconds=seconds, **options)
    assert (failure.kind, failure.phase, failure.status) == (Kind.TIMEOUT, "tls", None)
    assert failure.timings.total < 2


@pytest.mark.parametrize(
    ("path", "kind", "keeps"),
    [
        ("/bytes/300000", None, 300_000),
        ("/until-close", None, None),
        ("/partial/5000", Kind.TRUNCATED, 5000),
        ("/rst/5000", Kind.TRUNCATED, 5000),
        ("/chunk/noend", Kind.TRUNCATED, 4000),
        ("/drop/body", Kind.TRUNCATED, None),
        ("/close-idle", None, None),
    ],
)
def test_cut_pages_over_tls(path: str, kind: Kind | None, keeps: int | None, rude: Rude, fetch: Fetch) -> None:
    """As over TCP, and more: a body without length is whole only with close_notify (RFC 8446 6.1, 9112 9.8)."""
    url = rude.https_url(path)
    outcome = fetch(url)
    expected = body(url, 300_000 if keeps == 300_000 else keeps and 10_000)
    assert (outcome.kind, outcome.status) == (kind, 200), outcome.message
    assert outcome.body == expected[:keeps]


def test_connection_is_reused_over_tls(rude: Rude, drive: Callable[..., Any]) -> None:
    """One handshake serves many pages, and no stray byte of TLS is taken for a surplus answer."""
    driver = drive()
    for number in range(5):
        url = rude.https_url(f"/ok/{number}")
        assert driver.fetch(asking(url)).body == body(url)
    assert len({hit.port for hit in rude.log()}) == 1


def test_missing_bundle_is_said_at_once(monkeypatch: pytest.MonkeyPatch, kind_of_transport: str) -> None:
    """A bundle that is not there is a usage error, not a TLS failure a page."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    exchange.ca_options.cache_clear()
    with pytest.raises(UsageError, match="SSL_CERT_FILE"):
        DRIVERS[kind_of_transport](Curl(Options()))
