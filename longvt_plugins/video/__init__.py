"""Reading frames from video files, by time."""

from longvt_plugins.video.sampling import CROP, OVERVIEW, FrameSampling, format_seconds
from longvt_plugins.video.video import Frame, Video

__all__ = ["CROP", "OVERVIEW", "Frame", "FrameSampling", "Video", "format_seconds"]
