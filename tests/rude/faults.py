"""The faults of the rude site, one handler each: slowness, size, broken HTTP, broken connections."""

from __future__ import annotations

import asyncio
import base64

from rude.exchange import Closing, Exchange
from rude.routes import route

CUT_SIZE = 10_000  # what a page that will be cut short promises
EVIL = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nEVIL"


@route("hang")
async def hang(x: Exchange, rest: str) -> None:
    """Accept and never answer."""
    await x.hold()


@route("hang-after-headers")
async def hang_after_headers(x: Exchange, rest: str) -> None:
    """Promise a body that never comes."""
    await x.head(length=CUT_SIZE)
    await x.hold()


@route("drip")
async def drip(x: Exchange, rest: str) -> None:
    """Send a byte of the body at a time, for ever; `?every=` seconds."""
    await x.head(length=1_000_000)
    for byte in x.body(1_000_000):
        await x.send(bytes([byte]))
        await x.pause(float(x.query.get("every", 0.02)))


@route("drip-headers")
async def drip_headers(x: Exchange, rest: str) -> None:
    """Send a byte of the header at a time, for ever."""
    await x.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        await x.send(b"a")
        await x.pause(float(x.query.get("every", 0.02)))


@route("stall-at")
async def stall_at(x: Exchange, rest: str) -> None:
    """Send N bytes of the promised body, then nothing."""
    await x.head(length=CUT_SIZE)
    await x.send(x.body(CUT_SIZE)[: int(rest)])
    await x.hold()


@route("infinite")
async def infinite(x: Exchange, rest: str) -> None:
    """Send a body without end; `/infinite/chunked` in chunks."""
    chunk = x.body(65536)
    if rest == "chunked":
        await x.head(headers=[("Transfer-Encoding", "chunked")])
        chunk = b"10000\r\n" + chunk + b"\r\n"
    else:
        await x.head(headers=[("Connection", "close")])
    while True:
        await x.send(chunk)


@route("cl")
async def content_length(x: Exchange, rest: str) -> None:
    """Promise N bytes, send 1,000 and wait."""
    await x.head(headers=[("Content-Length", rest)])
    await x.send(x.body(1000))
    await x.hold()


@route("partial")
async def partial(x: Exchange, rest: str) -> None:
    """Send N bytes of the promised body and close."""
    await x.head(length=CUT_SIZE)
    await x.send(x.body(CUT_SIZE)[: int(rest)])
    raise Closing("cut")


@route("rst")
async def rst(x: Exchange, rest: str) -> None:
    """Send N bytes of the promised body and reset the connection (nothing at all for `/rst`)."""
    if rest:
        await x.head(length=CUT_SIZE)
        await x.send(x.body(CUT_SIZE)[: int(rest)])
    await x.reset()


@route("drop")
async def drop(x: Exchange, rest: str) -> None:
    """Close without an answer; `/drop/body` in a body without length (and, over TLS, without close_notify)."""
    if rest == "body":
        await x.head(headers=[("Connection", "close")])
        await x.send(x.body())
        await x.pause(0.05)
    raise Closing("dropped")


@route("chunk")
async def chunk(x: Exchange, rest: str) -> None:
    """Send chunks: ok, ext (with extensions), noend, badsize, huge, neg, cut."""
    content = x.body(CUT_SIZE)
    first, second = content[:4000], content[4000:]
    sizes = {"badsize": b"xyz", "huge": b"f" * 40, "neg": b"-5", "ext": b'1770;name="a;b"'}
    await x.head(headers=[("Transfer-Encoding", "chunked")])
    await x.send(b"fa0\r\n" + first + b"\r\n")
    if rest == "noend":
        raise Closing("cut")
    await x.send(sizes.get(rest, b"1770") + b"\r\n")
    if rest == "cut":
        await x.send(second[:100])
        raise Closing("cut")
    await x.send(second + b"\r\n0\r\n\r\n")
    if rest in ("badsize", "huge", "neg"):
        raise Closing("closed")


@route("two-cl")
async def two_lengths(x: Exchange, rest: str) -> None:
    """Name two different lengths."""
    content = x.body()
    await x.head(headers=[("Content-Length", str(len(content))), ("Content-Length", "5")])
    await x.send(content)


@route("cl-letters")
async def length_with_letters(x: Exchange, rest: str) -> None:
    """Write letters after the length."""
    content = x.body()
    await x.head(headers=[("Content-Length", f"{len(content)}abc")])
    await x.send(content)


@route("cl-te")
async def length_and_chunks(x: Exchange, rest: str) -> None:
    """Give a length and chunks at once, as in request smuggling."""
    content = x.body()
    await x.head(headers=[("Content-Length", "5"), ("Transfer-Encoding", "chunked")])
    await x.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))


