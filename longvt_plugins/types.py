"""The small shared shapes: time spans, tool calls, content blocks, messages.

>>> TimeSpan(10, 12.5).seconds
2.5
>>> ToolCall("call_1", "crop_video", {"video_path": "video_1.mp4", "start_time": 10, "end_time": 12}).name
'crop_video'

A message is a plain dict as OpenAI's chat API has it, so that it can be handed to TRL, to a chat
template and to a server without translation. Rows and rollouts have files of their own
(:mod:`longvt_plugins.rows`, :mod:`longvt_plugins.rollouts`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, order=True)
class TimeSpan:
    """A half-open interval ``[start, end)`` in seconds from the start of the video.

    Args:
        start: First second.
        end: Where it ends; equal to ``start`` for an empty span.

    Raises:
        ValueError: Not finite, or the end lies before the start.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise ValueError(f"a time span needs finite seconds, not [{self.start}, {self.end}]")
        if self.end < self.start:
            raise ValueError(f"a time span cannot end ({self.end}) before it starts ({self.start})")

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.end - self.start

    def __contains__(self, time: object) -> bool:
        return isinstance(time, int | float) and self.start <= time < self.end


@dataclass(frozen=True)
class ToolCall:
    """One call as the model wrote it, its JSON already parsed, its arguments not yet checked.

    Args:
        id: Links the call to its reply, unique in one rollout.
        name: The tool's name.
        arguments: What the model gave, by parameter name.
    """

    id: str
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def to_message_entry(self) -> FunctionCall:
        """The entry of an assistant message's ``tool_calls`` (arguments stay a dict in memory)."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": dict(self.arguments)},
        }


class TextBlock(TypedDict):
    """Text inside a message."""

    type: Literal["text"]
    text: str


class FrameReference(TypedDict):
    """Stands for an image on disk: where the frame comes from. Sizes are pixels, ``time`` is seconds.

    ``region`` is left, top, right and bottom in thousandths of the whole frame, where a part of it was shown.
    """

    video: str
    time: float
    width: int
    height: int
    region: NotRequired[list[float]]


class ImageBlock(TypedDict):
    """A frame inside a message: a PIL image in memory, a :class:`FrameReference` on disk."""

    type: Literal["image"]
    image: Image.Image | FrameReference
    time: NotRequired[float]
    video: NotRequired[str]
    region: NotRequired[list[float]]


Block = TextBlock | ImageBlock
"""What a message's content list is made of."""


class FunctionSpec(TypedDict):
    """Name and arguments of a call; ``arguments`` is a dict in memory, a JSON string on the wire."""

    name: str
    arguments: dict[str, Any] | str


class FunctionCall(TypedDict):
    """One entry of an assistant message's ``tool_calls``."""

    id: NotRequired[str]
    type: Literal["function"]
    function: FunctionSpec


class Message(TypedDict):
    """One chat message, as OpenAI's API has it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[Block] | None
    tool_calls: NotRequired[list[FunctionCall]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]


def text_block(text: str) -> TextBlock:
    """A text block."""
    return {"type": "text", "text": text}


def text_of(message: Message) -> str:
    """The text of a message, its images left out.

    Args:
        message: Any chat message; ``content`` may be a string, a list of blocks or None.

    Returns:
        The text blocks joined without a separator.
    """
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(block["text"] for block in content if block["type"] == "text")
