"""Cuts as segments, the short ones merged with what follows.

>>> merge_short(spans_between([4.0, 12.0, 40.0], 60.0), 10.0)
[TimeSpan(start=0.0, end=12.0), TimeSpan(start=12.0, end=40.0), TimeSpan(start=40.0, end=60.0)]

Segments cover the whole film and do not overlap: the last one ends with it, to the last fraction of a second.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

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


def split_long(span: TimeSpan, max_seconds: float, shortest: float = 1.0) -> Iterator[TimeSpan]:
    """Pieces of at most ``max_seconds``, one after the other; the last one ends with the span.

    Args:
        span: A segment.
        max_seconds: Of a piece.
        shortest: A rest shorter than this many seconds is given to the piece before it.
    """
    start = span.start
    while span.end - start > max_seconds + shortest:
        yield TimeSpan(start, start + max_seconds)
        start += max_seconds
    yield TimeSpan(start, span.end)
