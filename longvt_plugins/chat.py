"""The one client for OpenAI-compatible chat servers, and what a chat backend is.

::

    client = ChatClient("http://localhost:8000/v1", "Qwen/Qwen2.5-VL-7B-Instruct")
    completion = await client.complete(messages, [tool.schema], max_tokens=512, temperature=0.0)
    completion.message["tool_calls"]     # arguments as a dict; as text where the server sent no JSON object

A failure is a :class:`ChatError`, never a text that could be taken for an answer. Nothing that a server
sends is evaluated. It does not run tools: see :mod:`longvt_plugins.agent`.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from longvt_plugins.errors import ChatError, ConfigError
from longvt_plugins.types import Block, FunctionCall, Message

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from PIL import Image

LONGEST_WAIT_SECONDS = 60.0
"""No pause between two tries is longer, whatever the server asks for."""

_LONGEST_ERROR_TEXT = 300


@dataclass(frozen=True)
class Completion:
    """One turn of a model.

    Attributes:
        message: The assistant's message; ``content`` is text as it was written.
        stop_reason: ``"stop"``, ``"tool_calls"``, or ``"length"`` when the turn was cut off.
        prompt_tokens: What was read, 0 where the server does not say.
        completion_tokens: What was written, 0 where the server does not say.
    """

    message: Message
    stop_reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


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


class ChatClient:
    """A :class:`ChatBackend` over HTTP. May be used from one event loop after another.

    Args:
        base_url: Address of the API, ending in ``/v1`` for most servers.
        model: The name that the server knows it by.
        api_key: Sent as a bearer token; local servers take any.
        timeout: Seconds until a request counts as failed.
        max_retries: Tries after the first, on 408, 409, 429, 5xx and broken connections.
        backoff: Seconds before the first of them; doubled each time, with jitter. ``Retry-After`` comes first.
        concurrency: Requests in flight at once.
        image_format: ``"jpeg"`` (quality 95, 4:4:4) or ``"png"``, which is lossless and larger.
        tool_images: ``"tool"`` leaves images in tool messages; ``"user"`` moves them to a user message
            after these, for servers that refuse images from tools.
        extra_body: Further fields of every request, such as ``{"skip_special_tokens": False}``.

    Raises:
        ConfigError: A value that makes no sense, named.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str = "EMPTY",
        timeout: float = 600.0,
        max_retries: int = 5,
        backoff: float = 1.0,
        concurrency: int = 32,
        image_format: Literal["jpeg", "png"] = "jpeg",
        tool_images: Literal["tool", "user"] = "tool",
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ConfigError(f"base_url must start with http:// or https://, not {base_url!r}")
        if image_format not in ("jpeg", "png"):
            raise ConfigError(f"image_format must be 'jpeg' or 'png', not {image_format!r}")
        if tool_images not in ("tool", "user"):
            raise ConfigError(f"tool_images must be 'tool' or 'user', not {tool_images!r}")
        if concurrency < 1 or max_retries < 0 or timeout <= 0 or backoff < 0:
            raise ConfigError(
                "concurrency must be at least 1, max_retries and backoff not negative, timeout positive, not "
                f"{concurrency}, {max_retries}, {backoff}, {timeout}"
            )
        self.base_url = base_url
        self.model = model
        self._api_key = api_key
        self._timeout = timeout
        self._max_retries = max_retries
        self._backoff = backoff
        self._concurrency = concurrency
        self._image_format: Literal["jpeg", "png"] = image_format
        self._tool_images: Literal["tool", "user"] = tool_images
        self._extra_body = dict(extra_body or {})
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: AsyncOpenAI | None = None
        self._slots = asyncio.Semaphore(concurrency)
        self._jitter = random.Random()

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        max_tokens: int,
        temperature: float = 0.0,
    ) -> Completion:
        """Asks the server, again if it is overloaded.

        Raises:
            ChatError: No reply after all tries, a refusal, or a reply without a message.
        """
        # Encoding hundreds of frames takes a while: the other conversations go on meanwhile.
        wire = await asyncio.to_thread(
            to_wire, messages, image_format=self._image_format, tool_images=self._tool_images
        )
        request: dict[str, Any] = {
            "model": self.model,
            "messages": wire,
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        if tools:
            request["tools"] = list(tools)
        if self._extra_body:
            request["extra_body"] = self._extra_body
        return self._read(await self._send(request))

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _send(self, request: dict[str, Any]) -> Any:
        import openai

        client = self._client_of_this_loop()
        tries = 0
        while True:
            tries += 1
            try:
                async with self._slots:
                    return await client.chat.completions.create(**request)
            except openai.APIStatusError as error:
                reason = f"HTTP {error.status_code}: {_one_line(error.message)}"
                again = error.status_code in (408, 409, 429) or error.status_code >= 500
                asked = _retry_after(error.response.headers.get("retry-after"))
            except openai.APITimeoutError:
                reason, again, asked = f"no reply within {self._timeout:g} s", True, None
            except openai.APIConnectionError as error:
                reason, again, asked = f"no connection: {_one_line(str(error.__cause__ or error))}", True, None
            except (openai.APIError, ValueError) as error:  # ValueError: the body is not JSON
                reason, again, asked = f"unreadable reply: {_one_line(str(error))}", False, None
            if not again or tries > self._max_retries:
                raise self._error(reason, tries)
            wait = asked if asked is not None else self._backoff * 2 ** (tries - 1) * (0.5 + self._jitter.random())
            await asyncio.sleep(min(wait, LONGEST_WAIT_SECONDS))

    def _client_of_this_loop(self) -> AsyncOpenAI:
        # Connections belong to the loop that made them, and lmms-eval may start one loop after another.
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            import openai

            self._client = openai.AsyncOpenAI(
                base_url=self.base_url, api_key=self._api_key, timeout=self._timeout, max_retries=0
            )
            self._slots = asyncio.Semaphore(self._concurrency)
            self._loop = loop
        return self._client

    def _read(self, reply: Any) -> Completion:
        choices = getattr(reply, "choices", None)
        message = getattr(choices[0], "message", None) if choices else None
        if choices is None or message is None:
            raise self._error(f"a reply without choices: {_one_line(str(reply))}", 1)
        content = message.content if isinstance(message.content, str) else ""
        # Servers with a reasoning parser take the thought out; the conversation keeps it where it was written.
        thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
        if isinstance(thought, str) and thought.strip():
            content = f"<think>{thought}</think>{content}"
        read: Message = {"role": "assistant", "content": content}
        calls = [_read_call(call) for call in message.tool_calls or () if getattr(call, "function", None) is not None]
        if calls:
            read["tool_calls"] = calls
        usage = getattr(reply, "usage", None)
        return Completion(
            message=read,
            stop_reason="length" if choices[0].finish_reason == "length" else "tool_calls" if calls else "stop",
            prompt_tokens=getattr(usage, "prompt_tokens", None) or 0,
            completion_tokens=getattr(usage, "completion_tokens", None) or 0,
        )

    def _error(self, reason: str, tries: int) -> ChatError:
        times = "1 try" if tries == 1 else f"{tries} tries"
        return ChatError(f"chat server {self.base_url}, model {self.model!r}: {reason} ({times})")


def to_wire(
    messages: Sequence[Message],
    *,
    image_format: Literal["jpeg", "png"] = "jpeg",
    tool_images: Literal["tool", "user"] = "tool",
) -> list[dict[str, Any]]:
    """Messages as they travel: images as data URLs, arguments as JSON text.

    Args:
        messages: As in memory.
        image_format: See :class:`ChatClient`.
        tool_images: See :class:`ChatClient`.
    """
    wire: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    for message in messages:
        if moved and message["role"] != "tool":
            # All replies to one turn must stand together before anybody else speaks.
            wire.append({"role": "user", "content": moved})
            moved = []
        content = message.get("content")
        parts = [_part(block, image_format) for block in content] if isinstance(content, list) else content
        if message["role"] == "tool":
            if tool_images == "user" and isinstance(parts, list) and any(part["type"] != "text" for part in parts):
                moved += parts
                parts = "What the tool returned is in the next message."
            wire.append(_tool_reply(message, parts))
        else:
            sent: dict[str, Any] = {"role": message["role"], "content": parts}
            if calls := message.get("tool_calls"):
                sent["tool_calls"] = [_sent_call(call) for call in calls]
            wire.append(sent)
    if moved:
        wire.append({"role": "user", "content": moved})
    return wire


def encode_image(image: Image.Image, image_format: Literal["jpeg", "png"] = "jpeg") -> str:
    """An image as a data URL."""
    buffer = io.BytesIO()
    if image_format == "png":
        image.save(buffer, "PNG", compress_level=1)
    else:
        # 4:4:4: thin coloured text on frames survives. 44 dB at a twentieth of what PNG costs.
        image.convert("RGB").save(buffer, "JPEG", quality=95, subsampling=0)
    return f"data:image/{image_format};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _part(block: Block, image_format: Literal["jpeg", "png"]) -> dict[str, Any]:
    if block["type"] == "text":
        return {"type": "text", "text": block["text"]}
    image = block["image"]
    if isinstance(image, dict):
        raise TypeError("a frame reference cannot be sent: read the frame from its video first")
    return {"type": "image_url", "image_url": {"url": encode_image(image, image_format)}}


def _tool_reply(message: Message, parts: Any) -> dict[str, Any]:
    if call_id := message.get("tool_call_id"):
        reply = {"role": "tool", "tool_call_id": call_id, "content": parts}
        return reply | ({"name": message["name"]} if message.get("name") else {})
    # A call that nobody could parse has no id, and servers refuse a reply to none: as Qwen's templates write it.
    if isinstance(parts, list):
        return {"role": "user", "content": [_tagged("<tool_response>\n"), *parts, _tagged("\n</tool_response>")]}
    return {"role": "user", "content": f"<tool_response>\n{parts}\n</tool_response>"}


def _tagged(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _sent_call(call: FunctionCall) -> dict[str, Any]:
    arguments = call["function"]["arguments"]
    if isinstance(arguments, str):
        # Servers parse the history's arguments again and fail on what is not an object.
        arguments = {"malformed": arguments}
    text = json.dumps(arguments, ensure_ascii=False)
    return {
        "id": call.get("id", ""),
        "type": "function",
        "function": {"name": call["function"]["name"], "arguments": text},
    }


def _read_call(call: Any) -> FunctionCall:
    written = call.function.arguments
    arguments: dict[str, Any] | str = written if isinstance(written, str) else json.dumps(written)
    try:
        parsed = json.loads(written) if isinstance(written, str) else written
    except (ValueError, RecursionError):
        parsed = None  # stays text: the agent tells the model
    if isinstance(parsed, dict):
        arguments = parsed
    return {
        "id": call.id or "",
        "type": "function",
        "function": {"name": call.function.name or "", "arguments": arguments},
    }


def _retry_after(header: str | None) -> float | None:
    """Seconds that a server asks to wait: a number, or a date."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_ERROR_TEXT else f"{line[:_LONGEST_ERROR_TEXT]}..."
