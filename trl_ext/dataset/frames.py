"""Pictures in place of references, read from the videos as they were shown.

::

    {"type": "image", "image": {"video": "video_1.mp4", "time": 4.0, "width": 28, "height": 28}}
    # becomes {"type": "image", "image": <PIL image of 28x28 pixels>}

It chooses no moments: a rollout's references say which frames a model saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import Message
from longvt_plugins.video.library import VideoLibrary
from longvt_plugins.video.sampling import FrameSampling
from trl_ext.dataset.blocks import copied, image_blocks


@dataclass(frozen=True)
class _SizeAsShown(FrameSampling):
    """Frames of one given size: that in which a rollout showed them."""

    width: int = 28
    height: int = 28

    def size(self, width: int, height: int, *, frames: int = 1) -> tuple[int, int]:
        return self.width, self.height


def with_frames(
    messages: Sequence[Message], videos: Mapping[str, str], library: VideoLibrary, *, where: str
) -> list[Message]:
    """A copy of the conversation with PIL images instead of references; each video is read in one go.

    Args:
        messages: Blocks that hold something other than a reference stay as they are.
        videos: Names that references use, to files.
        library: Opens the videos.
        where: Named in messages.

    Raises:
        ConfigError: A reference to a video that is not among these.
        VideoError: A video cannot be read.
    """
    messages = [copied(message) for message in messages]
    wanted: dict[str, dict[tuple[int, int], list[dict[str, Any]]]] = {}
    # Of a part of a frame, the whole frame is read in its own size and the part cut out of it.
    parts: dict[str, dict[tuple[int, int], list[dict[str, Any]]]] = {}
    for block in image_blocks(messages):
        reference = block["image"]
        if isinstance(reference, Mapping):
            size = (reference["width"], reference["height"])
            of_video = parts if reference.get("region") else wanted
            of_video.setdefault(reference["video"], {}).setdefault(size, []).append(block)
    for name in {**wanted, **parts}:
        if name not in videos:
            raise ConfigError(f"{where}: a frame is of {name!r}, which is not a video of its row")
        with library.open(videos[name]) as video:
            for size, blocks in parts.get(name, {}).items():
                for block in blocks:
                    part = video.frame_at(block["image"]["time"]).cut(block["image"]["region"])
                    block["image"] = part.resized(size).image
            for (width, height), blocks in wanted.get(name, {}).items():
                times = sorted({block["image"]["time"] for block in blocks})
                frames = video.frames(times, _SizeAsShown(width=width, height=height))
                images = {time: frame.image for time, frame in zip(times, frames, strict=True)}
                for block in blocks:
                    block["image"] = images[block["image"]["time"]]
    return messages
