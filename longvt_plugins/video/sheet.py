"""A contact sheet: frames of a video side by side, each over its second, for a person to look at.

::

    contact_sheet(video, frames=24, columns=6).save("sheet.jpg")
    contact_sheet(video, TimeSpan(60, 120), frames=12)

A frame that damage has touched says so beside its second. The picture is never larger than ``MAX_SIDE`` both ways.
It is not what a model sees: that are frames one by one, as :mod:`longvt_plugins.tools.context` makes them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.sampling import FrameSampling, format_seconds

if TYPE_CHECKING:
    from PIL import Image

    from longvt_plugins.video.video import Frame, Video

MAX_SIDE = 8192
"""Pixels; viewers of pictures and JPEG itself have bounds not far above."""

MAX_FRAMES = 256

TILE = 320 * 180
"""Pixels of a frame on the sheet, where that many fit; frames are never enlarged."""

_MIN_TILE = 48
"""Pixels of the shorter side below which nobody recognises anything."""

_STRIP, _TEXT, _GAP = 18, 14, 4
"""Pixels: height of the line below a frame, of its text, and between frames."""

_BACKGROUND, _INK, _WARNING = "black", "white", "orange"


def contact_sheet(
    video: Video, span: TimeSpan | None = None, *, frames: int = 24, columns: int | None = None
) -> Image.Image:
    """Draws the sheet.

    Args:
        video: Read from the start of the span to its end, once.
        span: The whole video by default.
        frames: How many, evenly spread; fewer where the span does not have so many.
        columns: Frames side by side; by default so that the sheet is about as wide as high.

    Raises:
        ConfigError: Too many frames, or more than fit on a sheet in so many columns.
        OutsideVideoError: The span leaves the video.
        VideoError: A frame cannot be read.
    """
    if not 1 <= frames <= MAX_FRAMES:
        raise ConfigError(f"a sheet has 1 to {MAX_FRAMES} frames, not {frames}")
    if columns is not None and not 1 <= columns <= frames:
        raise ConfigError(f"a sheet of {frames} frames has 1 to {frames} columns, not {columns}")
    span = span if span is not None else TimeSpan(0, video.duration)
    area = _tile_area(video.width, video.height, frames, columns)
    sampling = FrameSampling(min_frames=frames, max_frames=frames, min_pixels=1, max_pixels=area, factor=2)
    shown = {frame.time: frame for frame in video.clip(span, sampling)}  # Of a frame that came twice, one.
    tiles = [shown[time] for time in sorted(shown)]
    return _draw(tiles, columns or _columns(tiles[0].width, tiles[0].height, len(tiles)))


def _columns(width: int, height: int, frames: int) -> int:
    return min(frames, max(1, round(math.sqrt(frames * (height + _STRIP) / width))))


def _tile_area(width: int, height: int, frames: int, columns: int | None) -> int:
    """Pixels of a frame, so that all of them fit.

    Raises:
        ConfigError: They would be too small to see anything.
    """
    columns = columns or _columns(width, height, frames)
    rows = math.ceil(frames / columns)
    room = (MAX_SIDE / columns - _GAP) / width, (MAX_SIDE / rows - _GAP - _STRIP) / height
    scale = min(1.0, math.sqrt(TILE / (width * height)), *room)
    if scale < 1 and scale * min(width, height) < _MIN_TILE:
        raise ConfigError(
            f"{frames} frames of {width}x{height} in {columns} columns do not fit on a sheet of "
            f"{MAX_SIDE}x{MAX_SIDE} pixels: ask for fewer frames, or another number of columns"
        )
    return max(4, math.floor(scale * width) * math.floor(scale * height))


def _draw(tiles: list[Frame], columns: int) -> Image.Image:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_TEXT)
    labels = [f"{format_seconds(frame.time)}s{'' if frame.exact else ' damaged'}" for frame in tiles]
    # A label may be wider than a small frame.
    width = max(tiles[0].width, *(math.ceil(font.getlength(label)) + _GAP for label in labels)) + _GAP
    height = tiles[0].height + _STRIP + _GAP
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (columns * width, rows * height), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for number, (frame, label) in enumerate(zip(tiles, labels, strict=True)):
        left, top = number % columns * width, number // columns * height
        sheet.paste(frame.image, (left, top))
        pen.text((left + 2, top + frame.height), label, fill=_INK if frame.exact else _WARNING, font=font)
    return sheet
