"""What a tool sees of the rollout that called it: its videos, its budget, and how to hand back images.

The model never sees a path. It sees names such as ``video_1.mp4``, which :meth:`ToolContext.open`
resolves among the videos of this rollout and nowhere else.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from longvt_plugins.budget import ANSWER_NOW, Budget
from longvt_plugins.errors import ToolError
from longvt_plugins.types import Block, ImageBlock, TextBlock, text_block
from longvt_plugins.video.library import VideoLibrary
from longvt_plugins.video.sampling import CROP, FrameSampling, format_seconds
from longvt_plugins.video.video import Frame, Video

if TYPE_CHECKING:
    from PIL import Image


class ToolContext:
    """The rollout, as far as a tool may touch it. Close it, or use it in a ``with`` statement.

    Args:
        videos: Names, as the model reads them, to files.
        budget: What may still be spent; no limit by default.
        crop: How ``crop_video`` samples.
        library: Opens the videos and keeps their frames for other rollouts; None is one of the context's own, with
            the built-in reader, closed with it.
        progress: Told by tools that take long how much is done, and of how much. What it raises ends the call.
    """

    def __init__(
        self,
        videos: Mapping[str, str | Path],
        *,
        budget: Budget | None = None,
        crop: FrameSampling = CROP,
        library: VideoLibrary | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.videos = {name: Path(path) for name, path in videos.items()}
        self.budget = budget if budget is not None else Budget()
        self.crop = crop
        self._progress = progress
        self._library = library
        self._own_library: VideoLibrary | None = None
        self._open: dict[str, Video] = {}

    def open(self, name: str) -> Video:
        """A video of this rollout, opened once and closed with the context.

        Args:
            name: As the question gives it; never a path.

        Raises:
            ToolError: The rollout has no video of this name; the message lists those it has.
            VideoError: The file behind the name cannot be read.
        """
        if name not in self._open:
            self._open[name] = self.library.open(self.file(name))
        return self._open[name]

    def file(self, name: str) -> Path:
        """The file behind a name, for what opens more than pictures.

        Raises:
            ToolError: The rollout has no video of this name; the message lists those it has.
        """
        if name not in self.videos:
            known = ", ".join(sorted(self.videos)) or "none"
            # Cut, since a model may write anything here, and its own text should not fill its context.
            raise ToolError(f"there is no video named {str(name)[:80]!r}; the videos are: {known}")
        return self.videos[name]

    def companions(self, name: str, suffixes: Sequence[str]) -> list[Path]:
        """Files that lie beside a video and are named after it: ``talk.srt`` and ``talk.en.srt`` beside ``talk.mp4``.

        Args:
            name: Of the video, as the question gives it.
            suffixes: ``".srt"`` and the like.

        Returns:
            Regular files: those named exactly as the video, or else those with a mark in between.

        Raises:
            ToolError: The rollout has no video of this name.
        """
        video = self.file(name).absolute()
        exact = [video.with_suffix(suffix) for suffix in suffixes]
        if found := [file for file in exact if file != video and self.may_read(file)]:
            # Asked for by name first: to list a folder of 100,000 videos at every call would take for ever.
            return found
        marked = [
            file for suffix in suffixes for file in sorted(video.parent.glob(f"{glob.escape(video.stem)}.*{suffix}"))
        ]
        return [file for file in marked if self.may_read(file)]

    def may_read(self, file: Path) -> bool:
        """Whether a file beside a video is one that this rollout may read: a regular one."""
        return file.is_file()

    @property
    def library(self) -> VideoLibrary:
        """Opens the videos of the rollout."""
        if self._library is not None:
            return self._library
        self._own_library = self._own_library or VideoLibrary()
        return self._own_library

    def report(self, done: int, total: int) -> None:
        """Says how much of a long call is done; a host that no longer wants the reply ends the call here."""
        if self._progress is not None:
            self._progress(done, total)

    def text(self, text: str) -> TextBlock:
        """Text for the model."""
        return text_block(text)

    def image(self, image: Frame | Image.Image, *, video: str | None = None) -> ImageBlock:
        """An image for the model; a frame carries its second and, given its name, its video."""
        if not isinstance(image, Frame):
            return {"type": "image", "image": image}
        block: ImageBlock = {"type": "image", "image": image.image, "time": image.time}
        if video is not None:
            block["video"] = video
        if image.region is not None:
            block["region"] = list(image.region)
        return block

    def frames(self, frames: Iterable[Frame], *, video: str, labels: str = "seconds") -> list[Block]:
        """Frames for the model, each after a label with its second unless ``labels`` is ``"none"``."""
        return frame_blocks(frames, video=video, labels=labels)

    def fit(self, wanted: int, build: Callable[[int], list[Block]]) -> list[Block]:
        """A reply with as many frames as the budget has room for.

        Args:
            wanted: Frames at most.
            build: Makes the reply with so many frames; asked again with fewer while it is too long.

        Raises:
            ToolError: The budget has no room for a single frame.
        """
        count = self.budget.grant_frames(wanted)
        while True:
            reply = build(count)
            excess = self.budget.excess(reply)
            if not excess:
                return reply
            # As if every token were a frame's: the text beside them makes each look larger than it is.
            each = max(1, (excess + int(self.budget.room())) // count)
            fewer = min(count - 1, count - math.ceil(excess / each))
            self.budget.return_frames(count - max(fewer, 0))
            if fewer < 1:
                raise ToolError(f"the conversation has no room for another frame: {ANSWER_NOW}")
            count = fewer

    def fit_text(self, wanted: int, build: Callable[[int], list[Block]]) -> list[Block]:
        """A reply of text with as many items as the budget has room for.

        Args:
            wanted: Items at most.
            build: Makes the reply with so many items; asked again with fewer while it is too long.

        Raises:
            ToolError: The budget has no room for a single item.
        """
        count = wanted
        while self.budget.excess(reply := build(count)):
            if count <= 1:
                raise ToolError(f"the conversation has no room for the reply: {ANSWER_NOW}")
            count //= 2
        return reply

    def close(self) -> None:
        """Closes the videos that were opened; a library that others use keeps their frames."""
        while self._open:
            self._open.popitem()[1].close()
        if self._own_library is not None:
            self._own_library.close()
            self._own_library = None

    def __enter__(self) -> ToolContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def count_frames(count: int) -> str:
    """How replies tell a number of frames.

    >>> count_frames(1), count_frames(2)
    ('1 frame', '2 frames')
    """
    return f"{count} frame" if count == 1 else f"{count} frames"


def frame_blocks(frames: Iterable[Frame], *, video: str, labels: str = "seconds") -> list[Block]:
    """Frames as content blocks, the same way wherever a model is shown a video.

    Args:
        frames: In the order in which they are shown.
        video: The name that the model knows the video by.
        labels: ``"seconds"`` for a text such as ``12.5s`` before each frame, ``"none"`` for images alone.
    """
    blocks: list[Block] = []
    for frame in frames:
        if labels == "seconds":
            blocks.append(text_block(f"{format_seconds(frame.time)}s"))
        block: ImageBlock = {"type": "image", "image": frame.image, "time": frame.time, "video": video}
        if frame.region is not None:
            block["region"] = list(frame.region)
        blocks.append(block)
    return blocks
