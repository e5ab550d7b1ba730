"""``get_frames``: look at single moments, as many as are named, wherever they lie.

One call shows what would take ``crop_video`` one call a moment. Frames have the size that those of ``crop_video`` have.
"""

from __future__ import annotations

from longvt_plugins.errors import ToolError
from longvt_plugins.hookspecs import RegisterTool, hookimpl
from longvt_plugins.tools.context import ToolContext, count_frames
from longvt_plugins.tools.moments import check_moment
from longvt_plugins.types import Block


def get_frames(ctx: ToolContext, video_path: str, timestamps: list[float]) -> list[Block]:  # noqa: D417 - ctx is hidden
    """Look at single moments of the video: returns one frame for each time.

    Args:
        video_path: Name of the video, as given in the question.
        timestamps: The times to look at, in seconds from the start of the video.

    Returns:
        The frames in order of time, each after its time in seconds.
    """
    video = ctx.open(video_path)
    if not timestamps:
        raise ToolError("timestamps is empty: name at least one time in seconds, such as [12.5]")
    if len(timestamps) > ctx.crop.max_frames:
        raise ToolError(f"timestamps has {len(timestamps)} times, and at most {ctx.crop.max_frames} are shown at once")
    for time in timestamps:
        check_moment("timestamp", time, video.duration)
    times = sorted(set(timestamps))

    def show(count: int) -> list[Block]:
        frames = video.frames(times[:count], ctx.crop)
        shown = count_frames(len(frames))
        if count < len(times):
            shown += f" (of {len(times)}: {count_frames(count)} left of the budget)"
        return [ctx.text(f"{shown}:"), *ctx.frames(frames, video=video_path, labels=ctx.crop.labels)]

    return ctx.fit(len(times), show)


@hookimpl
def register_tools(register: RegisterTool) -> None:  # noqa: D103 - the hook's own docstring says it
    register(get_frames)
