"""What a crawler meets: robots.txt by host, graphs of links, traps, sitemaps, pages that say how they want to be taken.

Which robots.txt a host has hangs on its address alone (`ROBOTS`); all others have none (404). Everything else is
served by every host.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable

from rude.exchange import Exchange
from rude.routes import route

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
MOST_READ = 500 * 1024  # RFC 9309 2.5
PLAIN = b"User-agent: *\nDisallow: /private\nAllow: /private/open\n"
OURS = PLAIN.replace(b"*", b"cormorant")

# A small site with all that an orderly one has: ways back, spellings, dead ends, and three pages out of reach.
WEB = {
    "home": (
        "a",
        "b",
        "b#part",
        "/web/home",
        "c?x=1",
        "missing",
        "mailto:a@b.example",
        "javascript:void(0)",
        "data:,x",
    ),
    "a": ("home", "aa", "ab", "/private/a", "/private/open", "/status/404", "/redir?to=/web/b"),
    "b": ("home", "./a", "%61", "/redir?to=/web/moved", "/redir?to=/private/moved", "/partial/100"),
    "c": ("c?x=1", "c?x=2", "//127.0.0.2:1/elsewhere"),
    "aa": ("../web/home",),
    "ab": ("/bytes/1000", "/gzip/ok"),
    "moved": ("ab",),
}


def address(number: int) -> str:
    """Return the host with robots.txt number so many."""
    return f"127.0.40.{number}"


ROBOTS = {
    name: address(number)
    for number, name in enumerate(
        (
            "plain",  # /private is refused, but for /private/open
            "delay",  # Crawl-delay: 0.2
            "missing",  # 404
            "unauthorised",  # 401
            "down",  # 503
            "down-once",  # 503, then as plain
            "hung",  # never answered
            "hops-5",  # five redirects, then as plain
            "hops-6",
            "big",  # 600 KB: a rule before 500 KiB and one after
            "bom",
            "utf-16",
            "html",  # an HTML page that looks as if it held rules
            "nul",  # NUL bytes between the rules
            "all",  # all is refused
            "elsewhere",  # a redirect to the robots.txt of "all"
            "maps",  # three sitemaps
            "cr",  # lines that end in CR alone
            "named",  # the plain rules, for cormorant alone
        ),
        1,
    )
}
_NAMES = {host: name for name, host in ROBOTS.items()}


@route("robots.txt", "robots")
async def robots(x: Exchange, rest: str) -> None:
    """Answer for the host's robots.txt as `ROBOTS` says; `/robots/N` is N redirects away from it."""
    name = _NAMES.get(x.host.partition(":")[0], "missing")
    bodies = {
        "plain": PLAIN,
        "delay": b"User-agent: *\nCrawl-delay: 0.2\n",
        "big": _padded(PLAIN, b"User-agent: *\nDisallow: /web\n"),
        "bom": b"\xef\xbb\xbf" + PLAIN,
        "utf-16": PLAIN.decode().encode("utf-16"),
        "html": b"<!doctype html><title>Not here</title><pre>\n" + PLAIN + b"</pre>",
        "nul": PLAIN.replace(b"\n", b"\0\n\0"),
        "all": b"User-agent: *\nDisallow: /\n",
        "maps": _maps(x),
        "named": OURS,
        "cr": PLAIN.replace(b"\n", b"\r"),
    }
    match name:
        case "missing":
            await x.page(status=404)
        case "unauthorised":
            await x.page(status=401)
        case "down":
            await x.page(status=503)
        case "down-once":
            x.counters[x.host] = x.counters.get(x.host, 0) + 1
            await x.page(PLAIN, status=503 if x.counters[x.host] == 1 else 200)
        case "hung":
            await x.hold()
        case "hops-5" | "hops-6":
            left = int(rest or name[-1])
            await (x.page(PLAIN) if not left or rest == "0" else _to(x, f"/robots/{left - 1}"))
        case "elsewhere":
            await _to(x, f"http://{_beside(x, ROBOTS['all'])}/robots.txt")
        case _:
            await x.page(bodies[name], headers=[("Content-Type", "text/plain")])


