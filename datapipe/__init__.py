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

from datapipe.context import StepContext
from datapipe.estimate import Amount, Estimate
from datapipe.records import (
    Caption,
    Dropped,
    Event,
    Failed,
    Kept,
    Outcome,
    Provenance,
    QAPair,
    Record,
    Segment,
    Summary,
    SummaryPart,
    Trace,
    Verdict,
    VideoFile,
    VideoRecord,
    video_id,
)
from datapipe.step import ContextStep, Outcomes, Step, VideoGroup
from datapipe.toolbox import Toolbox

__all__ = [
    "Amount",
    "Caption",
    "ContextStep",
    "Dropped",
    "Estimate",
    "Event",
    "Failed",
    "Kept",
    "Outcome",
    "Outcomes",
    "Provenance",
    "QAPair",
    "Record",
    "Segment",
    "Step",
    "StepContext",
    "Summary",
    "SummaryPart",
    "Toolbox",
    "Trace",
    "Verdict",
    "VideoFile",
    "VideoGroup",
    "VideoRecord",
    "video_id",
]
