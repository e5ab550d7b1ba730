"""Overlap and distance of time spans, and of sets of spans such as all windows that a rollout looked at.

>>> iou(TimeSpan(10, 20), TimeSpan(15, 25))
0.3333333333333333
>>> recall(TimeSpan(0, 100), TimeSpan(15, 25))
1.0
>>> iou([TimeSpan(10, 14), TimeSpan(12, 20)], TimeSpan(15, 25))     # a set counts as the union of its spans
0.3333333333333333
>>> iou(TimeSpan(0, 10), TimeSpan(20, 30)), generalised_iou(TimeSpan(0, 10), TimeSpan(20, 30))
(0.0, -0.3333333333333333)
>>> wasserstein(TimeSpan(0, 10), TimeSpan(20, 30))                  # seconds
20.0

Empty spans score 0.0. Nothing is clipped to the video's length: the caller has done it.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from longvt_plugins.types import TimeSpan

Spans = TimeSpan | Iterable[TimeSpan]
"""One span, or a set of spans that stands for the time that they cover together."""

POINT_SECONDS = 1e-6
"""A span shorter than a microsecond counts as a moment: its density would not fit into a float."""


def merged(spans: Spans) -> list[TimeSpan]:
    """The same time as spans that neither touch nor overlap, in order; empty spans are left out."""
    given = [spans] if isinstance(spans, TimeSpan) else spans
    joined: list[TimeSpan] = []
    for span in sorted(span for span in given if span.seconds > 0):
        if joined and span.start <= joined[-1].end:
            joined[-1] = TimeSpan(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def seconds(spans: Spans) -> float:
    """How much time spans cover together."""
    return math.fsum(span.seconds for span in merged(spans))


def intersection(a: Spans, b: Spans) -> float:
    """Seconds that two spans, or sets of them, share."""
    if isinstance(a, TimeSpan) and isinstance(b, TimeSpan):
        return _shared(a, b)
    return math.fsum(_overlaps(merged(a), merged(b)))


def iou(predicted: Spans, reference: Spans) -> float:
    """Intersection over union, in [0, 1]: the time reward of LongVT (arXiv 2511.20785, section 4)."""
    shared = intersection(predicted, reference)
    union = seconds(predicted) + seconds(reference) - shared
    return min(1.0, shared / union) if union > 0 else 0.0


def recall(predicted: Spans, reference: Spans) -> float:
    """Share of the reference that the prediction covers, in [0, 1]. Inflating the prediction games it."""
    wanted = seconds(reference)
    return min(1.0, intersection(predicted, reference) / wanted) if wanted > 0 else 0.0


def generalised_iou(predicted: Spans, reference: Spans) -> float:
    """IoU less the share of the hull that neither covers, in (-1, 1]: it still grows as two spans apart come closer.

    The formula is that of boxes (Rezatofighi et al., arXiv 1902.09630, algorithm 1) in one dimension: the hull is
    the shortest span that holds both. Of a set with gaps the gaps count as covered by neither.
    """
    a, b = merged(predicted), merged(reference)
    if not a or not b:
        return 0.0
    shared = intersection(a, b)
    union = seconds(a) + seconds(b) - shared
    hull = max(a[-1].end, b[-1].end) - min(a[0].start, b[0].start)
    if not math.isfinite(hull):
        return -1.0  # longer than a float can say
    # Rounding may leave the union of touching spans a hair longer than their hull.
    return min(1.0, shared / union) - max(0.0, hull - union) / hull


def wasserstein(predicted: Spans, reference: Spans) -> float:
    """Seconds by which time has to be moved, on average, to make one set of spans the other (1-Wasserstein distance).

    Either set is taken as a uniform distribution over the time it covers; on a line the distance is then the area
    between the two cumulative distributions (Peyre and Cuturi, arXiv 1803.00567, chapter 2). Two spans of one
    length are as far apart as their starts. A span that is empty counts as the moment at which it stands.

    Raises:
        ValueError: A set without any span.
    """
    slopes: defaultdict[float, float] = defaultdict(float)
    jumps: defaultdict[float, float] = defaultdict(float)
    for sign, spans in ((1.0, predicted), (-1.0, reference)):
        for span, share in _shares(spans):
            if span.seconds > POINT_SECONDS:
                slopes[span.start] += sign * share / span.seconds
                slopes[span.end] -= sign * share / span.seconds
            else:
                jumps[span.start] += sign * share
    moments = sorted({*slopes, *jumps})
    if not math.isfinite(moments[-1] - moments[0]):
        return math.inf
    areas = []
    gap = slope = 0.0  # between the cumulative distributions: its value, and how it changes per second
    for here, there in itertools.pairwise(moments):
        gap += jumps[here]
        slope += slopes[here]
        areas.append(_area(gap, gap + slope * (there - here), there - here))
        gap += slope * (there - here)
    return math.fsum(areas)


def _area(left: float, right: float, width: float) -> float:
    """Area under the absolute value of a line from ``left`` to ``right``."""
    sizes = abs(left) + abs(right)
    if left * right >= 0:
        return sizes / 2 * width
    return (left * left + right * right) / (2 * sizes) * width


def _shares(spans: Spans) -> list[tuple[TimeSpan, float]]:
    """Every span with its share of the time that all cover; of empty ones each counts alike."""
    pieces = merged(spans)
    total = math.fsum(piece.seconds for piece in pieces)
    if pieces:
        return [(piece, piece.seconds / total if math.isfinite(total) else 1 / len(pieces)) for piece in pieces]
    moments = [spans] if isinstance(spans, TimeSpan) else list(spans)
    if not moments:
        raise ValueError("a set without any span is at no distance from another")
    return [(moment, 1 / len(moments)) for moment in moments]


def _shared(a: TimeSpan, b: TimeSpan) -> float:
    return max(0.0, min(a.end, b.end) - max(a.start, b.start))


def _overlaps(a: Sequence[TimeSpan], b: Sequence[TimeSpan]) -> list[float]:
    """Seconds that each pair shares, in one pass over both, which are merged."""
    shared, left, right = [], 0, 0
    while left < len(a) and right < len(b):
        shared.append(_shared(a[left], b[right]))
        if a[left].end <= b[right].end:
            left += 1
        else:
            right += 1
    return shared
