"""Replies of a bounded length: what reads them otherwise takes whatever a server sends into memory.

::

    AsyncClient(event_hooks={"response": [bound_reply]})
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from httpx2 import AsyncByteStream, Response

from longvt_plugins.chat.wire import UnreadableReply

MAX_REPLY_BYTES = 16 << 20
"""The largest reply that is read; a turn of 32,000 tokens has about 150 KB."""


async def bound_reply(response: Response) -> None:
    """Lets a reply be read up to :data:`MAX_REPLY_BYTES`.

    Args:
        response: Of which only the headers have been read.

    Raises:
        UnreadableReply: It is packed, and could unpack to any size; or, while it is read, it is too long.
    """
    if response.headers.get("content-encoding", "identity") != "identity":
        raise UnreadableReply("unreadable reply: packed, though that was not asked for", again=False)
    assert isinstance(response.stream, AsyncByteStream)
    response.stream = _BoundedStream(response.stream)


class _BoundedStream(AsyncByteStream):
    def __init__(self, stream: AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_REPLY_BYTES:
                raise UnreadableReply(f"unreadable reply: longer than {MAX_REPLY_BYTES} bytes", again=False)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
