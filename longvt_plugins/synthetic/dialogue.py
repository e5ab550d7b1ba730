"""What the messages sent to a model hold: frames with their seconds, the question, the choices, the turns so far.

>>> dialogue = read_dialogue(messages)
>>> [frame.time for frame in dialogue.overview][:3], dialogue.family, dialogue.shape, dialogue.length
([0.0, 6.0, 12.0], 'what', 'square', 96.0)

Images may be PIL images or data URLs, so it reads what the agent has in memory and what a client sends over
HTTP. It reads nothing else: no row, no script, no ``time`` beside an image, since a model is not shown that.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from longvt_plugins.errors import ChatError
from longvt_plugins.synthetic.questions import find_question

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 1 << 24
"""Larger images are refused before they are decoded."""

_LONGEST_QUESTION = 20_000
"""Only the end of what was asked is searched, since the question comes last."""

# Alone or on a line of its own: "8 frames from 36s to 54s:" is no label.
_LABEL = re.compile(r"(?:\A|\n)\s*[\[(<]?(\d{1,9}(?:\.\d{1,3})?) ?s(?:econds)?[\])>]?:?\s*\Z")
_LENGTH = re.compile(r"(\S{1,200}) lasts (\d{1,9}(?:\.\d{1,3})?) s\b")
_CHOICES = re.compile(r"Choose one of: (.{1,2000}?)\.?\s*\Z", re.MULTILINE)
_DATA_URL = re.compile(r"data:image/(?:jpeg|png);base64,", re.IGNORECASE)


class SeenFrame(NamedTuple):
    """A frame as a model gets it.

    Attributes:
        time: Second that stands before it, None where no label does.
        image: Its picture.
    """

    time: float | None
    image: Image.Image


@dataclass(frozen=True)
class Dialogue:
    """A conversation so far, as far as the reader understands it.

    Attributes:
        overview: Frames of the messages before the first turn of the assistant.
        replies: For each of its turns the frames that came after it.
        family: Of the question, None where it is none of ours.
        shape: That it asks about.
        question: All that the user wrote.
        options: Choices, empty for an open question.
        video: Name of the video.
        length: Seconds that it lasts; None where that is not said.
        thinks: The system message asks for thoughts.
    """

    overview: tuple[SeenFrame, ...]
    replies: tuple[tuple[SeenFrame, ...], ...]
    family: str | None
    shape: str
    question: str
    options: tuple[str, ...]
    video: str
    length: float | None
    thinks: bool


def read_dialogue(messages: Sequence[Mapping[str, Any]]) -> Dialogue:
    """Reads a conversation.

    Args:
        messages: In memory or from the wire.

    Raises:
        ChatError: A message or an image that cannot be read, and why.
    """
    overview: list[SeenFrame] = []
    replies: list[list[SeenFrame]] = []
    asked: list[str] = []
    thinks = False
    for message in messages:
        if not isinstance(message, Mapping):
            raise ChatError(f"a message must be an object, not {type(message).__name__}")
        role = message.get("role")
        if role == "assistant":
            replies.append([])
        texts: list[str] = []
        frames = replies[-1] if replies else overview
        previous: str | Image.Image = ""
        for part in _parts(message.get("content")):
            if isinstance(part, str):
                texts.append(part)
            else:
                # A label belongs to the one image that follows it.
                frames.append(SeenFrame(_label(previous), part))
            previous = part
        if role == "system":
            thinks |= "<think>" in "".join(texts)
        elif not replies:
            asked += texts
    question = "\n".join(text for text in asked if not _LABEL.fullmatch(text.strip()))[-_LONGEST_QUESTION:]
    family, shape = find_question(question) or (None, "")
    length = _LENGTH.search(question)
    return Dialogue(
        overview=tuple(overview),
        replies=tuple(tuple(frames) for frames in replies),
        family=family,
        shape=shape,
        question=question,
        options=_options(question),
        video=length[1] if length else "video_1.mp4",
        length=float(length[2]) if length else None,
        thinks=thinks,
    )


def _parts(content: object) -> Iterator[str | Image.Image]:
    """Texts and images of a message, in order."""
    if content is None:
        return
    if isinstance(content, str):
        yield content
        return
    if not isinstance(content, Sequence):
        raise ChatError(f"content must be text or a list of blocks, not {type(content).__name__}")
    for block in content:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind == "text" and isinstance(block.get("text"), str):
            yield block["text"]
        elif kind == "image":
            yield _checked(block.get("image"))
        elif kind == "image_url" and isinstance(block.get("image_url"), Mapping):
            yield _decoded(block["image_url"].get("url"))
        else:
            raise ChatError(f"a block of content must be text, image or image_url, not {str(block)[:80]!r}")


def _checked(image: object) -> Image.Image:
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise ChatError(f"an image must be a PIL image, not {type(image).__name__}")
    return image


def _decoded(url: object) -> Image.Image:
    """An image from a data URL; nothing is ever fetched."""
    from PIL import Image, UnidentifiedImageError

    head = _DATA_URL.match(url) if isinstance(url, str) else None
    if head is None or not isinstance(url, str):
        raise ChatError("an image_url must be a data URL with a JPEG or PNG in base64")
    try:
        data = base64.b64decode(url[head.end() :], validate=True)
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        if image.width * image.height > MAX_PIXELS:
            raise ChatError(f"an image of {image.width}x{image.height} pixels is too large")
        image.load()
    except (binascii.Error, UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise ChatError(f"an image cannot be decoded: {error}") from None
    return image


def _label(before: str | Image.Image) -> float | None:
    found = _LABEL.search(before) if isinstance(before, str) else None
    return float(found[1]) if found else None


def _options(question: str) -> tuple[str, ...]:
    found = _CHOICES.search(question)
    return tuple(option.strip() for option in found[1].split(";") if option.strip()) if found else ()
