"""An example plugin: one tool, one judge, one pipeline step, one video reader and one observer.

::

    zoom_pixels     tool: part of one frame, as large as the video has it
    contains        judge: right when the reference is a word of the answer
    drop_portrait   step: drops videos that are higher than wide
    gif             reader: animated GIFs, through Pillow
    tool_called     observer: a line for every call, in the file that LONGVT_ZOOM_LOG names
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from datapipe import Dropped, Kept, Outcome, Step, VideoRecord
from longvt_plugins import Frame, Judgement, ToolContext, ToolError, hookimpl
from longvt_plugins.errors import ConfigError, NotAVideoError
from longvt_plugins.judges import Judge, JudgeConfig


def zoom_pixels(ctx: ToolContext, video_path: str, timestamp: float, bbox: list[float]) -> list:
    """Zoom into one region of one frame.

    Args:
        video_path: Name of the video, as given in the question.
        timestamp: Time in seconds from the start of the video.
        bbox: [left, top, right, bottom] in pixels.
    """
    video = ctx.open(video_path)
    if not 0 <= timestamp < video.duration:
        raise ToolError(f"timestamp {timestamp:g} is outside the video, which lasts {video.duration:g} seconds")
    ctx.budget.grant_frames(1)
    frame = video.frame_at(timestamp)
    if not frame.contains(bbox):
        raise ToolError(f"bbox {bbox} is outside the {frame.width}x{frame.height} frame")
    return [ctx.text(f"{timestamp:g}s, region {bbox}:"), ctx.image(frame.crop(bbox), video=video_path)]


def contains_judge(config: JudgeConfig) -> Judge:
    """A judge without a server. It takes no options, and says so rather than ignoring them."""
    if config.options:
        raise ConfigError(f"judge 'contains' takes no options, not {', '.join(config.options)}")

    async def judge(
        question: str,
        reference: str,
        prediction: str,
        *,
        options: Sequence[str] | None = None,
        kind: str | None = None,
    ) -> Judgement:
        right = reference.lower() in prediction.lower().split()
        return Judgement(float(right), "correct" if right else "wrong", fingerprint="contains/1")

    return judge


@dataclass(frozen=True)
class DropPortrait(Step[VideoRecord, VideoRecord]):
    """Drops videos that are higher than wide.

    Args:
        max_ratio: Height over width that is still kept.
    """

    name, version = "drop_portrait", 1
    max_ratio: float = 1.0

    def process(self, record: VideoRecord) -> Outcome[VideoRecord]:
        """Keeps the record as it is, or drops it."""
        return Kept(record) if record.height <= self.max_ratio * record.width else Dropped("portrait")


class GifReader:
    """Animated GIFs: each picture is on screen for the time that the file gives it."""

    def __init__(self, path: Path) -> None:
        from PIL import Image, UnidentifiedImageError

        try:
            self._image = Image.open(path, formats=["GIF"])
        except UnidentifiedImageError:
            raise NotAVideoError(f"{path} is not a GIF") from None
        self._starts: list[float] = []
        self.duration = 0.0
        for number in range(self._image.n_frames):
            self._image.seek(number)
            self._starts.append(self.duration)
            # Browsers show a picture without a duration for a tenth of a second.
            self.duration += (self._image.info.get("duration") or 100) / 1000
        self.width, self.height = self._image.size

    def frames(self, times: Iterable[float]) -> Iterator[Frame]:
        """The picture that is on screen at each time."""
        for time in times:
            number = bisect_right(self._starts, time) - 1
            self._image.seek(number)
            yield Frame(self._image.convert("RGB"), self._starts[number])

    def close(self) -> None:
        """Closes the file."""
        self._image.close()


@hookimpl
def register_tools(register):
    """A tool that a model may call."""
    register(zoom_pixels)


@hookimpl
def register_judges(register):
    """A judge that recipes may name."""
    register("contains", contains_judge)


@hookimpl
def register_steps(register):
    """A step that pipelines may name."""
    register(DropPortrait)


@hookimpl
def register_video_readers(register):
    """A reader that decodes what the built-in one is not asked to."""
    register("gif", GifReader)


@hookimpl
def tool_called(call, outcome, seconds):
    """Writes one line a call, where the user asks for it."""
    if log := os.environ.get("LONGVT_ZOOM_LOG"):
        ended = type(outcome).__name__ if isinstance(outcome, Exception) else f"{len(outcome)} blocks"
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{call.name} {ended}\n")
