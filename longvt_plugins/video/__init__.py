"""Reading frames from video files, by time."""

from longvt_plugins.video.sampling import CROP, OVERVIEW, FrameSampling, format_seconds
from longvt_plugins.video.video import Frame, Video, VideoReader

__all__ = ["CROP", "OVERVIEW", "Frame", "FrameSampling", "Video", "VideoReader", "format_seconds"]
