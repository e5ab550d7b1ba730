"""What a chat backend is: something that writes the next turn of a conversation.

::

    completion = await backend.complete(messages, [tool.schema], max_tokens=512, temperature=0.0)
    completion.message["content"], completion.stop_reason        # '<answer>red</answer>', 'stop'

Three exist: :class:`~longvt_plugins.chat.ChatClient` asks a server, :mod:`longvt_plugins.local_model` runs a checkpoint
with transformers, :mod:`longvt_plugins.vllm_model` with vLLM. All can tell a turn while it is written. None runs
tools: see :mod:`longvt_plugins.agent`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from longvt_plugins.chat.stream import Hear
from longvt_plugins.types import Message


@dataclass(frozen=True)
class Completion:
    """One turn of a model.

    Attributes:
        message: The assistant's message; ``content`` is text as it was written.
        stop_reason: ``"stop"``, ``"tool_calls"``, or ``"length"`` when the turn was cut off.
        prompt_tokens: What was read, 0 where the server does not say.
        completion_tokens: What was written, 0 where the server does not say.
        cached: Nothing was sent: the reply comes from the cache, or from an equal request under way.
        seconds: From the first try to the reply, waits between tries included; not the wait for a place.
        cost: US dollars that this turn cost; 0 where no price is known, and where it is cached.
        retries: Tries after the first.
        structured: The server was made to keep to the ``response_schema`` that was asked for.
    """

    message: Message
    stop_reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False
    seconds: float = 0.0
    cost: float = 0.0
    retries: int = 0
    structured: bool = False


class ChatBackend(Protocol):
    """Something that continues a conversation: a server, or a model in this process."""

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        temperature: float,
    ) -> Completion:
        """Writes the next turn.

        Args:
            messages: The whole conversation, images in memory.
            tools: OpenAI function schemas; none for a conversation without tools.
            max_tokens: Longest turn.
            temperature: 0 takes the likeliest token.

        Raises:
            ChatError: The model could not be asked, or gave nothing usable.
        """
        ...


@runtime_checkable
class StreamingBackend(ChatBackend, Protocol):
    """A backend that can tell a turn while it is written."""

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        temperature: float,
        hear: Hear,
    ) -> Completion:
        """Writes the next turn, as ``complete`` does.

        Args:
            messages: The whole conversation, images in memory.
            tools: OpenAI function schemas.
            max_tokens: Longest turn.
            temperature: 0 takes the likeliest token.
            hear: Told each piece of text, in the caller's event loop, before this returns.

        Raises:
            ChatError: As ``complete``.
        """
        ...
