"""Moments and spans that a model writes, checked against the length of the video.

>>> check_moment("timestamp", 70.0, 64.0)
Traceback (most recent call last):
longvt_plugins.errors.ToolError: timestamp 70 is outside the video, which lasts from 0 to 64 seconds
"""

from __future__ import annotations

from longvt_plugins.errors import ToolError
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.sampling import format_seconds


def check_moment(name: str, moment: float, duration: float) -> None:
    """Refuses a moment outside the video.

    Args:
        name: Of the argument.
        moment: Seconds, as the model wrote them.
        duration: Of the video, in seconds.

    Raises:
        ToolError: It lies before the start, or at the end or later.
    """
    if not 0 <= moment < duration:
        length = format_seconds(duration)
        raise ToolError(f"{name} {moment:g} is outside the video, which lasts from 0 to {length} seconds")


def read_span(start_time: float, end_time: float, duration: float) -> TimeSpan:
    """A part of a video as a model names it; an end past the video is moved to its end.

    Raises:
        ToolError: It starts outside the video, or does not end after its start.
    """
    check_moment("start_time", start_time, duration)
    if end_time <= start_time:
        raise ToolError(f"end_time {end_time:g} must be later than start_time {start_time:g}")
    return TimeSpan(start_time, min(end_time, duration))
