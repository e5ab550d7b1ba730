"""What goes through the pipeline: the records of each stage, and the outcomes of a step.

::

    VideoFile -> VideoRecord -> Segment -> Caption -> Event -> QAPair -> Trace
                                                   -> Summary

    segment = Segment.of(video, start=12.0, end=30.5)
    segment.id                  # 'talk-7f88ce0e21fbe1c6.segment-9b1d...': from the video and the place in it
    segment.provenance          # which step, model, prompts, seed, cost, parents: filled in by whoever ran the step

No pixels are carried: a record says where frames are, and whoever needs them decodes them.
"""

from datapipe.records.outcome import Dropped, Failed, Kept, Outcome
from datapipe.records.provenance import Provenance, content_digest, digest, stable_number
from datapipe.records.stages import (
    Caption,
    Clip,
    Event,
    QAPair,
    Record,
    Segment,
    Summary,
    SummaryPart,
    Trace,
    Verdict,
)
from datapipe.records.video import ID_CHUNK, VideoFile, VideoRecord, file_digest, subtitles_beside, video_id

__all__ = [
    "ID_CHUNK",
    "Caption",
    "Clip",
    "Dropped",
    "Event",
    "Failed",
    "Kept",
    "Outcome",
    "Provenance",
    "QAPair",
    "Record",
    "Segment",
    "Summary",
    "SummaryPart",
    "Trace",
    "Verdict",
    "VideoFile",
    "VideoRecord",
    "content_digest",
    "digest",
    "file_digest",
    "stable_number",
    "subtitles_beside",
    "video_id",
]
