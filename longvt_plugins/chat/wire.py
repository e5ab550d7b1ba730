"""Conversations as they travel: requests written, replies read.

::

    wire = to_wire(messages, image_format="jpeg")            # images as data URLs, arguments as JSON text
    reply = read_reply(body)                                 # bytes of a server, taken for hostile
    reply.message, reply.stop_reason, reply.prompt_tokens

Nothing here talks to anybody. What a server sends is read as JSON and never evaluated; what is not a turn of a
conversation raises :class:`UnreadableReply` with one line that says why.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from longvt_plugins.chat.config import ImageFormat, ToolImages
from longvt_plugins.types import Block, FunctionCall, Message, text_block

if TYPE_CHECKING:
    from PIL import Image

LONGEST_ERROR_TEXT = 300
_LONGEST_REASON = 10_000

_BYTES_OF_A_TOKEN = 4
_PIXELS_OF_A_TOKEN = 28
"""Side of the square that one visual token of Qwen's models shows."""
_MOST_TOKENS = 10**9


class UnreadableReply(Exception):
    """A reply that holds no turn.

    Args:
        reason: One line.
        again: Another try may bring a better one; otherwise the server is well, and will not say more.
        usage: Read and written tokens that it nevertheless reports.
    """

    def __init__(self, reason: str, *, again: bool = True, usage: tuple[int, int] = (0, 0)) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.usage = usage


@dataclass(frozen=True)
class Reply:
    """A turn as it was read.

    Attributes:
        message: The assistant's message.
        stop_reason: ``"stop"``, ``"tool_calls"`` or ``"length"``.
        prompt_tokens: 0 where the server does not say.
        completion_tokens: Likewise.
    """

    message: Message
    stop_reason: str
    prompt_tokens: int
    completion_tokens: int


def to_wire(
    messages: Sequence[Message],
    *,
    image_format: ImageFormat = "jpeg",
    tool_images: ToolImages = "tool",
    image_url: Callable[[Image.Image], str] | None = None,
) -> list[dict[str, Any]]:
    """Messages as they travel: images as data URLs, arguments as JSON text.

    Args:
        messages: As in memory.
        image_format: See :class:`~longvt_plugins.chat.ChatConfig`.
        tool_images: Likewise.
        image_url: Makes the URLs, instead of encoding every image anew.
    """
    return _wire(messages, tool_images, image_url or (lambda image: encode_image(image, image_format)))


def fingerprint(
    messages: Sequence[Message], tool_images: ToolImages, request: Mapping[str, Any], where: Sequence[str]
) -> bytes:
    """What tells requests apart that may be answered differently.

    Args:
        messages: With images, which count by their pixels.
        tool_images: As they travel.
        request: Everything else of the request.
        where: Who is asked, and how images are sent.
    """
    wire = _wire(messages, tool_images, hash_image)
    # The order of keys is kept: servers write schemas into prompts as they come.
    text = json.dumps([list(where), wire, dict(request)])
    return hashlib.sha256(text.encode()).digest()


