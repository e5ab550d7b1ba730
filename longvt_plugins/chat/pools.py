"""Connections in several small pools, since the HTTP library looks at all connections of a pool at every request.

::

    AsyncClient(transport=SmallPools(64, verify=context))       # eight pools of eight connections

With 64 requests in flight one pool of 64 takes half as much time again as the requests themselves. A request goes to
the pool with the fewest in flight, so that connections are used again before new ones are made.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from ssl import SSLContext

from httpx2 import AsyncBaseTransport, AsyncByteStream, AsyncHTTPTransport, Limits, Request, Response

POOL_SIZE = 8
"""Connections of a pool. Below that there is nothing to be saved."""


class SmallPools(AsyncBaseTransport):
    """Sends requests over the least busy of several pools.

    Args:
        connections: That are kept open, all pools together.
        verify: Which certificates are trusted.
    """

    def __init__(self, connections: int, *, verify: SSLContext) -> None:
        # In flight there may be more than are kept: who asks limits himself.
        limits = Limits(max_connections=None, max_keepalive_connections=POOL_SIZE)
        self._pools = [
            AsyncHTTPTransport(verify=verify, limits=limits) for _ in range(math.ceil(connections / POOL_SIZE))
        ]
        self._busy = [0] * len(self._pools)

    async def handle_async_request(self, request: Request) -> Response:
        """Sends a request; its pool counts as busy until the reply's body is closed."""
        place = min(range(len(self._pools)), key=self._busy.__getitem__)
        self._busy[place] += 1
        try:
            response = await self._pools[place].handle_async_request(request)
        except BaseException:
            self._busy[place] -= 1
            raise
        assert isinstance(response.stream, AsyncByteStream)
        response.stream = _Counted(response.stream, self._busy, place)
        return response

    async def aclose(self) -> None:
        """Closes all connections."""
        for pool in self._pools:
            await pool.aclose()


class _Counted(AsyncByteStream):
    """A body that frees its place when it is closed."""

    def __init__(self, stream: AsyncByteStream, busy: list[int], place: int) -> None:
        self._stream = stream
        self._busy = busy
        self._place = place
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        """Closes the body, once."""
        if self._open:
            self._open = False
            self._busy[self._place] -= 1
        await self._stream.aclose()
