"""What carries the requests of the HTTP library: aiohttp's connections, whose parser is compiled.

::

    AsyncOpenAI(http_client=LeanClient(Carrier(64, tls), [bound_reply]), ...)  # at most 64 connections, of one loop

The library's own transport takes a millisecond of a core for a request, more than all else that is done for it; this
one takes a third of that, and the client spares it what nobody asks of it here. It follows no redirects, unpacks
nothing, keeps no cookies, knows no proxies and waits for ever: all of that is its caller's to decide. What goes wrong
is told in the library's own errors.
"""

from __future__ import annotations

import asyncio
import functools
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ssl import SSLContext
from typing import Any

import aiohttp
import yarl
from httpx2 import (
    URL,
    AsyncBaseTransport,
    AsyncByteStream,
    AsyncClient,
    ByteStream,
    ConnectError,
    InvalidURL,
    NetworkError,
    Request,
    Response,
)

KEPT_SECONDS = 4.0
"""Connections that are used by nobody are closed after that: uvicorn, under most servers, does so after five."""

_LARGE_BODY = 1 << 20
"""Larger bodies are written piece by piece, so that the others of the event loop get their turns."""


class Carrier(AsyncBaseTransport):
    """Sends requests over connections that are kept.

    Args:
        connections: At most.
        tls: Which certificates are trusted.
    """

    def __init__(self, connections: int, tls: SSLContext) -> None:
        self._connections = connections
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __del__(self) -> None:
        connector = None if self._session is None else self._session.connector
        # With its loop the connections went too: nothing is left that would be worth an error in the log.
        if connector is not None and self._loop is not None and self._loop.is_closed():
            with suppress(StopIteration):
                next(connector.close().__await__())  # no loop is left to await it in, and it waits for nobody

    async def handle_async_request(self, request: Request) -> Response:
        """Sends a request; its reply's body is read by who wants it.

        Raises:
            TransportError: There is no reply.
            InvalidURL: It cannot be sent anywhere.
        """
        if self._session is None:
            self._session, self._loop = self._connect(), asyncio.get_running_loop()
        content = await request.aread()
        with _told_in_the_librarys_errors():
            response = await self._session.request(
                request.method,
                yarl.URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=io.BytesIO(content) if len(content) > _LARGE_BODY else content or None,
                allow_redirects=False,
            )
        return Response(response.status, headers=response.raw_headers, stream=_Body(response))

    async def aclose(self) -> None:
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()

    def _connect(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=self._tls, keepalive_timeout=KEPT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
        )


class LeanClient(AsyncClient):
    """The library's client for requests that are whole: no cookies, authentication or redirects are looked for.

    Args:
        carrier: Sends the requests.
        hooks: Get each reply before its body is read.
    """

    def __init__(self, carrier: Carrier, hooks: Sequence[Callable[[Response], Awaitable[None]]] = ()) -> None:
        super().__init__(transport=carrier, timeout=None, trust_env=False)
        self._carrier = carrier
        self._hooks = tuple(hooks)

    def build_request(self, method: str, url: URL | str, **options: Any) -> Request:
        """A request with the headers and the content that it is given, and no others.

        Args:
            method: Of HTTP.
            url: Whole.
            options: ``headers`` and ``content``; others hold nothing here.
        """
        stream = ByteStream(options.get("content") or b"")
        request = Request(method, _parsed(url), headers=options.get("headers"), stream=stream)
        request.headers.encoding = "utf-8"  # said, since to find it out takes longer than all else here
        return request

    async def send(self, request: Request, **options: Any) -> Response:
        """A request's reply, whole.

        Raises:
            TransportError: There is none.
        """
        response = await self._carrier.handle_async_request(request)
        response.headers.encoding = "iso-8859-1"
        try:
            for hook in self._hooks:
                await hook(response)
            assert isinstance(response.stream, AsyncByteStream)
            content = b"".join([chunk async for chunk in response.stream])
        finally:
            await response.aclose()
        whole = Response(response.status_code, headers=response.headers, content=content, request=request)
        whole.headers.encoding = response.headers.encoding
        return whole


@functools.lru_cache(maxsize=64)
def _parsed(url: URL | str) -> URL:
    return URL(url)


class _Body(AsyncByteStream):
    """The body of a reply as it arrives."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _told_in_the_librarys_errors():
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        """Gives the connection back; one of which not everything was read is closed."""
        self._response.release()


@contextmanager
def _told_in_the_librarys_errors() -> Iterator[None]:
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise ConnectError(str(error)) from error
    except aiohttp.InvalidURL as error:
        raise InvalidURL(str(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise NetworkError(str(error) or type(error).__name__) from error
