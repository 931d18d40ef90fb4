"""One request at the rude site and the bare wire to answer it on: handlers write exactly the bytes they mean."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import struct
from collections.abc import Iterable
from urllib.parse import parse_qsl

from rude.bodies import body

Fields = Iterable[tuple[str, str]]


class Gone(Exception):
    """The client left before the answer was whole."""


class Closing(Exception):
    """The handler wants the connection closed; `how` goes to the truth log."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


@dataclasses.dataclass(kw_only=True)
class Exchange:
    """A request, and `send` to answer it. `close_next` makes the connection die at the next request."""

    scheme: str
    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    content: bytes
    counters: dict[str, int]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: int = 0
    close_next: bool = False

    def header(self, name: str, default: str = "") -> str:
        """Return the first value of request header `name`."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), default)

    @property
    def host(self) -> str:
        """Name the host as the client did, with its port."""
        if self.target.startswith("http://"):  # asked as a proxy
            return self.target.split("/")[2]
        return self.header("host")

    @property
    def url(self) -> str:
        """Say the URL that was asked for."""
        if self.target.startswith("http://"):
            return self.target
        return f"{self.scheme}://{self.host}{self.target}"

    @property
    def path(self) -> str:
        """Return the path without host and query."""
        return "/" + self.url.split("/", 3)[3].partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """Return the query's pairs."""
        return dict(parse_qsl(self.target.partition("?")[2]))

    def body(self, size: int | None = None) -> bytes:
        """Return the right body of this URL."""
        return body(self.url, size)

    async def send(self, data: bytes) -> None:
        """Put `data` on the wire as it is."""
        if self.writer.transport.is_closing():
            raise Gone
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)

    async def head(self, status: int = 200, headers: Fields = (), *, length: int | None = None) -> None:
        """Send a status line and header fields; `length` adds Content-Length."""
        lines = [f"HTTP/1.1 {status} Rude"]
        if not any(name.lower() == "content-type" for name, _ in headers):
            lines.append("Content-Type: text/html; charset=utf-8")
        lines += [f"{name}: {value}" for name, value in headers]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def page(self, content: bytes | None = None, status: int = 200, headers: Fields = ()) -> None:
        """Send one whole, honest answer in one write, so that good pages are cheap."""
        content = self.body() if content is None else content
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
        kind = "" if "content-type:" in fields.lower() else "Content-Type: text/html; charset=utf-8\r\n"
        start = f"HTTP/1.1 {status} Rude\r\n{kind}{fields}Content-Length: {len(content)}\r\n\r\n"
        await self.send(start.encode("latin-1") + (b"" if self.method == "HEAD" else content))

    async def hold(self) -> None:
        """Keep still until the client goes."""
        while await self.reader.read(65536):
            pass
        raise Gone

    async def pause(self, seconds: float) -> None:
        """Wait, but notice a client that leaves meanwhile."""
        try:
            early = await asyncio.wait_for(self.reader.read(1), seconds)
        except TimeoutError:
            return
        raise Closing("pipelined") if early else Gone

    async def reset(self) -> None:
        """Send a TCP RST, once what was sent before has had time to be read."""
        await self.pause(0.05)
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Closing("reset")
