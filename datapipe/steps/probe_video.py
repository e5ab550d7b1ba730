"""``probe_video``: opens a video file and records its length and size; the first step of a pipeline.

::

    "lectures/01.mp4"  ->  VideoRecord(id="01-8f2c...", path="/data/lectures/01.mp4", duration=3601.2, ...)

Only the container is read: damage in the middle of a file shows when frames are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datapipe.records import Dropped, Kept, Outcome, VideoFile, VideoRecord, video_id
from datapipe.step import Step


@dataclass(frozen=True)
class ProbeVideo(Step[str | VideoFile, VideoRecord]):
    """Opens a video file and records its length and size.

    Args:
        min_seconds: Shorter videos are dropped.
    """

    name, version = "probe_video", 1
    min_seconds: float = 0.0

    def process(self, record: str | VideoFile) -> Outcome[VideoRecord]:
        """A file that cannot be read is a failure, one that is too short is dropped."""
        from longvt_plugins.video import Video

        file = VideoFile(record) if isinstance(record, str) else record
        path = Path(file.path).absolute()
        with Video.open(path) as video:
            if video.duration < self.min_seconds:
                return Dropped(f"shorter than {self.min_seconds:g} s")
            return Kept(
                VideoRecord(
                    id=video_id(path, file.place or file.path),
                    path=str(path),
                    duration=video.duration,
                    width=video.width,
                    height=video.height,
                    size_bytes=path.stat().st_size,
                )
            )
