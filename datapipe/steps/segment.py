"""``segment``: a video cut into segments where its shots end.

::

    datapipe step segment --input probed/kept.jsonl --output segments --set detector=adaptive
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from datapipe.estimate import Amount, Estimate
from datapipe.records import Dropped, Kept, Outcome, Segment, VideoRecord
from datapipe.step import Step
from datapipe.steps.scenes.cuts import CutRule, find_cuts
from datapipe.steps.scenes.named import detect_cuts, make_detector
from datapipe.steps.scenes.signals import read_signals
from datapipe.steps.scenes.spans import merge_short, spans_between
from longvt_plugins.errors import ConfigError
from longvt_plugins.video.sampling import FrameSampling, format_seconds

if TYPE_CHECKING:
    from longvt_plugins.video.video import Frame

JPEG_QUALITY = 88

_USUAL_SEGMENT = 20.0
"""Seconds, for estimates."""


@dataclass(frozen=True)
class SegmentVideo(Step[VideoRecord, Segment]):
    """Cuts a video into segments where its shots end.

    Args:
        detector: ``fused`` is this project's own pass; the others are PySceneDetect's, by name.
        settings: Keywords of a PySceneDetect detector.
        rule: What ``fused`` counts as a cut.
        min_seconds: Shorter segments are merged with what follows them (LongVT, 10 s).
        overview: Frames that ``fused`` keeps on its way, at most two frames late.
        overview_dir: Where these are written, as ``<video>/<second>.jpg``.
        time_limit: Seconds that ``fused`` may take for a video; None is no limit.
    """

    name, version = "segment", 1
    detector: Literal["fused", "content", "adaptive", "histogram", "hash", "threshold"] = "fused"
    settings: Mapping[str, Any] = field(default_factory=dict)
    rule: CutRule = field(default_factory=CutRule)
    min_seconds: float = 10.0
    overview: FrameSampling | None = None
    overview_dir: Path | None = None
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if self.detector != "fused":
            make_detector(self.detector, self.settings)
        elif self.settings:
            raise ConfigError("settings are those of a PySceneDetect detector; of detector 'fused' set the rule")
        if (self.overview is None) != (self.overview_dir is None):
            raise ConfigError("overview and overview_dir belong together: what is kept, and where it is written")
        if self.overview is not None and self.detector != "fused":
            raise ConfigError(f"detector {self.detector!r} keeps no overview: use detector 'fused'")

    def process(self, record: VideoRecord) -> list[Outcome[Segment]]:
        """Segments cover the whole video, to its end."""
        if record.duration <= 0:
            return [Dropped("video without length")]
        if self.detector == "fused":
            signals = read_signals(
                record.path, duration=record.duration, overview=self.overview, time_limit=self.time_limit
            )
            cuts = find_cuts(signals, self.rule)
            self._keep(record, signals.overview)
        else:
            cuts = detect_cuts(record.path, self.detector, self.settings)
        spans = merge_short(spans_between(cuts, record.duration), self.min_seconds)
        return [Kept(Segment.of(record, start=span.start, end=span.end)) for span in spans]

    def estimate(self, amount: Amount) -> Estimate:
        """A segment every twenty seconds or so."""
        return Estimate(records=amount.seconds / max(_USUAL_SEGMENT, self.min_seconds))

    def _keep(self, record: VideoRecord, frames: list[Frame]) -> None:
        if self.overview_dir is None:
            return
        folder = self.overview_dir / record.id
        folder.mkdir(parents=True, exist_ok=True)
        for frame in frames:
            frame.image.save(folder / f"{format_seconds(frame.time)}.jpg", "JPEG", quality=JPEG_QUALITY)
