"""The book shop of ../shared/data/pages as a static site: its 200 pages at their own addresses, several times over.

`write(folder, copies)` lays the files out; every copy is a shop of its own under `/N/`, the front page links to all
books of all copies. Pages link among each other by relative links, and to much that is not there (categories, reviews).
"""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

PAGES = Path(__file__).parent / ".." / ".." / "shared" / "data" / "pages" / "bookfiles.tar.gz"
SLUG = re.compile(rb'href="/catalogue/([^"/]+)/reviews/"')
BOOKS = r"/catalogue/(?!category)[^/]+/index\.html$"  # the pages that are there


def books() -> dict[str, bytes]:
    """Return each book's page by its name in the shop's addresses."""
    found = {}
    with tarfile.open(PAGES) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            page = file.read() if file is not None else b""
            named = SLUG.search(page)
            if named is not None:
                found[named[1].decode()] = page
    return found


def write(folder: Path, copies: int) -> list[str]:
    """Write the site; returns the paths of all pages, the front page first."""
    paths = []
    for copy in range(copies):
        for slug, page in books().items():
            path = folder / str(copy) / "catalogue" / slug / "index.html"
            path.parent.mkdir(parents=True)
            path.write_bytes(page)
            paths.append(f"/{copy}/catalogue/{slug}/index.html")
    links = "".join(f'<li><a href="{path}">{path}</a></li>' for path in paths)
    (folder / "index.html").write_text(f"<!doctype html><title>Books</title><ul>{links}</ul>")
    return ["/", *paths]
