"""Encoded bodies of the rude site: right, cut short, lying, exploding."""

from __future__ import annotations

import zlib

from rude.bodies import SQUEEZE, bomb, gzipped, raw_deflated
from rude.exchange import Exchange
from rude.routes import route

# Decoded bytes of an encoded page. A zstd block holds up to 128 KiB, so half of a small page would give nothing.
ENCODED_SIZE = {"gzip": 20_000, "deflate": 20_000, "br": 20_000, "zstd": 300_000}


@route("gzip", "deflate", "br", "zstd")
async def encoded(x: Exchange, rest: str) -> None:
    """Answer in the coding the path names; see `variant` for what can be wrong with it."""
    coding = x.path.split("/")[1]
    name = "x-gzip" if rest == "x" else coding
    if rest == "until-close":
        await x.head(headers=[("Content-Encoding", name), ("Connection", "close")])
        await x.send(variant(coding, "cut", x.body(ENCODED_SIZE[coding])))
        x.writer.close()
    else:
        await x.page(variant(coding, rest, x.body(ENCODED_SIZE[coding])), headers=[("Content-Encoding", name)])


def variant(coding: str, how: str, plain: bytes) -> bytes:
    """Encode `plain`: ok, cut, notrailer, badcrc, members, garbage, lie, bomb, empty; deflate: zlib, raw."""
    whole = raw_deflated(plain) if how == "raw" else SQUEEZE[coding](plain)
    if how == "bomb":
        return bomb(coding)
    if how == "members":
        return SQUEEZE[coding](plain[:9000]) + SQUEEZE[coding](plain[9000:])
    return {
        "cut": whole[: len(whole) // 2],
        "notrailer": whole[:-8],
        "badcrc": whole[:-8] + bytes([whole[-8] ^ 0xFF]) + whole[-7:],
        "garbage": whole + b"\0\0trailing garbage\n",
        "corrupt": whole[:2000] + bytes(byte ^ 0xFF for byte in whole[2000:2100]) + whole[2100:],
        "lie": plain,
        "empty": b"",
    }.get(how, whole)


@route("chain")
async def chain(x: Exchange, rest: str) -> None:
    """Encode N times, gzip and deflate in turn."""
    content, names = x.body(), []
    for number in range(int(rest)):
        names.append("deflate" if number % 2 else "gzip")
        content = zlib.compress(content) if number % 2 else gzipped(content)
    await x.page(content, headers=[("Content-Encoding", ", ".join(names))])


@route("enc-x")
async def unknown_coding(x: Exchange, rest: str) -> None:
    """Name a coding nobody knows."""
    await x.page(headers=[("Content-Encoding", "x-rude")])
