"""How long conversations are, told without decoding a frame.

::

    measure = Measure(load_processor("Qwen/Qwen2.5-VL-7B-Instruct"))
    replayer = Replayer(config, plugins, library=BlankLibrary(VideoLibrary()))
    measure.of(replayer.messages(conversation))      # Size(tokens=9331, trained=212, frames=143)

A :class:`BlankLibrary` opens videos for their length and size alone and gives blank frames at the seconds asked for.
Real frames may carry labels a digit longer or shorter, so that a count may be off by a token or two in a thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from longvt_plugins.types import Message
from longvt_plugins.video.library import VideoLibrary
from longvt_plugins.video.video import Frame, Video
from trl_ext.dataset.blocks import image_blocks


@dataclass(frozen=True)
class Size:
    """Of one conversation.

    Attributes:
        tokens: All, those of pictures among them.
        trained: Those that count in the loss: what the assistant wrote.
        frames: Pictures.
    """

    tokens: int
    trained: int
    frames: int


class Measure:
    """Counts the tokens of conversations.

    Args:
        processor: With a chat template that marks what is trained, as ours do.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def of(self, messages: Sequence[Message]) -> Size:
        """The size of a conversation whose pictures are PIL images or files, of which only the head is read."""
        text = [_without_pixels(message) for message in messages]
        told = self._processor.tokenizer.apply_chat_template(
            text, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        sizes = [_size(block["image"]) for block in image_blocks(messages)]
        # In the template's text each picture is one token, which the processor multiplies.
        tokens = len(told["input_ids"]) + sum(self._image_tokens(*size) - 1 for size in sizes)
        return Size(tokens, sum(told["assistant_masks"]), len(sizes))

    def _image_tokens(self, width: int, height: int) -> int:
        images = self._processor.image_processor
        patches: int = images.get_number_of_image_patches(height, width, {})
        return patches // int(images.merge_size) ** 2


class BlankLibrary(VideoLibrary):
    """A library whose videos have the real length and size, and blank pictures."""

    def open(self, path: str | Path) -> Video:
        """A video that is opened for its facts alone."""
        with super().open(path) as video:
            return Video(Path(path).absolute(), _BlankReader(video))


class _BlankReader:
    def __init__(self, video: Video) -> None:
        self.duration = video.duration
        self.width = video.width
        self.height = video.height
        self._timetable = video

    @property
    def timetable(self) -> Any:
        """For the sampling mode ``qwen``."""
        return self._timetable.timetable

    def frames(self, times: Iterable[float]) -> Iterator[Frame]:
        return self.scaled_frames(times, (self.width, self.height), "fast")

    def scaled_frames(
        self, times: Iterable[float], size: tuple[int, int], scaling: Literal["fast", "exact"]
    ) -> Iterator[Frame]:
        from PIL import Image

        blank = Image.new("RGB", size)
        for time in times:
            yield Frame(blank, time)

    def close(self) -> None:
        """Nothing is open."""


def _without_pixels(message: Message) -> dict[str, Any]:
    content = message["content"]
    blocks: Any = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    plain = [{"type": "image"} if block["type"] == "image" else block for block in blocks]
    return {**message, "content": plain}


def _size(image: Any) -> tuple[int, int]:
    if not isinstance(image, str):
        size: tuple[int, int] = image.size
        return size
    from PIL import Image

    with Image.open(image) as opened:
        return opened.size
