"""The orderly pages of the rude site: answers that are right, whatever else they are."""

from __future__ import annotations

import base64
import json

from rude.exchange import Exchange
from rude.routes import route

REDIRECT = 302


@route("ok")
async def ok(x: Exchange, rest: str) -> None:
    """Answer with a page; `/ok/anything` too."""
    await x.page()


@route("bytes")
async def size(x: Exchange, rest: str) -> None:
    """Answer with N bytes."""
    await x.page(x.body(int(rest)))


@route("same")
async def same(x: Exchange, rest: str) -> None:
    """Answer with the same bytes under every URL."""
    await x.page(b"the same page everywhere\n")


@route("slow")
async def slow(x: Exchange, rest: str) -> None:
    """Answer after so many seconds."""
    await x.pause(float(rest))
    await x.page()


@route("status")
async def status(x: Exchange, rest: str) -> None:
    """Answer with status N, without a body where the status allows none."""
    code = int(rest)
    if code in (204, 304):
        await x.head(code)
    else:
        await x.page(status=code)


@route("no-reason")
async def no_reason(x: Exchange, rest: str) -> None:
    """Leave the reason phrase out."""
    content = x.body()
    await x.send(b"HTTP/1.1 200\r\nContent-Length: %d\r\n\r\n" % len(content) + content)


@route("http10")
async def http10(x: Exchange, rest: str) -> None:
    """Answer in HTTP/1.0: the body ends with the connection."""
    await x.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + x.body())
    x.writer.close()


@route("until-close")
async def until_close(x: Exchange, rest: str) -> None:
    """Give no length: the body ends with the connection."""
    await x.head(headers=[("Connection", "close")])
    await x.send(x.body())
    x.writer.close()


@route("redir")
async def redir(x: Exchange, rest: str) -> None:
    """Redirect N times, for ever, in a loop, or `?to=` anywhere (with `&status=`)."""
    if rest == "0":
        return await x.page()
    if rest == "loop":
        place = x.target
    elif rest == "ever":
        place = f"/redir/ever?n={int(x.query.get('n', 0)) + 1}"
    elif rest == "":
        place = x.query["to"]
    else:
        place = f"/redir/{int(rest) - 1}"
    await x.page(status=int(x.query.get("status", REDIRECT)), headers=[("Location", place)])


@route("echo")
async def echo(x: Exchange, rest: str) -> None:
    """Answer with what was asked, as JSON."""
    said = {
        "url": x.url,
        "method": x.method,
        "target": x.target,
        "version": x.version,
        "headers": x.headers,
        "body": x.content.decode("latin-1"),
    }
    await x.page(json.dumps(said).encode(), headers=[("Content-Type", "application/json")])


@route("charset")
async def charset(x: Exchange, rest: str) -> None:
    """Write non-ASCII text in a character set: `/charset/NAME`, `/charset/{meta,bom,wrong}/NAME`, `/charset/none`."""
    how, _, name = rest.rpartition("/")
    text = f"<!doctype html><meta charset={name}><p>naïve café, тест: {x.url}"
    content = text.encode("utf-8" if name == "none" else name, "xmlcharrefreplace")
    kind = "text/html" if how in ("meta", "bom") or name == "none" else f"text/html; charset={name}"
    if how == "bom":
        content = text.encode("utf-8-sig" if name == "utf-8" else name)
    if how == "wrong":
        kind = "text/html; charset=no-such-charset"
    await x.page(content, headers=[("Content-Type", kind)])


@route("flaky")
async def flaky(x: Exchange, rest: str) -> None:
    """Fail K times with 503, then answer: `/flaky/KEY/K`, counted per host and KEY."""
    key, _, failures = rest.partition("/")
    name = f"{x.host} {key}"
    x.counters[name] = x.counters.get(name, 0) + 1
    await x.page(status=503 if x.counters[name] <= int(failures) else 200)


@route("retry-after")
async def retry_after(x: Exchange, rest: str) -> None:
    """Answer 503 with the given Retry-After."""
    await x.page(status=503, headers=[("Retry-After", rest)])


@route("set-cookie")
async def set_cookie(x: Exchange, rest: str) -> None:
    """Hand out a cookie."""
    await x.page(headers=[("Set-Cookie", "taste=dough; Path=/"), ("Set-Cookie", "size=big; Path=/")])


@route("auth")
async def auth(x: Exchange, rest: str) -> None:
    """Ask for user:password."""
    right = "Basic " + base64.b64encode(b"user:password").decode()
    if x.header("authorization") == right:
        await x.page()
    else:
        await x.page(status=401, headers=[("WWW-Authenticate", 'Basic realm="rude"')])


@route("links")
async def links(x: Exchange, rest: str) -> None:
    """Link to N pages that exist."""
    anchors = "".join(f'<a href="/ok/{n}">{n}</a>\n' for n in range(int(rest)))
    await x.page(x.body() + anchors.encode())
