"""Temporal overlap between a predicted and a reference time span.

>>> iou(TimeSpan(10, 20), TimeSpan(15, 25))
0.3333333333333333
>>> recall(TimeSpan(0, 100), TimeSpan(15, 25))
1.0

Empty spans score 0.0. Nothing is clipped to the video's length: the caller has done it.
"""

from __future__ import annotations

from longvt_plugins.types import TimeSpan


def intersection(a: TimeSpan, b: TimeSpan) -> float:
    """Seconds that two spans share."""
    return max(0.0, min(a.end, b.end) - max(a.start, b.start))


def iou(predicted: TimeSpan, reference: TimeSpan) -> float:
    """Intersection over union, in [0, 1]: the time reward of LongVT (arXiv 2511.20785, section 4)."""
    shared = intersection(predicted, reference)
    union = predicted.seconds + reference.seconds - shared
    return shared / union if union > 0 else 0.0


def recall(predicted: TimeSpan, reference: TimeSpan) -> float:
    """Share of the reference that the prediction covers, in [0, 1]. Inflating the prediction games it."""
    return intersection(predicted, reference) / reference.seconds if reference.seconds > 0 else 0.0
