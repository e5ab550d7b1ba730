"""What a model is shown of a part of a video: frames with their seconds, and what was said meanwhile.

::

    blocks = await watch(context, record.path, TimeSpan(12, 22), CLIP)
    said = subtitles_between(lines, TimeSpan(12, 22))            # "Welcome back. Today we ..."

Frames come from this project's reader, decoded where they are used; no temporary files, no other program.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datapipe.context import StepContext
from datapipe.records import VideoRecord
from longvt_plugins.subtitles import Line, read_subtitle_file
from longvt_plugins.tools.context import frame_blocks
from longvt_plugins.types import Block, TimeSpan
from longvt_plugins.video.sampling import FrameSampling

VIDEO_NAME = "video_1.mp4"
"""What a model calls the video, whatever its file is called."""

LONGEST_SUBTITLES = 4000
"""Characters of subtitles for one prompt; ten seconds of speech have about 200."""


async def watch(context: StepContext, path: str, span: TimeSpan, sampling: FrameSampling) -> list[Block]:
    """Frames of a part of a video as content blocks, each after its second.

    Args:
        context: Of the record.
        path: The video file.
        span: Cut at the end of the video.
        sampling: How frames are taken.

    Raises:
        VideoError: It cannot be read.
    """

    def read() -> list[Block]:
        with context.videos.open(path) as video:
            inside = TimeSpan(min(span.start, video.duration), min(span.end, video.duration))
            return frame_blocks(video.clip(inside, sampling), video=VIDEO_NAME, labels=sampling.labels)

    return await context.in_thread(read)


async def subtitle_lines(context: StepContext, videos: Sequence[VideoRecord]) -> tuple[Line, ...]:
    """The subtitles of a video that has some; nothing for others.

    Args:
        context: Of the record.
        videos: The video's own record, as ``context.beside`` has it; nothing where it is not known.

    Raises:
        VideoError: The file is there, but no subtitles can be read from it.
    """
    for video in videos:
        if video.subtitles_path is not None:
            return await context.in_thread(read_subtitle_file, Path(video.subtitles_path))
    return ()


def subtitles_between(lines: Sequence[Line], span: TimeSpan) -> str:
    """What was said in a part of a video; a line that begins before it or ends after it counts."""
    said = " ".join(line.text for line in lines if line.start < span.end and line.end > span.start)
    return said[:LONGEST_SUBTITLES]
