"""A reply that arrives in pieces (server-sent events), gathered into the reply that it would have been in one.

::

    gathered = ReplyStream(hear=print)
    with listening(gathered):                 # AsyncClient(event_hooks={"response": [..., tap_reply]})
        await api.post(...)                   # hears "<think>The", " square", ... as they come
    reply = read_reply(gathered.body())       # checked like any other reply

Nothing that arrives is trusted more than a whole reply is: parts that make no sense are left to
:func:`~longvt_plugins.chat.wire.read_reply`, which refuses the whole. How many bytes may come, the client says.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from longvt_plugins.chat.wire import UnreadableReply, one_line

if TYPE_CHECKING:
    from httpx2 import AsyncByteStream, Response

Hear = Callable[[str | None], None]
"""Told each piece of a turn as it is written; None: the turn is asked for again, what was heard of it is void."""

CONTENT_TYPE = "text/event-stream"
"""How a server says that it streams; one that does not was asked in vain, and sends one JSON object."""

_END = b"[DONE]"
_THOUGHTS = ("reasoning_content", "reasoning")


class ReplyStream:
    """Gathers the pieces.

    Args:
        hear: Told the text as it comes: thoughts that a server's parser took out are put back between their tags.

    Attributes:
        has_begun: Whether the server streams at all.
    """

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._rest = b""
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish: str | None = None
        self._usage: Any = None
        self._error: bytes | None = None
        self._fault: str | None = None
        self.has_begun = False
        self._is_thinking = False
        self._has_ended = False

    def feed(self, data: bytes) -> None:
        """Takes what arrived, wherever it was cut. A part that makes no sense is told at the end."""
        self.has_begun = True
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line.removeprefix(b"data:").strip())

    def body(self) -> bytes:
        """The reply as a server that does not stream would have sent it.

        Raises:
            UnreadableReply: It holds a part that is no JSON object, or broke off before the turn's end.
        """
        if self._fault is not None:
            raise UnreadableReply(self._fault)
        if self._error is not None:
            return self._error
        if self._finish is None and not self._has_ended:
            raise UnreadableReply("the stream broke off before the turn's end")
        self._end_thought()
        message: dict[str, Any] = {name: "".join(pieces) for name, pieces in self._texts.items()}
        if self._calls:
            message["tool_calls"] = [self._calls[number] for number in sorted(self._calls)]
        whole = {"choices": [{"message": message, "finish_reason": self._finish}], "usage": self._usage}
        return json.dumps(whole).encode()

    def _event(self, data: bytes) -> None:
        if data == _END:
            self._has_ended = True
            return
        if self._error is not None or self._fault is not None or not data:
            return
        try:
            part = json.loads(data)
        except (ValueError, RecursionError) as error:
            self._fault = f"unreadable part of a stream: {one_line(str(error))}"
            return
        if not isinstance(part, dict):
            self._fault = "unreadable part of a stream: not an object"
            return
        if part.get("error"):
            self._error = data
            return
        self._usage = part.get("usage") or self._usage
        choices = part.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return  # the part that only counts tokens
        if isinstance(choice.get("finish_reason"), str):
            self._finish = choice["finish_reason"]
        if isinstance(delta := choice.get("delta"), dict):
            self._delta(delta)

    def _delta(self, delta: dict[str, Any]) -> None:
        for name in (*_THOUGHTS, "content", "refusal"):
            if isinstance(piece := delta.get(name), str):
                self._texts.setdefault(name, []).append(piece)
        thought = next((delta[name] for name in _THOUGHTS if isinstance(delta.get(name), str)), "")
        if thought and (self._is_thinking or thought.strip()):
            self._tell(thought if self._is_thinking else f"<think>{thought}")
            self._is_thinking = True
        if isinstance(delta.get("content"), str) and delta["content"]:
            self._end_thought()
            self._tell(delta["content"])
        calls = delta.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                self._call(call, place)

    def _call(self, part: dict[str, Any], place: int) -> None:
        number = part["index"] if type(part.get("index")) is int else place
        call = self._calls.setdefault(number, {"function": {"name": "", "arguments": ""}})
        if isinstance(part.get("id"), str) and part["id"]:
            call["id"] = part["id"]
        function = part.get("function")
        for name in ("name", "arguments"):
            if isinstance(function, dict) and isinstance(function.get(name), str):
                call["function"][name] += function[name]

    def _end_thought(self) -> None:
        if self._is_thinking:
            self._is_thinking = False
            self._tell("</think>")

    def _tell(self, text: str) -> None:
        # Half of a surrogate pair could be shown nowhere.
        self._hear(text.encode(errors="replace").decode())


_listener: ContextVar[ReplyStream | None] = ContextVar("longvt_listener", default=None)


@contextmanager
def listening(stream: ReplyStream | None) -> Iterator[None]:
    """Lets a stream hear the replies to the requests of this block; None hears nothing."""
    token = _listener.set(stream)
    try:
        yield
    finally:
        _listener.reset(token)


async def tap_reply(response: Response) -> None:
    """A hook of the HTTP client: who listens gets a streamed reply while it is read, whoever reads it.

    Args:
        response: Of which only the headers have been read.
    """
    stream = _listener.get()
    is_stream = response.headers.get("content-type", "").lower().startswith(CONTENT_TYPE)
    if stream is not None and is_stream and response.is_success:
        from httpx2 import AsyncByteStream

        assert isinstance(response.stream, AsyncByteStream)
        response.stream = _tapped(response.stream, stream)


def _tapped(source: AsyncByteStream, stream: ReplyStream) -> AsyncByteStream:
    import httpx2

    class Tapped(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in source:
                stream.feed(chunk)
                yield chunk

        async def aclose(self) -> None:
            await source.aclose()

    return Tapped()
