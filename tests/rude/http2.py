"""Rudeness in frames: a small HTTP/2 site for what HTTP/1 cannot do wrong.

Orderly: /ok, /bytes/N, /status/N, /echo, /slow/S, /gzip/HOW. Faults: /hang, /partial/N (END_STREAM too early),
/rst/N (RST_STREAM), /refuse (REFUSED_STREAM), /goaway/N (GOAWAY and close), /garbage (bytes that are no
frame), /continuation (CONTINUATION frames without end), /hpack (a header block that cannot be decoded),
/infinite, /upper (upper-case field name).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from rude.bodies import body
from rude.codings import ENCODED_SIZE, variant

if TYPE_CHECKING:
    from rude.server import TruthLog

CUT_SIZE = 10_000
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def talk(log: TruthLog) -> Talk:
    """Return the callback that serves one connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError, asyncio.CancelledError):
            await Connection(log, reader, writer).serve()
        writer.close()

    return serve


class Connection:
    """One HTTP/2 connection; every stream is a task."""

    def __init__(self, log: TruthLog, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.log, self.reader, self.writer = log, reader, writer
        config = h2.config.H2Configuration(
            client_side=False,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.wire = h2.connection.H2Connection(config)
        self.open: dict[int, tuple[asyncio.Task[None], dict[str, Any]]] = {}
        self.room = asyncio.Event()

    async def serve(self) -> None:
        """Read frames until the client goes; then whatever is still open ends as gone."""
        self.wire.initiate_connection()
        self.flush()
        try:
            while data := await self.reader.read(65536):
                for event in self.wire.receive_data(data):
                    self.heed(event)
                self.flush()
        finally:
            for task, record in self.open.values():
                task.cancel()
                self.log.end(record, "gone", 0)

    def flush(self) -> None:
        """Put what h2 has prepared on the wire."""
        self.writer.write(self.wire.data_to_send())

    def heed(self, event: h2.events.Event) -> None:
        """Take one event of the client's."""
        if isinstance(event, h2.events.RequestReceived):
            fields = dict(event.headers)
            port = self.writer.get_extra_info("peername")[1]
            record = self.log.begin(port, fields[":authority"], fields[":method"], fields[":path"])
            task = asyncio.get_running_loop().create_task(self.answer(event.stream_id, event.headers, record))
            self.open[event.stream_id] = (task, record)
        elif isinstance(event, h2.events.StreamReset) and event.stream_id in self.open:
            task, record = self.open.pop(event.stream_id)
            task.cancel()
            self.log.end(record, "gone", 0)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.writer.close()
        elif isinstance(event, h2.events.WindowUpdated):
            self.room.set()
        elif isinstance(event, h2.events.DataReceived):
            self.wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    async def answer(self, stream: int, headers: list[tuple[str, str]], record: dict[str, Any]) -> None:
        """Answer one request by its path."""
        fields = dict(headers)
        url = f"https://{fields[':authority']}{fields[':path']}"
        name, _, rest = fields[":path"][1:].partition("?")[0].partition("/")
        fault = getattr(self, "do_" + name, None)
        if fault is not None:
            how = await fault(stream, url, rest)
        elif name == "echo":
            how = await self.page(stream, json.dumps({"headers": headers}).encode())
        elif name == "gzip":
            content = variant("gzip", rest, body(url, ENCODED_SIZE["gzip"]))
            how = await self.page(stream, content, (("content-encoding", "gzip"),))
        elif name == "status":
            how = await self.page(stream, body(url), status=rest)
        else:
            how = await self.page(stream, body(url, int(rest) if name == "bytes" else None))
        if self.open.pop(stream, None):
            self.log.end(record, how, 0)

    async def page(
        self, stream: int, content: bytes, headers: tuple[tuple[str, str], ...] = (), status: str = "200"
    ) -> str:
        """Send one whole, honest answer."""
        self.head(stream, (*headers, ("content-length", str(len(content)))), status)
        await self.data(stream, content)
        self.wire.end_stream(stream)
        self.flush()
        return "ok"

    def head(self, stream: int, headers: tuple[tuple[str, str], ...] = (), status: str = "200") -> None:
        """Send the header block."""
        self.wire.send_headers(stream, [(":status", status), ("content-type", "text/html"), *headers])
        self.flush()

    async def data(self, stream: int, content: bytes) -> None:
        """Send data as the client's window allows."""
        while content:
            most = min(self.wire.local_flow_control_window(stream), self.wire.max_outbound_frame_size)
            if most == 0:
                self.room.clear()
                await self.room.wait()
                continue
            self.wire.send_data(stream, content[:most])
            self.flush()
            content = content[most:]
            await self.writer.drain()

    async def begin(self, stream: int, url: str, size: str) -> None:
        """Send the beginning of a page that will be cut short."""
        self.head(stream, (("content-length", str(CUT_SIZE)),))
        await self.data(stream, body(url, CUT_SIZE)[: int(size or 0)])
        await asyncio.sleep(0.05)

    async def do_slow(self, stream: int, url: str, rest: str) -> str:
        """Answer after so many seconds."""
        await asyncio.sleep(float(rest))
        return await self.page(stream, body(url))

    async def do_hang(self, stream: int, url: str, rest: str) -> str:
        """Never answer."""
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def do_infinite(self, stream: int, url: str, rest: str) -> str:
        """Send a body without end."""
        self.head(stream)
        while not self.writer.is_closing():
            await self.data(stream, body(url, 16384))
            await asyncio.sleep(0)
        return "gone"

    async def do_partial(self, stream: int, url: str, rest: str) -> str:
        """End the stream before the promised length."""
        await self.begin(stream, url, rest)
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.wire.end_stream(stream)
        self.flush()
        return "cut"

    async def do_rst(self, stream: int, url: str, rest: str) -> str:
        """Reset the stream after N bytes."""
        await self.begin(stream, url, rest)
        self.wire.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        self.flush()
        return "reset"

    async def do_refuse(self, stream: int, url: str, rest: str) -> str:
        """Refuse the stream unprocessed."""
        self.wire.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        self.flush()
        return "reset"

    async def do_goaway(self, stream: int, url: str, rest: str) -> str:
        """Say goodbye after N bytes and close."""
        await self.begin(stream, url, rest)
        self.wire.close_connection(h2.errors.ErrorCodes.INTERNAL_ERROR)
        self.flush()
        self.writer.close()
        return "closed"

    async def do_garbage(self, stream: int, url: str, rest: str) -> str:
        """Send bytes that are no frame of HTTP/2."""
        self.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL" * 100)
        await self.writer.drain()
        self.writer.close()
        return "closed"

    async def do_hpack(self, stream: int, url: str, rest: str) -> str:
        """Send a header block that names an index that does not exist."""
        self.writer.write(frame(0x1, 0x4, stream, b"\xff\xff\xff\x0f"))
        return "ok"

    async def do_continuation(self, stream: int, url: str, rest: str) -> str:
        """Send a header block without end (CVE-2024-28182 and its kin)."""
        self.writer.write(frame(0x1, 0x0, stream, b"\x88"))
        piece = frame(0x9, 0x0, stream, (b"\x00\x05x-aaa" + b"\x7f\x81\x02" + b"v" * 384) * 40)
        while not self.writer.is_closing():
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)  # `drain` alone does not let the reader notice that the client has gone
        return "gone"

    async def do_upper(self, stream: int, url: str, rest: str) -> str:
        """Send an upper-case field name, which RFC 9113 8.2.1 forbids."""
        self.head(stream, (("X-Upper", "yes"),))
        await self.data(stream, body(url))
        self.wire.end_stream(stream)
        self.flush()
        return "ok"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Pack one frame (RFC 9113 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
