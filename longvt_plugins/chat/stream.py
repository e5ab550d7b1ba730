"""A reply that arrives in pieces (server-sent events), gathered into the reply that it would have been in one.

::

    gathered = ReplyStream(hear=print)
    async for chunk in response.aiter_raw():
        gathered.feed(chunk)                  # hears "<think>The", " square", ... as they come
    reply = read_reply(gathered.body())       # checked like any other reply

Nothing that arrives is trusted more than a whole reply is: parts that make no sense are left to
:func:`~longvt_plugins.chat.wire.read_reply`, which refuses the whole. How many bytes may come, the client says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from longvt_plugins.chat.wire import UnreadableReply, one_line

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
    """

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._rest = b""
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish: str | None = None
        self._usage: Any = None
        self._error: bytes | None = None
        self._is_thinking = False
        self._has_ended = False

    def feed(self, data: bytes) -> None:
        """Takes what arrived, wherever it was cut.

        Raises:
            UnreadableReply: A part that is no JSON object.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line.removeprefix(b"data:").strip())

    def body(self) -> bytes:
        """The reply as a server that does not stream would have sent it.

        Raises:
            UnreadableReply: The stream broke off before the turn's end.
        """
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
        if self._error is not None or not data:
            return
        try:
            part = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UnreadableReply(f"unreadable part of a stream: {one_line(str(error))}") from None
        if not isinstance(part, dict):
            raise UnreadableReply("unreadable part of a stream: not an object")
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
