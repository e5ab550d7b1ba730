"""``zoom_region``: part of one frame at the resolution of the file, for what is too small in a crop.

A region is named in thousandths of the frame's width and height, from its top left corner. The model sees frames that
were made smaller, by factors that it does not know, so that pixels would mean nothing to it; thousandths are also what
Qwen3-VL points with. The picture is never larger than ``max_pixels``, and is enlarged only where it is smaller than
the smallest frame.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from longvt_plugins.errors import ToolError
from longvt_plugins.hookspecs import RegisterTool, hookimpl
from longvt_plugins.tools.context import ToolContext
from longvt_plugins.tools.moments import check_moment
from longvt_plugins.types import Block
from longvt_plugins.video.sampling import FrameSampling, format_seconds

WHOLE = 1000
"""The width and the height of a frame, in the units of a box."""

MAX_PIXELS = 512 * 28 * 28
"""512 visual tokens of Qwen2.5-VL: a sixteenth of a full crop, and all of a region of 800x500 pixels."""


Area = Annotated[int, Field(ge=28 * 28)]


def zoom_region(  # noqa: D417 - ctx is hidden
    ctx: ToolContext, video_path: str, timestamp: float, bbox: list[float], *, max_pixels: Area = MAX_PIXELS
) -> list[Block]:
    """Look closer at one region of one frame, at the full resolution of the video.

    Args:
        video_path: Name of the video, as given in the question.
        timestamp: Time of the frame, in seconds from the start of the video.
        bbox: The region as [left, top, right, bottom], in thousandths of the frame's width and height; the whole frame
            is [0, 0, 1000, 1000].
        max_pixels: Largest area of the picture in pixels; a larger region is made smaller.

    Returns:
        The region, after its time in seconds.
    """
    video = ctx.open(video_path)
    check_moment("timestamp", timestamp, video.duration)
    left, top, right, bottom = _check_box(bbox)

    def show(_count: int) -> list[Block]:
        whole = video.frame_at(timestamp)
        across, down = whole.width / WHOLE, whole.height / WHOLE
        # Rounding may carry an edge of 1000 past the frame by the last bit.
        edges = (left * across, top * down, min(right * across, whole.width), min(bottom * down, whole.height))
        frame = whole.crop(edges)
        sides = f"{frame.width}x{frame.height} of {whole.width}x{whole.height} pixels"
        said = f"the region {_told(bbox)} at {format_seconds(timestamp)}s, {sides}:"
        area = max(max_pixels, ctx.crop.min_pixels)
        while True:
            size = FrameSampling(min_pixels=ctx.crop.min_pixels, max_pixels=area, factor=ctx.crop.factor)
            shown = frame.resized(size.size(frame.width, frame.height))
            reply = [ctx.text(said), *ctx.frames([shown], video=video_path, labels=ctx.crop.labels)]
            # One picture cannot be thinned as frames can: where the budget is short it is made smaller.
            if not ctx.budget.excess(reply) or area == ctx.crop.min_pixels:
                return reply
            area = max(area // 2, ctx.crop.min_pixels)

    return ctx.fit(1, show)


def _check_box(bbox: list[float]) -> tuple[float, float, float, float]:
    if len(bbox) != 4:
        raise ToolError(f"bbox must be four numbers, [left, top, right, bottom], not {len(bbox)}")
    left, top, right, bottom = bbox
    if not (0 <= left < right <= WHOLE and 0 <= top < bottom <= WHOLE):
        raise ToolError(
            f"bbox {_told(bbox)} is no region of the frame: it must be [left, top, right, bottom] in thousandths, "
            f"0 <= left < right <= {WHOLE} and 0 <= top < bottom <= {WHOLE}"
        )
    return left, top, right, bottom


def _told(bbox: list[float]) -> str:
    return f"[{', '.join(f'{edge:g}' for edge in bbox)}]"


@hookimpl
def register_tools(register: RegisterTool) -> None:  # noqa: D103 - the hook's own docstring says it
    register(zoom_region)
