"""``crop_video``: look closer at a span of a video. The tool that LongVT's checkpoints were trained to call.

The window that was shown is said in the reply, so that a model whose window was cut at the end of the
video, or thinned by the budget, knows what it has seen. ``crop_video:fps`` lets the model choose how densely it looks;
without it the schema and the replies are those that checkpoints were trained on.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

from longvt_plugins.errors import ToolError
from longvt_plugins.hookspecs import RegisterTool, hookimpl
from longvt_plugins.tools.context import ToolContext, count_frames
from longvt_plugins.tools.moments import read_span
from longvt_plugins.tools.tool import ON_REQUEST
from longvt_plugins.types import Block
from longvt_plugins.video.sampling import format_seconds

MAX_FPS = 60.0
"""Frames per second that a model may ask for: films have no more, and most have half."""


def crop_video(  # noqa: D417 - ctx is hidden
    ctx: ToolContext,
    video_path: str,
    start_time: float,
    end_time: float,
    fps: Annotated[float | None, ON_REQUEST] = None,
) -> list[Block]:
    """Look closer at a part of the video: returns frames sampled densely between two times.

    Args:
        video_path: Name of the video, as given in the question.
        start_time: Where the part starts, in seconds from the start of the video.
        end_time: Where the part ends, in seconds from the start of the video.
        fps: How many frames to take from each second; more for fast events, fewer for long parts.

    Returns:
        The frames of that part, each after its time in seconds.
    """
    video = ctx.open(video_path)
    span = read_span(start_time, end_time, video.duration)
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise ToolError(f"fps {fps:g} must be more than 0 and at most {MAX_FPS:g} frames per second")
    crop = ctx.crop if fps is None else replace(ctx.crop, fps=fps)
    wanted = crop.count(span, video=video)

    def show(count: int) -> list[Block]:
        frames = video.frames(crop.times(span, count, video=video), crop)
        shown = f"{count_frames(len(frames))} from {format_seconds(span.start)}s to {format_seconds(span.end)}s"
        if end_time > video.duration:
            shown += f" (the video ends at {format_seconds(video.duration)}s)"
        if count < wanted:
            shown += f" (thinned: {count_frames(count)} left of the budget)"
        elif fps is not None and count < math.floor(span.seconds * fps + 1e-6):
            shown += f" (thinned: {count_frames(crop.max_frames)} at most)"
        return [ctx.text(f"{shown}:"), *ctx.frames(frames, video=video_path, labels=crop.labels)]

    return ctx.fit(wanted, show)


@hookimpl
def register_tools(register: RegisterTool) -> None:  # noqa: D103 - the hook's own docstring says it
    register(crop_video)
