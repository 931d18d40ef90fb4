"""The book shop of ../shared/data/pages as static files: crawled completely, each page once by its server's log."""

from __future__ import annotations

import re
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import cormorant

PAGES = Path(__file__).parents[2] / ".." / "shared" / "data" / "pages" / "bookfiles.tar.gz"
BOOK = r"/catalogue/(?!category)[^/]+/index\.html$"

pytestmark = pytest.mark.skipif(not PAGES.exists(), reason="../shared/data/pages is not here")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Counter[str], set[str]]]:
    """Serve the shop; gives its front page, the counts of its log, and the paths of all books."""
    folder = tmp_path_factory.mktemp("shop")
    books = set()
    with tarfile.open(PAGES) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            page = file.read() if file is not None else b""
            slug = re.search(rb'href="/catalogue/([^"/]+)/reviews/"', page)
            assert slug is not None, member.name
            path = folder / "catalogue" / slug[1].decode() / "index.html"
            path.parent.mkdir(parents=True)
            path.write_bytes(page)
            books.add(f"/catalogue/{slug[1].decode()}/index.html")
    links = "".join(f'<a href="{book}">a book</a>' for book in sorted(books))
    (folder / "index.html").write_text(f"<!doctype html><title>Books</title>{links}")
    asked: Counter[str] = Counter()

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            asked[self.path] += 1

        def log_message(self, format: str, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", asked, books
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("engine", ["greenlet", "gevent", "asyncio", "thread", "process"])
def test_every_book_is_fetched_once(shop: tuple[str, Counter[str], set[str]], engine: str) -> None:
    url, asked, books = shop
    asked.clear()
    width = 2 if engine == "process" else 8
    pages = cormorant.crawl([url], engine=engine, concurrency=width, per_host=8, delay=0, include=BOOK)
    good = Counter(page.url for page in pages if page.ok)
    root = url.rstrip("/")
    assert good == Counter({url: 1, **{f"{root}{book}": 1 for book in books}})
    assert max(asked.values()) == 1
    assert asked["/robots.txt"] == 1
