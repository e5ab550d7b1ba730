"""``crop_video``: look closer at a span of a video. The tool that LongVT's checkpoints were trained to call.

The window that was shown is said in the reply, so that a model whose window was cut at the end of the
video, or thinned by the budget, knows what it has seen.
"""

from __future__ import annotations

from longvt_plugins.errors import ToolError
from longvt_plugins.hookspecs import RegisterTool, hookimpl
from longvt_plugins.tools.context import ToolContext
from longvt_plugins.types import Block, TimeSpan
from longvt_plugins.video.sampling import format_seconds


def crop_video(ctx: ToolContext, video_path: str, start_time: float, end_time: float) -> list[Block]:  # noqa: D417 - ctx is hidden
    """Look closer at a part of the video: returns frames sampled densely between two times.

    Args:
        video_path: Name of the video, as given in the question.
        start_time: Where the part starts, in seconds from the start of the video.
        end_time: Where the part ends, in seconds from the start of the video.

    Returns:
        The frames of that part, each after its time in seconds.
    """
    video = ctx.open(video_path)
    length = format_seconds(video.duration)
    if start_time < 0 or start_time >= video.duration:
        raise ToolError(f"start_time {start_time:g} is outside the video, which lasts from 0 to {length} seconds")
    if end_time <= start_time:
        raise ToolError(f"end_time {end_time:g} must be later than start_time {start_time:g}")
    span = TimeSpan(start_time, min(end_time, video.duration))
    wanted = ctx.crop.count(span, video=video)

    def show(count: int) -> list[Block]:
        frames = video.frames(ctx.crop.times(span, count, video=video), ctx.crop)
        shown = f"{_frames(len(frames))} from {format_seconds(span.start)}s to {format_seconds(span.end)}s"
        if end_time > video.duration:
            shown += f" (the video ends at {length}s)"
        if count < wanted:
            shown += f" (thinned: {_frames(count)} left of the budget)"
        return [ctx.text(f"{shown}:"), *ctx.frames(frames, video=video_path, labels=ctx.crop.labels)]

    return ctx.fit(wanted, show)


def _frames(count: int) -> str:
    return f"{count} frame" if count == 1 else f"{count} frames"


@hookimpl
def register_tools(register: RegisterTool) -> None:  # noqa: D103 - the hook's own docstring says it
    register(crop_video)
