"""How a client reaches the server: standard input and output of this process, or streamable HTTP.

::

    asyncio.run(serve_stdio(server))                              # the client starts the process
    asyncio.run(serve_http(server, host="127.0.0.1", port=8765))  # http://127.0.0.1:8765/mcp

It has no passwords: HTTP is for this machine, and for a network where everybody may see the videos.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

PATH = "/mcp"

LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def serve_stdio(server: Server[Any, Any]) -> None:
    """Serves one client until it closes its end."""
    import anyio
    from mcp.server.stdio import stdio_server

    with _own_output() as output:
        async with stdio_server(stdout=anyio.wrap_file(output)) as (read, write):
            await server.run(read, write, server.create_initialization_options())


async def serve_http(
    server: Server[Any, Any],
    *,
    host: str,
    port: int,
    names: Sequence[str] = (),
    started: Callable[[str], None] | None = None,
) -> None:
    """Serves many clients until the process is ended.

    Args:
        server: The tools.
        host: Address to listen on.
        port: 0 for any that is free.
        names: Under which clients reach this machine, where ``host`` is not this machine alone. Requests to other names
            are refused, so that no web page can reach the server through the visitor's browser.
        started: Told the address once it listens.

    Raises:
        ConfigError: The address cannot be used, or is open to the network and has no names.
    """
    if host not in LOOPBACK and not names:
        raise ConfigError(f"{host} is open to the network: say under which names clients reach it, with --allow-host")
    listener = _listen(host, port)

    import uvicorn
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings
    from starlette.applications import Starlette
    from starlette.routing import Route

    port = listener.getsockname()[1]
    hosts = [f"{name}:{port}" for name in (*LOOPBACK[:2], f"[{LOOPBACK[2]}]", *names)]
    security = TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[f"http://{name}" for name in hosts])
    sessions = StreamableHTTPSessionManager(server, security_settings=security)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with sessions.run():
            if started is not None:
                started(f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}")
            yield

    app = Starlette(routes=[Route(PATH, endpoint=_Endpoint(sessions.handle_request))], lifespan=lifespan)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    with listener:
        await uvicorn.Server(config).serve(sockets=[listener])


class _Endpoint:
    """An ASGI application at one path: starlette takes a plain function for one that wants a request."""

    def __init__(self, handle: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        self._handle = handle

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._handle(scope, receive, send)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{host}:{port} cannot be listened on: {error}") from None


@contextlib.contextmanager
def _own_output() -> Iterator[TextIO]:
    """Standard output for the protocol alone: what anything else prints there goes to standard error meanwhile."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(own, "w", encoding="utf-8", closefd=False) as output:
            yield output
    finally:
        os.dup2(own, 1)
        os.close(own)