@route("two-location")
async def two_locations(x: Exchange, rest: str) -> None:
    """Redirect to two places."""
    await x.page(status=302, headers=[("Location", "/ok/1"), ("Location", "/ok/2")])


@route("headers")
async def many_headers(x: Exchange, rest: str) -> None:
    """Send N header fields, or an endless list (`endless`), or one endless line (`long`)."""
    if rest.isdigit():
        return await x.page(headers=[(f"X-{n}", "v") for n in range(int(rest))])
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Long: ")
    await x.send(b"" if rest == "long" else b"a\r\n")
    while True:
        await x.send(b"a" * 4096 if rest == "long" else b"X-More: b\r\n" * 256)


@route("continue")
async def informational(x: Exchange, rest: str) -> None:
    """Send N interim answers before the page, or interim answers for ever."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    if rest:
        await x.send(interim * int(rest))
        return await x.page()
    while True:
        await x.send(interim * 100)


@route("101")
async def switching(x: Exchange, rest: str) -> None:
    """Switch to a protocol nobody asked for, and close."""
    await x.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: rudeness\r\nConnection: Upgrade\r\n\r\n")
    raise Closing("closed")


@route("trailers")
async def trailers(x: Exchange, rest: str) -> None:
    """Send fields after the body: two, or (`endless`) without end."""
    content = x.body()
    await x.head(headers=[("Transfer-Encoding", "chunked")])
    await x.send(b"%x\r\n%s\r\n0\r\n" % (len(content), content))
    while rest == "endless":
        await x.send(b"X-Trailer: more\r\n" * 256)
    await x.send(b"X-Trailer: one\r\nX-Other: two\r\n\r\n")


@route("garbage")
async def garbage(x: Exchange, rest: str) -> None:
    """Speak something that is not HTTP."""
    await x.send(b"SSH-2.0-OpenSSH_9.2\r\n\x00\x01\x02\xff\xfe garbage\r\n\r\n")
    raise Closing("closed")


@route("http09")
async def http09(x: Exchange, rest: str) -> None:
    """Answer in HTTP/0.9: a body and nothing else."""
    await x.send(x.body())
    raise Closing("closed")


@route("nul-header")
async def nul_header(x: Exchange, rest: str) -> None:
    """Put a NUL into a header."""
    await x.page(headers=[("X-Nul", "a\0b")])


@route("bare-lf")
async def bare_lf(x: Exchange, rest: str) -> None:
    """End header lines with LF alone."""
    content = x.body()
    await x.send(b"HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Length: %d\n\n" % len(content) + content)


@route("folded")
async def folded(x: Exchange, rest: str) -> None:
    """Fold a header over two lines."""
    content = x.body()
    await x.send(b"HTTP/1.1 200 OK\r\nX-Fold: one\r\n two\r\nContent-Length: %d\r\n\r\n" % len(content) + content)


@route("no-colon")
async def no_colon(x: Exchange, rest: str) -> None:
    """Send a header line without a colon."""
    content = x.body()
    await x.send(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: %d\r\n\r\n" % len(content) + content)


@route("surplus")
async def surplus(x: Exchange, rest: str) -> None:
    """Send a second answer nobody asked for; `/surplus/SECONDS` that much later."""
    content = x.body()
    start = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(content)
    if not rest:
        return await x.send(start + content + EVIL)
    await x.send(start + content)
    asyncio.get_running_loop().call_later(float(rest), x.writer.write, EVIL)


@route("204-with-body")
async def no_content(x: Exchange, rest: str) -> None:
    """Say there is no content, and send some."""
    await x.send(b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL)


@route("304-with-body")
async def not_modified(x: Exchange, rest: str) -> None:
    """Say nothing changed, and send a body."""
    await x.send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(EVIL) + EVIL)


@route("close-idle")
async def close_idle(x: Exchange, rest: str) -> None:
    """Answer as if the connection stayed open, then close it."""
    await x.page()
    raise Closing("closed")


@route("close-next")
async def close_next(x: Exchange, rest: str) -> None:
    """Answer, keep the connection, and close it when the next request comes."""
    x.close_next = True
    await x.page()


@route("lie-close")
async def lie_close(x: Exchange, rest: str) -> None:
    """Say the connection closes, and keep it open."""
    await x.page(headers=[("Connection", "close")])


@route("raw")
async def raw(x: Exchange, rest: str) -> None:
    """Answer with the very bytes in the path (base64url), then close."""
    await x.send(base64.urlsafe_b64decode(rest))
    raise Closing("closed")
