"""The rude site itself: connections, listeners on any host of 127.0.0.0/8, and the truth log.

Runs in its own process. Commands come as JSON lines on stdin and are answered on stdout; the end of
stdin is the end of the site, so it never outlives the test run.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import rude.codings
import rude.crawling
import rude.faults
import rude.whole  # noqa: F401  (the four fill the table of routes)
from rude.exchange import Closing, Exchange, Gone
from rude.routes import answer

LONGEST_HEAD = 1024 * 1024
ENDING = (asyncio.CancelledError,)  # the site ends while connections are open: not worth a traceback each
TLS_HELLO = b"\x16"


class TruthLog:
    """What really was asked, in order: one record a request, changed once when it ends."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.now: collections.Counter[str] = collections.Counter()

    def begin(self, port: int, host: str, method: str, path: str) -> dict[str, Any]:
        """Note a request as it comes in; `at_once` counts it among those open to its host."""
        self.now[host] += 1
        record = {"t_ns": time.monotonic_ns(), "port": port, "host": host, "method": method, "path": path}
        record.update(ended=None, sent=0, at_once=self.now[host])
        self.records.append(record)
        return record

    def end(self, record: dict[str, Any], how: str, sent: int) -> None:
        """Note how it ended: ok, cut, reset, dropped, closed, or gone (the client left first)."""
        self.now[record["host"]] -= 1
        record.update(ended=how, sent=sent)


class Site:
    """Listeners by (kind, host), one truth log, and the counters of the flaky pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = TruthLog()
        self.counters: dict[str, int] = {}
        self.listeners: dict[tuple[str, str], tuple[int, asyncio.Server]] = {}

    async def port(self, kind: str, host: str) -> int:
        """Return the port of a listener, opened when first asked for; `kind` is http or as in `rude.tls`."""
        if (kind, host) not in self.listeners:
            port = next((port for (known, _), (port, _) in self.listeners.items() if known == kind), 0)
            listening = _bind(host, port)
            server = await self._serve(kind, host, listening)
            self.listeners[kind, host] = (listening.getsockname()[1], server)
        return self.listeners[kind, host][0]

    async def _serve(self, kind: str, host: str, listening: socket.socket) -> asyncio.Server:
        calls = {"http": self._talk("http"), "tls-hang": _hold, "tls-garbage": _garbage, "tls-close": _close}
        if kind in calls:
            return await asyncio.start_server(calls[kind], sock=listening, limit=LONGEST_HEAD)
        from rude import http2, tls

        settings = tls.context(kind, host)
        if kind == "client-cert":
            return await asyncio.start_server(tls.demand_certificate(settings), sock=listening)
        talk = http2.talk(self.log) if kind == "h2" else self._talk("https")
        return await asyncio.start_server(talk, sock=listening, ssl=settings, limit=LONGEST_HEAD)

    def _talk(self, scheme: str) -> Any:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Serve one connection until either side has had enough."""
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, *ENDING):
                while await self._exchange(scheme, reader, writer):
                    pass
            if writer.is_closing():  # a handler chose to close in order (over TLS: with close_notify)
                with contextlib.suppress(OSError):
                    return await writer.wait_closed()
            writer.transport.abort()

        return talk

    async def _exchange(self, scheme: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; returns whether the connection may go on."""
        x = await _read_request(scheme, reader, writer)
        if x is None:
            return False
        x.counters = self.counters
        record = self.log.begin(writer.get_extra_info("peername")[1], x.host, x.method, x.target)
        how = "gone"
        try:
            await answer(x)
            how = "ok"
        except Closing as closing:
            how = closing.how
            if how != "reset":
                await _flushed(writer)
        except (Gone, ConnectionError):
            pass
        except Exception:  # a bad path, or a mistake in a handler: the test should see it
            traceback.print_exc()
            how = "broken"
            await x.page(traceback.format_exc().encode(), status=500)
        finally:
            self.log.end(record, how, x.sent)
        if x.close_next and how == "ok":
            await reader.read(1)
            return False
        return how == "ok" and not writer.is_closing()


async def _read_request(scheme: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange | None:
    try:
        begin = await reader.readexactly(1)
        if begin == TLS_HELLO:  # https asked of the http port: answer as servers do
            writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nspeak http here")
            writer.close()
            return None
        head = (begin + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].split("\r\n")
    method, target, version = [*first.split(" "), "", ""][:3]
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    named = {name.lower(): value for name, value in headers}
    if named.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    content = await reader.readexactly(int(named.get("content-length", 0)))
    return Exchange(
        scheme=scheme,
        method=method,
        target=target,
        version=version,
        headers=headers,
        content=content,
        counters={},
        reader=reader,
        writer=writer,
    )


async def _flushed(writer: asyncio.StreamWriter) -> None:
    """Close in order: what was written goes out before the FIN (over TLS there is no close_notify)."""
    while writer.transport.get_write_buffer_size():  # noqa: ASYNC110  (`drain` with a limit of 0 never ends over TLS)
        await asyncio.sleep(0.001)


async def _hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the TLS hello and say nothing."""
    with contextlib.suppress(OSError, *ENDING):
        while await reader.read(65536):
            pass
    writer.close()


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the TLS hello with noise."""
    await reader.read(1)
    writer.write(b"\x00\x01\x02 this is not TLS \xff\xfe" * 10)
    await _hold(reader, writer)


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close as soon as the TLS hello comes."""
    await reader.read(65536)
    writer.close()


def _bind(host: str, port: int) -> socket.socket:
    """Bind `host`, at the port its kind has elsewhere where that is free."""
    # The protocol is named because asyncio sets TCP_NODELAY only where it is: Nagle would hold small writes back 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        if not port:
            raise
        listening.bind((host, 0))
    listening.listen(1024)
    return listening


async def run(folder: Path) -> None:
    """Obey the commands on stdin until it ends."""
    site = Site(folder)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            reply: Any = {"value": await _obey(site, json.loads(line))}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


async def _obey(site: Site, command: dict[str, Any]) -> Any:
    match command:
        case {"do": "port", "kind": kind, "host": host}:
            return await site.port(kind, host)
        case {"do": "log"}:
            return site.log.records
        case {"do": "clear"}:
            # what is still open keeps its old record; the new log starts without it
            site.log.records = []
            site.counters.clear()
            return None
        case {"do": "ca"}:
            from rude import tls

            return tls.write_authority(site.folder)
    raise ValueError(f"unknown command {command}")
