"""Certificates of the rude site, good and bad, made when first asked for."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import trustme

BAD = ("expired", "not-yet", "wrong-name", "self-signed", "unknown-root", "client-cert", "old-tls")
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
DAY = datetime.timedelta(days=1)


@functools.cache
def authority() -> trustme.CA:
    """Return the one authority the tests are told to trust."""
    return trustme.CA()


def write_authority(folder: Path) -> str:
    """Write the trusted authority's certificate and say where it is."""
    place = folder / "ca.pem"
    place.write_bytes(authority().cert_pem.bytes())
    return str(place)


def context(how: str, host: str) -> ssl.SSLContext:
    """Return a server's TLS settings: `good`, `h2`, or one of `BAD`."""
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if how == "self-signed":
        alone = trustme.CA()
        with alone.private_key_pem.tempfile() as key, alone.cert_pem.tempfile() as certificate:
            settings.load_cert_chain(certificate, key)
        return settings
    _leaf(how, host).configure_cert(settings)
    settings.set_alpn_protocols(["h2"] if how == "h2" else ["http/1.1"])
    if how == "client-cert":
        settings.verify_mode = ssl.CERT_REQUIRED
        authority().configure_trust(settings)
    if how == "old-tls":
        settings.minimum_version = ssl.TLSVersion.TLSv1
        settings.maximum_version = ssl.TLSVersion.TLSv1_1
        settings.set_ciphers("ALL:@SECLEVEL=0")
    return settings


def _leaf(how: str, host: str) -> trustme.LeafCert:
    now = datetime.datetime.now(datetime.UTC)
    names = ["wrong.example"] if how == "wrong-name" else [host, "localhost"]
    if how == "expired":
        return authority().issue_cert(*names, not_before=now - 9 * DAY, not_after=now - DAY)
    if how == "not-yet":
        return authority().issue_cert(*names, not_before=now + DAY, not_after=now + 9 * DAY)
    return (trustme.CA() if how == "unknown-root" else authority()).issue_cert(*names)


def demand_certificate(settings: ssl.SSLContext) -> Talk:
    """Return the callback of a port that wants the client's certificate and, without one, says so by a TLS alert.

    By hand, because asyncio drops the alert: with TLS 1.3 it is all that a client hears, after its handshake.
    """

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = settings.wrap_bio(incoming, outgoing, server_side=True)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65536):
                incoming.write(data)
                with contextlib.suppress(ssl.SSLError):
                    session.do_handshake()
                writer.write(outgoing.read())
        writer.close()

    return talk