def _padded(before: bytes, after: bytes) -> bytes:
    """Return 600 KB: one text, comments until more than is to be read has gone by, and another text."""
    comment = b"# nothing to see here\n"
    return before + comment * (600_000 // len(comment)) + after


def _maps(x: Exchange) -> bytes:
    names = ("urlset", "index", "gz")
    return PLAIN + b"".join(f"Sitemap: http://{x.host}/sitemap/{name}\n".encode() for name in names)


async def _to(x: Exchange, place: str) -> None:
    await x.page(status=301, headers=[("Location", place)])


def _beside(x: Exchange, host: str) -> str:
    """Return another address with our port: the site has them all open at the same one."""
    return f"{host}:{x.host.partition(':')[2]}"


async def _linking(x: Exchange, places: Iterable[str], headers: Iterable[tuple[str, str]] = (), head: str = "") -> None:
    anchors = "".join(f'<a href="{place}">to {place}</a>\n' for place in places)
    await x.page(x.body() + f"{head}\n{anchors}".encode(), headers=list(headers))


@route("web")
async def web(x: Exchange, rest: str) -> None:
    """Answer with a page of `WEB`."""
    if rest in WEB:
        await _linking(x, WEB[rest])
    else:
        await x.page(status=404)


@route("private")
async def private(x: Exchange, rest: str) -> None:
    """Answer with what robots.txt asks to leave alone."""
    await x.page()


@route("out")
async def out(x: Exchange, rest: str) -> None:
    """Link to pages of other hosts: `/out/HOST/HOST`, to /web/home of each."""
    await _linking(x, [f"http://{_beside(x, host)}/web/home" for host in rest.split("/")])


@route("away")
async def away(x: Exchange, rest: str) -> None:
    """Redirect to another host: `/away/HOST/PATH`."""
    host, _, path = rest.partition("/")
    await _to(x, f"http://{_beside(x, host)}/{path}")


# --- traps ---


@route("calendar")
async def calendar(x: Exchange, rest: str) -> None:
    """Link to the month before and the month after, for ever: `/calendar/YYYY/MM`."""
    year, month = map(int, rest.split("/"))
    number = 12 * year + month - 1
    months = (f"/calendar/{other // 12:04}/{other % 12 + 1:02}" for other in (number - 1, number + 1))
    await _linking(x, months)


@route("grow")
async def grow(x: Exchange, rest: str) -> None:
    """Link to `more/`, relative to a page that answers at every depth."""
    await _linking(x, ["more/"])


@route("maze")
async def maze(x: Exchange, rest: str) -> None:
    """Link to three pages that nobody has seen: `/maze/0` leads to 1, 2, 3, and these to nine more."""
    number = 3 * int(rest)
    await _linking(x, [f"/maze/{number + way}" for way in (1, 2, 3)])


@route("ladder")
async def ladder(x: Exchange, rest: str) -> None:
    """Link to the next rung, and over to the other host (of 127.0.0.1 and .2) three rungs up: the shorter way."""
    other = "127.0.0.2" if x.host.startswith("127.0.0.1:") else "127.0.0.1"
    await _linking(x, [f"/ladder/{int(rest) + 1}", f"http://{_beside(x, other)}/ladder/{int(rest) + 3}"])


@route("sid")
async def sid(x: Exchange, rest: str) -> None:
    """Link to itself under a new session each time."""
    x.counters["sid"] = x.counters.get("sid", 0) + 1
    number = 2 * x.counters["sid"]
    await _linking(x, [f"/sid?sid={number}", f"/sid?sid={number + 1}"])


# --- sitemaps ---


@route("sitemap", "sitemap.xml")
async def sitemap(x: Exchange, rest: str) -> None:
    """Answer with a sitemap: urlset, index, gz, cut, txt, entity, endless; `/sitemap.xml` is the urlset."""
    base = f"http://{x.host}"
    found = {
        "urlset": _urlset(f"{base}/ok/listed", f"{base}/private/listed", f"{base}/ok/listed?b=1&amp;c=2"),
        "index": _index(f"{base}/sitemap/txt", f"{base}/sitemap/cut"),
        "gz": gzip.compress(_urlset(f"{base}/ok/packed"), mtime=0),
        "cut": _urlset(f"{base}/ok/before", f"{base}/ok/after")[:-90],
        "txt": f"{base}/ok/line\n{base}/ok/other-line\n".encode(),
        "entity": b'<!DOCTYPE urlset [<!ENTITY a "/etc/passwd">]>' + _urlset(f"{base}/ok/&a;"),
        "endless": _index(f"{base}/sitemap/endless?{int(x.target.partition('?')[2] or 0) + 1}"),
    }
    await x.page(found[rest or "urlset"], headers=[("Content-Type", "application/xml")])


def _urlset(*urls: str) -> bytes:
    listed = "".join(f"<url><loc>{url}</loc><lastmod>2026-01-02</lastmod></url>\n" for url in urls)
    return f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{listed}</urlset>'.encode()


def _index(*urls: str) -> bytes:
    listed = "".join(f"<sitemap><loc>{url}</loc></sitemap>\n" for url in urls)
    return f'<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{listed}</sitemapindex>'.encode()


# --- how a page wants to be taken ---


@route("meta-robots")
async def meta_robots(x: Exchange, rest: str) -> None:
    """Ask for `/meta-robots/noindex,nofollow` in the page, which links to two pages of its own."""
    await _linking(x, _own(x), head=f'<meta name="robots" content="{rest}">')


@route("robots-tag")
async def robots_tag(x: Exchange, rest: str) -> None:
    """Ask for `/robots-tag/noindex,nofollow` in the header."""
    await _linking(x, _own(x), headers=[("X-Robots-Tag", rest)])


@route("rel")
async def rel(x: Exchange, rest: str) -> None:
    """Link to one page with rel=nofollow, and to one without."""
    followed, other = _own(x)
    await x.page(f'<a href="{followed}">go</a> <a rel="nofollow" href="{other}">no</a>'.encode())


def _own(x: Exchange) -> tuple[str, str]:
    name = x.path.strip("/").replace("/", "-").replace(",", "-")
    return f"/ok/{name}/1", f"/ok/{name}/2"


@route("validated")
async def validated(x: Exchange, rest: str) -> None:
    """Answer 304 to who knows the page: `/validated/{etag,date,both,changing}`."""
    if rest == "changing":
        x.counters[x.url] = x.counters.get(x.url, 0) + 1
    etag = f'"{x.counters.get(x.url, 0)}"'
    fields = {"date": [("Last-Modified", DATE)], "both": [("ETag", etag), ("Last-Modified", DATE)]}
    headers = fields.get(rest, [("ETag", etag)])
    asked, since = x.header("if-none-match"), x.header("if-modified-since")
    known = asked == etag if asked else rest != "etag" and since == DATE
    await (x.head(304, headers) if known else x.page(headers=headers))


@route("busy-once")
async def busy_once(x: Exchange, rest: str) -> None:
    """Answer 429 with the given Retry-After the first time, and then with a page: `/busy-once/KEY/V`."""
    key, _, value = rest.partition("/")
    name = f"{x.host} busy {key}"
    x.counters[name] = x.counters.get(name, 0) + 1
    if x.counters[name] == 1:
        await x.page(status=429, headers=[("Retry-After", value)])
    else:
        await x.page()


@route("json")
async def json_page(x: Exchange, rest: str) -> None:
    """Answer with JSON, behind a byte order mark."""
    await x.page(b'\xef\xbb\xbf{"url": "%s"}' % x.url.encode(), headers=[("Content-Type", "application/json")])


@route("bare")
async def bare(x: Exchange, rest: str) -> None:
    """Redirect to the same page without its query."""
    await (x.page(status=301, headers=[("Location", x.path)]) if x.query else x.page())
