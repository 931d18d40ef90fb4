"""The table of the rude site: first segment of the path -> the handler that commits it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from rude.exchange import Exchange

Handler = Callable[[Exchange, str], Awaitable[None]]
ROUTES: dict[str, Handler] = {}


def route(*names: str) -> Callable[[Handler], Handler]:
    """Serve `/name` and `/name/rest` by the decorated handler."""

    def enter(handler: Handler) -> Handler:
        for name in names:
            assert name not in ROUTES, f"two handlers for /{name}"
            ROUTES[name] = handler
        return handler

    return enter


async def answer(x: Exchange) -> None:
    """Answer one request by its path; a path nobody knows is an honest 404."""
    name, _, rest = x.path[1:].partition("/")
    handler = ROUTES.get(name)
    if handler is None:
        await x.page(status=404)
    else:
        await handler(x, rest)
