"""Parse functions for crawls; in a module of their own so that worker processes can import them."""

from __future__ import annotations

from typing import Any

import cormorant


def said(page: cormorant.Page) -> list[Any]:
    """Return what the page's helpers make of it."""
    return [len(page.links()), [node.text() for node in page.select("a")][:1], list(page.robots)]


async def said_later(page: cormorant.Page) -> list[Any]:
    return said(page)


def asks_more(page: cormorant.Page) -> int:
    """Fetch another page from inside the job."""
    return cormorant.get(page.final_url).status


def refuses_a(page: cormorant.Page) -> str:
    if page.url.endswith("/web/a"):
        raise ValueError("no a please")
    return page.url


def value_of(page: cormorant.Page) -> Any:
    return page.json()["url"]
