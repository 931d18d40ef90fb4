"""A site whose every answer is a function of its path, with a truth log: what was asked, and what was answered.

    python truth_site.py LOG SEED [--linked PAGES --hosts N]      prints its port

Of a hundred pages some are late, missing, empty, moved, out of order or large; which ones hangs on the seed. A line
`NANOSECONDS URL` is logged when a request is there, and `NANOSECONDS URL STATUS SHA256` when the answer has been handed
to the kernel whole. The clock is the machine's monotonic one.

`--linked`: pages link on, over `N` hosts, and from page 0 every page can be reached but for what fails on the way;
some redirect to pages that others link to.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import hashlib
import os
import random
import re
import time
from collections.abc import Iterable

LATE_SECONDS = (0.0, 0.2)
LARGE_BYTES = 200_000
LINK = re.compile(rb'href="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is sent, `late` seconds after it was asked for."""

    status: int
    body: bytes = b""
    location: str = ""
    late: float = 0.0


@dataclasses.dataclass(frozen=True)
class Web:
    """All pages. `linked`: so many of them link on; 0: none does."""

    seed: int
    linked: int = 0
    hosts: int = 20

    def answer(self, host: str, path: str) -> Answer:
        """Return what `http://HOST/PATH` is answered with; `host` is `127.0.0.N:PORT`."""
        if path == "/robots.txt":
            return Answer(404, b"all may be read\n")
        draw = random.Random(f"{self.seed} {host.partition(':')[0]} {path}")  # the same at every port
        chance, late = draw.random(), draw.uniform(*LATE_SECONDS) if draw.random() < 0.1 else 0.0
        body = f"{host}{path} {draw.random()}\n".encode() * draw.randrange(1, 50)
        body += b"".join(b'<a href="%s">on</a>\n' % url.encode() for url in self.links(host, path))
        if path == "/0":  # where a crawl begins
            return Answer(200, body)
        if chance < 0.03:
            return Answer(404, b"not here\n", late=late)
        if chance < 0.06 and not path.endswith("moved"):
            return Answer(301, location=self.moved(host, path), late=late)
        if chance < 0.08:
            return Answer(200, late=late)
        if chance < 0.10:
            return Answer(200, body * (LARGE_BYTES // len(body)), late=late)
        if chance < 0.11:
            return Answer(503, b"not now\n", late=late)
        return Answer(200, body, late=late)

    def moved(self, host: str, path: str) -> str:
        if not self.linked:
            return f"http://{host}{path}moved"
        return self.url(host, (int(path[1:]) * 5 + 3) % self.linked)

    def links(self, host: str, path: str) -> list[str]:
        number = int(path[1:]) if self.linked and path[1:].isdigit() else self.linked
        onward = (2 * number + 1, 2 * number + 2, number // 3, number + 1)
        return [self.url(host, other) for other in onward if number < self.linked and other < self.linked]

    def url(self, host: str, number: int) -> str:
        """Return the URL of a page by its number; `host` is any of the site's."""
        return f"http://127.0.0.{1 + number % self.hosts}:{host.rpartition(':')[2]}/{number}"

    def reachable(self, seeds: Iterable[str]) -> set[str]:
        """Return every URL that a crawl from `seeds` must have asked for."""
        met, todo = set(seeds), list(seeds)
        while todo:
            host, _, rest = todo.pop().removeprefix("http://").partition("/")
            answer = self.answer(host, f"/{rest}")
            onward = [answer.location] if answer.location else []
            if answer.status == 200:
                onward += [link.decode() for link in LINK.findall(answer.body)]
            fresh = set(onward) - met
            met |= fresh
            todo += fresh
        return met


class Site:
    """Serves a web, and logs."""

    def __init__(self, web: Web, log: str) -> None:
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.web = web

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self.respond(head.decode("latin-1"), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def respond(self, head: str, writer: asyncio.StreamWriter) -> None:
        at = time.monotonic_ns()
        path = head.split(" ", 2)[1]
        host = next(line[6:] for line in head.split("\r\n") if line.lower().startswith("host: "))
        os.write(self.log, f"{at} http://{host}{path}\n".encode())
        answer = self.web.answer(host, path)
        await asyncio.sleep(answer.late)
        moved = f"Location: {answer.location}\r\n" if answer.location else ""
        kind = "text/html" if self.web.linked else "text/plain"
        length = len(answer.body)
        writer.write(
            f"HTTP/1.1 {answer.status} X\r\n{moved}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()
            + answer.body
        )
        await writer.drain()
        digest = hashlib.sha256(answer.body).hexdigest()
        os.write(self.log, f"{at} http://{host}{path} {answer.status} {digest}\n".encode())


async def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("log")
    words.add_argument("seed", type=int)
    words.add_argument("--linked", type=int, default=0, metavar="PAGES")
    words.add_argument("--hosts", type=int, default=20)
    asked = words.parse_args()
    site = Site(Web(asked.seed, asked.linked, asked.hosts), asked.log)
    server = await asyncio.start_server(site.serve, "0.0.0.0", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
