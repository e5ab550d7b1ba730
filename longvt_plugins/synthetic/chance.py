"""How right one is about a set of questions without watching any video.

>>> round(chance(rows), 3)          # eight colours, equally frequent
0.125

The best that a constant answer can do: for open questions the share of the most frequent answer, for choices
one in as many as there are, for intervals the mean overlap of the one interval that fits best.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from longvt_plugins.judges.exact import read_interval
from longvt_plugins.rows import Row
from longvt_plugins.temporal import iou
from longvt_plugins.types import TimeSpan

_MAX_CANDIDATES = 200


def chance(rows: Sequence[Row]) -> float:
    """The mean score of the best constant answer.

    Args:
        rows: Of one family; at least one.
    """
    spans = _spans(rows)
    if spans:
        best = best_interval(rows)
        return sum(iou(best, span) for span in spans) / len(spans)
    if all(row["options"] for row in rows):
        return sum(1 / len(row["options"] or ()) for row in rows) / len(rows)
    return Counter(row["answer"] for row in rows).most_common(1)[0][1] / len(rows)


def best_interval(rows: Sequence[Row]) -> TimeSpan:
    """Of the right intervals that which overlaps most with all of them.

    Args:
        rows: Grounding rows, at least one.
    """
    spans = _spans(rows)
    candidates = spans[:: -(-len(spans) // _MAX_CANDIDATES)]
    return max(candidates, key=lambda candidate: sum(iou(candidate, span) for span in spans))


def _spans(rows: Sequence[Row]) -> list[TimeSpan]:
    found = (read_interval(row["answer"]) for row in rows if row["kind"] == "grounding")
    return [span for span in found if span is not None]
