"""Cuts as segments, the short ones merged with what follows.

>>> merge_short(spans_between([4.0, 12.0, 40.0], 60.0), 10.0)
[TimeSpan(start=0.0, end=12.0), TimeSpan(start=12.0, end=40.0), TimeSpan(start=40.0, end=60.0)]

Segments cover the whole film and do not overlap: the last one ends with it, to the last fraction of a second.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from longvt_plugins.types import TimeSpan


def spans_between(cuts: Iterable[float], duration: float) -> list[TimeSpan]:
    """The segments of a film between its cuts.

    Args:
        cuts: Seconds in any order; those outside of the film are left out.
        duration: Seconds of the film.
    """
    inside = sorted({cut for cut in cuts if 0 < cut < duration})
    edges = [0.0, *inside, duration]
    return [TimeSpan(start, end) for start, end in itertools.pairwise(edges)]


def merge_short(spans: Sequence[TimeSpan], min_seconds: float) -> list[TimeSpan]:
    """Merges consecutive segments as long as the first of them is shorter than ``min_seconds`` (LongVT, section 3).

    Args:
        spans: Neighbours, in order.
        min_seconds: A short rest at the end joins the segment before it.
    """
    merged: list[TimeSpan] = []
    for span in spans:
        if merged and merged[-1].seconds < min_seconds:
            merged[-1] = TimeSpan(merged[-1].start, span.end)
        else:
            merged.append(span)
    if len(merged) > 1 and merged[-1].seconds < min_seconds:
        last = merged.pop()
        merged[-1] = TimeSpan(merged[-1].start, last.end)
    return merged


def split_long(span: TimeSpan, max_seconds: float) -> list[TimeSpan]:
    """A segment in as few equal pieces as are no longer than ``max_seconds``; the last one ends with it.

    Equal ones, since of 20.5 s in pieces of ten half a second would be left.
    """
    count = max(1, math.ceil(span.seconds / max_seconds - 1e-9))
    edges = [span.start + place * span.seconds / count for place in range(count)]
    return [TimeSpan(start, end) for start, end in itertools.pairwise([*edges, span.end])]
