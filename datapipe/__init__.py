"""The data pipeline: steps that turn videos into questions, answers and traces.

A step takes one record and ends in an outcome, and a bad record never ends a run::

    @dataclass(frozen=True)
    class DropShort(Step[VideoRecord, VideoRecord]):
        name, version = "drop_short", 1
        min_seconds: float = 2.0

        def process(self, record: VideoRecord) -> Outcome[VideoRecord]:
            return Kept(record) if record.duration >= self.min_seconds else Dropped("shorter than min_seconds")

Built-in steps come in through the same plugin hook as everybody's, ``register_steps``.
"""

from datapipe.records import Dropped, Failed, Kept, Outcome, VideoFile, VideoRecord, video_id
from datapipe.step import Step

__all__ = ["Dropped", "Failed", "Kept", "Outcome", "Step", "VideoFile", "VideoRecord", "video_id"]
