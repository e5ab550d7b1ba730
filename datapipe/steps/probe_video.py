"""``probe_video``: opens a video file and records its length and size; the first step of a pipeline.

::

    "lectures/01.mp4"  ->  VideoRecord(id="01-8f2c...", path="/data/lectures/01.mp4", duration=3601.2, ...)

Only the container is read: damage in the middle of a file shows when frames are decoded.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

from datapipe.records import (
    Dropped,
    Kept,
    Outcome,
    VideoFile,
    VideoRecord,
    file_digest,
    subtitles_beside,
    video_id,
)
from datapipe.step import Step
from longvt_plugins.video.config import VideoConfig
from longvt_plugins.video.library import VideoLibrary


@dataclass(frozen=True)
class ProbeVideo(Step[str | VideoFile, VideoRecord]):
    """Opens a video file and records its length and size.

    Args:
        min_seconds: Shorter videos are dropped.
        video: How files are opened: with ``isolate``, one that hangs or crashes the decoder is a failure like others.
    """

    name, version = "probe_video", 1
    min_seconds: float = 0.0
    video: VideoConfig = field(default_factory=VideoConfig)

    def process(self, record: str | VideoFile) -> Outcome[VideoRecord]:
        """A file that cannot be read is a failure, one that is too short is dropped."""
        file = VideoFile(record) if isinstance(record, str) else record
        path = Path(file.path).absolute()
        with self._library.open(path) as video:
            if video.duration < self.min_seconds:
                return Dropped(f"shorter than {self.min_seconds:g} s")
            subtitles = Path(file.subtitles_path).absolute() if file.subtitles_path else subtitles_beside(path)
            return Kept(
                VideoRecord(
                    id=video_id(path, file.place or file.path),
                    path=str(path),
                    duration=video.duration,
                    width=video.width,
                    height=video.height,
                    size_bytes=path.stat().st_size,
                    subtitles_path=None if subtitles is None else str(subtitles),
                    subtitles_digest=None if subtitles is None else file_digest(subtitles),
                )
            )

    @functools.cached_property
    def _library(self) -> VideoLibrary:
        from longvt_plugins.plugins import create_plugin_manager

        return VideoLibrary(self.video, create_plugin_manager())