def estimate_tokens(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> int:
    """About how many tokens a request has: four bytes of text are one, and so are 28 x 28 pixels of an image."""
    size = len(json.dumps(list(tools))) if tools else 0
    visual = 0
    for message in messages:
        content = message.get("content") or ""
        for block in [text_block(content)] if isinstance(content, str) else content:
            if block["type"] == "text":
                size += len(block["text"].encode(errors="replace"))
            elif not isinstance(block["image"], dict):
                visual += math.prod(math.ceil(side / _PIXELS_OF_A_TOKEN) for side in block["image"].size)
        for call in message.get("tool_calls", ()):
            size += len(str(call["function"]["arguments"]))
    return math.ceil(size / _BYTES_OF_A_TOKEN) + visual


def has_images(messages: Sequence[Message]) -> bool:
    """Whether anything has to be encoded, which takes a while."""
    contents = (message.get("content") for message in messages)
    return any(block["type"] != "text" for content in contents if isinstance(content, list) for block in content)


def read_reply(body: bytes) -> Reply:
    """The turn that a server sent.

    Args:
        body: Of the HTTP reply.

    Raises:
        UnreadableReply: There is none in it.
    """
    try:
        reply = _loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableReply(f"unreadable reply: {one_line(str(error))}") from None
    usage = _read_usage(reply)
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise UnreadableReply(f"a reply without choices: {one_line(error_text(body))}", usage=usage)
    content = _read_content(message.get("content"))
    finish = choice.get("finish_reason")
    calls = [_read_call(call) for call in _list(message.get("tool_calls")) if _is_call(call)]
    # Servers with a reasoning parser take the thought out; the conversation keeps it where it was written.
    thought = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(thought, str) and thought.strip():
        cut_off = finish == "length" and not content and not calls
        content = f"<think>{thought}" if cut_off else f"<think>{thought}</think>{content or ''}"
    if isinstance(message.get("refusal"), str) and message["refusal"] and not content:
        raise UnreadableReply(f"the model refused: {one_line(message['refusal'])}", again=False, usage=usage)
    if finish == "content_filter":
        raise UnreadableReply("the server's filter held the reply back", again=False, usage=usage)
    if content is None and not calls and finish != "length":
        raise UnreadableReply("a reply without content", usage=usage)
    read: Message = {"role": "assistant", "content": content or ""}
    if calls:
        read["tool_calls"] = calls
    return Reply(read, "length" if finish == "length" else "tool_calls" if calls else "stop", *usage)


def error_text(body: bytes) -> str:
    """What a server says went wrong, cut where it gets very long.

    Args:
        body: Of the HTTP reply: OpenAI's ``{"error": {"message"}}``, Gemini's list of one such, FastAPI's
            ``{"detail"}``, or a page.
    """
    said = error_body(body)
    for name in ("message", "detail", "error"):
        if isinstance(said.get(name), str) and said[name].strip():
            return str(said[name])[:_LONGEST_REASON]
    return body[:_LONGEST_REASON].decode(errors="replace").strip() or "no reason given"


def error_body(body: bytes) -> dict[str, Any]:
    """The object in which a server says what went wrong; empty if there is none."""
    try:
        said = _loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(said, list) and said:
        said = said[0]
    if isinstance(said, dict) and isinstance(said.get("error"), dict):
        said = said["error"]
    return said if isinstance(said, dict) else {}


def one_line(text: str) -> str:
    """A text on one line that a terminal can show, cut where it gets long."""
    line = " ".join(text[: 4 * LONGEST_ERROR_TEXT].split())
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    return line if len(line) <= LONGEST_ERROR_TEXT else f"{line[:LONGEST_ERROR_TEXT]}..."


def _wire(
    messages: Sequence[Message], tool_images: ToolImages, image_url: Callable[[Image.Image], str]
) -> list[dict[str, Any]]:
    wire: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    for message in messages:
        if moved and message["role"] != "tool":
            # All replies to one turn must stand together before anybody else speaks.
            wire.append({"role": "user", "content": moved})
            moved = []
        content = message.get("content")
        parts = [_part(block, image_url) for block in content] if isinstance(content, list) else content
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


def encode_image(image: Image.Image, image_format: ImageFormat = "jpeg") -> str:
    """An image as a data URL."""
    buffer = io.BytesIO()
    if image_format == "png":
        image.save(buffer, "PNG", compress_level=1)
    else:
        # 4:4:4: thin coloured text on frames survives. 44 dB at a twentieth of what PNG costs.
        image.convert("RGB").save(buffer, "JPEG", quality=95, subsampling=0)
    return f"data:image/{image_format};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def hash_image(image: Image.Image) -> str:
    """Tells images apart that look different."""
    digest = hashlib.sha256(f"{image.mode} {image.size}".encode())
    digest.update(image.tobytes())
    if palette := image.getpalette():
        digest.update(bytes(palette))
    return digest.hexdigest()


def _part(block: Block, image_url: Callable[[Image.Image], str]) -> dict[str, Any]:
    if block["type"] == "text":
        return {"type": "text", "text": block["text"]}
    image = block["image"]
    if isinstance(image, dict):
        raise TypeError("a frame reference cannot be sent: read the frame from its video first")
    return {"type": "image_url", "image_url": {"url": image_url(image)}}


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


def _loads(text: str | bytes) -> Any:
    """JSON, without the halves of characters that no file and no request could hold afterwards."""
    value = json.loads(text)
    escape = "\\ud" if isinstance(text, str) else b"\\ud"
    return _whole(value) if escape in text.lower() else value  # type: ignore[operator]


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [_whole(part) for part in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(part) for name, part in value.items()}
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_call(call: Any) -> bool:
    return isinstance(call, dict) and isinstance(call.get("function"), dict)


def _read_call(call: dict[str, Any]) -> FunctionCall:
    written = call["function"].get("arguments")
    arguments: dict[str, Any] | str = written if isinstance(written, str) else json.dumps(written)
    try:
        parsed = _loads(written) if isinstance(written, str) else written
    except (ValueError, RecursionError):
        parsed = None  # stays text: the agent tells the model
    if isinstance(parsed, dict):
        arguments = parsed
    call_id, name = call.get("id"), call["function"].get("name")
    return {
        "id": call_id if isinstance(call_id, str) else "",
        "type": "function",
        "function": {"name": name if isinstance(name, str) else "", "arguments": arguments},
    }


def _read_content(content: Any) -> str | None:
    if isinstance(content, list):  # some servers reply in the blocks that requests are made of
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else None


def _read_usage(reply: Any) -> tuple[int, int]:
    usage = reply.get("usage") if isinstance(reply, dict) else None
    if not isinstance(usage, dict):
        return 0, 0
    return _tokens(usage.get("prompt_tokens")), _tokens(usage.get("completion_tokens"))


def _tokens(count: Any) -> int:
    return count if type(count) is int and 0 <= count <= _MOST_TOKENS else 0
