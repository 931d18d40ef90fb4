"""The embedded site's server: granian's embedded server around one small application, on loopback only.

One listening socket serves every host. It is bound to 0.0.0.0 but to the device `lo`, so the kernel gives
it nothing that came over a network (SO_BINDTODEVICE, socket(7); unprivileged since Linux 5.7). Where that is
not to be had, there is one server per 127.x address instead. An answer is computed once and kept while it
fits; an answer without latency meets no timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from cormorant.lab.site.pages import Answer, Manner, answer, sent
from cormorant.lab.site.workload import Workload

_CACHE_BYTES = 64 * 1024 * 1024
_BACKLOG = 4096
_AT_ONCE = 65536  # requests under way; hung ones count, so this must not be granian's small default
_DRIPS = 10
_WRITTEN_SECONDS = 0.01  # after which the half of a page that is cut has left us
_PARENT_SECONDS = 0.2


class Application:
    """The site as an RSGI application (granian's own interface); one per server process."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._answers: dict[str, Answer] = {}
        self._held = 0

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        if scope.proto != "http":
            protocol.close(403)
            return
        url = f"http://{scope.headers.get('host')}{scope.path}"
        if scope.query_string:
            url += f"?{scope.query_string}"
        reply = self._answers.get(url) or self._compute(url)
        if reply.seconds:
            await asyncio.sleep(reply.seconds)
        if reply.manner is Manner.WHOLE:
            protocol.response_bytes(reply.status, reply.headers, reply.body)
        else:
            await self._misbehave(reply, protocol)

    def _compute(self, url: str) -> Answer:
        reply = answer(self._workload, url)
        self._held += len(reply.body) + 1000
        if self._held > _CACHE_BYTES:
            self._answers.clear()
            self._held = len(reply.body) + 1000
        self._answers[url] = reply
        return reply

    async def _misbehave(self, reply: Answer, protocol: Any) -> None:
        if reply.manner is Manner.HANG:
            await protocol.client_disconnect()
            return
        from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # public, but not in its stub's exports

        stream = protocol.response_stream(reply.status, reply.headers)
        with contextlib.suppress(ProtocolClosed):  # the client had enough
            if reply.manner is Manner.CUT:
                # A stream that ends before its Content-Length: the library can only close the connection. When that
                # is told before it has written, it writes nothing at all.
                await stream.send_bytes(sent(reply))
                await asyncio.sleep(_WRITTEN_SECONDS)
                return
            step = len(reply.body) // _DRIPS + 1
            for start in range(0, len(reply.body), step):
                if start:
                    await asyncio.sleep(self._workload.drip_seconds / (_DRIPS - 1))
                await stream.send_bytes(reply.body[start : start + step])


def serve_for(parent: int, workload: Workload, port: int, ready: Callable[[int], None]) -> None:
    """Serve `workload` until killed, or until process `parent` is no longer our parent; for a process of its own.

    `port` 0 takes a free one; `ready` is called with the port once the site answers. Raises OSError when the port
    is taken. There is no orderly end: granian would wait for what is under way, and a hung page is for ever.
    Importing granian raises this process's limit of open files to the hard one.
    """
    asyncio.run(_serve(parent, workload, port, ready))


async def _serve(parent: int, workload: Workload, port: int, ready: Callable[[int], None]) -> None:
    servers, port = _servers(Application(workload), workload, port)
    serving = [asyncio.ensure_future(server.serve()) for server in servers]
    await _while_serving(serving, _until_answering(port))
    ready(port)
    await _while_serving(serving, _until_orphaned(parent))
    os._exit(0)


async def _while_serving(serving: list[asyncio.Future[None]], condition: Coroutine[Any, Any, None]) -> None:
    """Wait for `condition`; a server that ends before it raises what it died of."""
    awaited = asyncio.ensure_future(condition)
    await asyncio.wait([awaited, *serving], return_when=asyncio.FIRST_COMPLETED)
    if not awaited.done():
        await asyncio.gather(*serving)
        raise RuntimeError("the server ended of itself")


def _servers(application: Application, workload: Workload, port: int) -> tuple[list[Any], int]:
    """Return the servers to run and the port they share."""
    from granian.constants import HTTPModes, Interfaces

    common = {
        "interface": Interfaces.RSGI,
        "http": HTTPModes.http1,
        "websockets": False,
        "backlog": _BACKLOG,
        "backpressure": _AT_ONCE,
        "log_enabled": False,
    }
    try:
        with _loopback_listener(port) as listener:
            at = listener.getsockname()[1]
            return [_server_over(listener, application, common)], at
    except (AttributeError, ImportError, OSError, TypeError):
        # Not Linux, a kernel before 5.7, or a granian that takes no socket; a taken port fails again below.
        return _one_server_an_address(application, workload, port, common)


def _loopback_listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        listener.bind(("0.0.0.0", port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _one_server_an_address(
    application: Application, workload: Workload, port: int, common: dict[str, Any]
) -> tuple[list[Any], int]:
    from granian.server.embed import Server

    addresses = [workload.host(number) for number in range(workload.hosts_here)]
    with contextlib.ExitStack() as tried:  # the library's own bind would die in a task; fail here, with an OSError
        for address in addresses:
            trial = tried.enter_context(socket.socket())
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((address, port))
            port = trial.getsockname()[1]
    return [Server(application, address=address, port=port, **common) for address in addresses], port


def _server_over(listener: socket.socket, application: Application, common: dict[str, Any]) -> Any:
    """Return granian's embedded server over a socket that listens already; it has no public way to take one."""
    from granian.net import SocketHolder  # type: ignore[attr-defined]  # as above
    from granian.server.embed import Server

    port = listener.getsockname()[1]
    new_holder: Any = SocketHolder  # its stub has no constructor
    holder = new_holder(listener.detach(), False, _BACKLOG)  # the descriptor is the server's from now on

    class ListeningServer(Server):  # type: ignore[misc, unused-ignore]
        def _init_shared_socket(self) -> None:
            self._shd: Any = holder

    # Should that method ever go by another name, binding the same port again fails, loudly.
    return ListeningServer(application, port=port, **common)


async def _until_answering(port: int) -> None:
    """Return when the site has answered a request."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
            continue
        writer.write(b"GET /bytes/2 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()
        return


async def _until_orphaned(parent: int) -> None:
    """Return when process `parent` is no longer our parent.

    A pipe's end of file would tell sooner, but a worker the parent forked holds its other end open too.
    """
    while os.getppid() == parent:  # noqa: ASYNC110  (nothing would set an event)
        await asyncio.sleep(_PARENT_SECONDS)
