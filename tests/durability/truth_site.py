"""A site whose every answer is a function of its path, with a truth log: `NANOSECONDS URL STATUS SHA256` a line.

    python truth_site.py LOG SEED      prints its port

Of a hundred pages some are late, missing, empty, moved or large; which ones hangs on the seed. A line is logged when
the answer has been handed to the kernel whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
import time

LATE_SECONDS = (0.0, 0.2)
LARGE_BYTES = 200_000


def answer(seed: int, host: str, path: str) -> tuple[int, str, bytes, float]:
    """Return status, Location, body and how late it comes."""
    draw = random.Random(f"{seed} {host} {path}")
    chance, late = draw.random(), draw.uniform(*LATE_SECONDS) if draw.random() < 0.1 else 0.0
    body = f"{host}{path} {draw.random()}\n".encode() * draw.randrange(1, 50)
    if chance < 0.03:
        return 404, "", b"not here\n", late
    if chance < 0.06 and not path.endswith("moved"):
        return 301, f"http://{host}{path}moved", b"", late
    if chance < 0.08:
        return 200, "", b"", late
    if chance < 0.10:
        return 200, "", body * (LARGE_BYTES // len(body)), late
    return 200, "", body, late


class Site:
    def __init__(self, log: str, seed: int) -> None:
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.seed = seed

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
        status, location, body, late = answer(self.seed, host, path)
        await asyncio.sleep(late)
        moved = f"Location: {location}\r\n" if location else ""
        writer.write(
            f"HTTP/1.1 {status} X\r\n{moved}Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        digest = hashlib.sha256(body).hexdigest()
        os.write(self.log, f"{at} http://{host}{path} {status} {digest}\n".encode())


async def main() -> None:
    site = Site(sys.argv[1], int(sys.argv[2]))
    server = await asyncio.start_server(site.serve, "0.0.0.0", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
