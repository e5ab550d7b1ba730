"""A server that answers whatever comes after a while, with so little work that it is the delay which is measured.

::

    server = await serve(lambda body: b'{"choices": [...]}', seconds=0.2)
    port = server.sockets[0].getsockname()[1]

It reads no more of a request than its length, so that a client beside it on a small machine has its core for itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

Answer = Callable[[bytes], bytes]
"""Makes the JSON of a reply of that of a request."""

_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Answering(asyncio.Protocol):
    """One connection, with one request after the other.

    Args:
        answer: Called when a request is whole.
        seconds: From then on.
    """

    def __init__(self, answer: Answer, seconds: float) -> None:
        self._answer = answer
        self._seconds = seconds
        self._waiting = bytearray()
        self._whole: int | None = None
        self._body_from = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connects."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A part of a request."""
        self._waiting += data
        if self._whole is None:
            end = self._waiting.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._waiting, 0, end)
            self._body_from = end + 4
            self._whole = self._body_from + (int(length[1]) if length else 0)
        if len(self._waiting) >= self._whole:
            reply = self._answer(bytes(self._waiting[self._body_from : self._whole]))
            del self._waiting[: self._whole]
            self._whole = None
            loop = asyncio.get_running_loop()
            loop.call_later(self._seconds, self._transport.write, _HEAD % len(reply) + reply)


async def serve(answer: Answer, seconds: float) -> asyncio.Server:
    """Listens on a free port of this machine.

    Args:
        answer: Makes the replies.
        seconds: That each takes.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Answering(answer, seconds), "127.0.0.1", 0, backlog=256)
