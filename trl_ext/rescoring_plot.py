"""Draws two scorings of the same rollouts as one SVG picture, without a plotting library.

::

    Path("compare.svg").write_text(comparison_svg(new, old, compare(new, old), names=("longvt_recall", "longvt")))

To the left every rollout at its two sums, the area of a dot being the number of rollouts there; to the right how many
groups have which rank correlation. It draws no axis of time and no single rollout by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from trl_ext.rescoring import Comparison, Rescored

PANEL, MARGIN = 300, 60
"""Pixels: each of the two drawings, and the room around it."""

BINS = 10
LARGEST_DOT = 14.0
INK, ACCENT, GREY = "#222", "#3366cc", "#999"


def comparison_svg(new: Rescored, old: Rescored, found: Comparison, *, names: tuple[str, str]) -> str:
    """The picture.

    Args:
        new: Drawn upwards.
        old: Drawn to the right.
        found: Their comparison.
        names: Of the two settings.
    """
    width, height = 2 * PANEL + 4 * MARGIN, PANEL + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}" role="img">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *_sums(new.totals, old.totals, names),
        *_correlations(found),
        "</svg>",
    ]
    return "\n".join(parts)


def _sums(new: Sequence[float | None], old: Sequence[float | None], names: tuple[str, str]) -> list[str]:
    both = [(b, a) for a, b in zip(new, old, strict=True) if a is not None and b is not None]
    dots = Counter((round(x, 2), round(y, 2)) for x, y in both)
    values = [value for dot in dots for value in dot]
    low, high = (min(0.0, *values), max(*values, 1e-9)) if values else (0.0, 1.0)

    def place(x: float, y: float) -> tuple[float, float]:
        scale = PANEL / (high - low)
        return MARGIN + (x - low) * scale, MARGIN + PANEL - (y - low) * scale

    parts = _frame(MARGIN, f"sum of rewards: {names[1]}", f"sum of rewards: {names[0]}", low, high)
    (x1, y1), (x2, y2) = place(low, low), place(high, high)
    parts.append(f'<path d="M{x1:.1f},{y1:.1f}L{x2:.1f},{y2:.1f}" stroke="{GREY}" stroke-dasharray="4"/>')
    most = max(dots.values(), default=1)
    for (x, y), count in sorted(dots.items()):
        left, top = place(x, y)
        radius = max(1.5, LARGEST_DOT * (count / most) ** 0.5)
        parts.append(
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{radius:.1f}" fill="{ACCENT}" fill-opacity="0.45">'
            f"<title>{x:g}, {y:g}: {count}</title></circle>"
        )
    return parts


def _correlations(found: Comparison) -> list[str]:
    left = PANEL + 3 * MARGIN
    counts = Counter(min(BINS - 1, int((value + 1) / 2 * BINS)) for value in found.spearman)
    most = max(counts.values(), default=1)
    parts = _frame(left, "Spearman's rank correlation within a group", f"groups (of {found.groups})", -1, 1, upto=most)
    step = PANEL / BINS
    for place, count in sorted(counts.items()):
        tall = PANEL * count / most
        parts.append(
            f'<rect x="{left + place * step + 1:.1f}" y="{MARGIN + PANEL - tall:.1f}" width="{step - 2:.1f}" '
            f'height="{tall:.1f}" fill="{ACCENT}"><title>{count}</title></rect>'
        )
    return parts


def _frame(left: int, below: str, beside: str, low: float, high: float, *, upto: float | None = None) -> list[str]:
    bottom, top = MARGIN + PANEL, MARGIN
    least, most = (low, high) if upto is None else (0, upto)
    middle = top + PANEL / 2
    return [
        f'<path d="M{left},{top}V{bottom}H{left + PANEL}" fill="none" stroke="{INK}"/>',
        f'<text x="{left}" y="{bottom + 18}" text-anchor="middle">{low:g}</text>',
        f'<text x="{left + PANEL}" y="{bottom + 18}" text-anchor="middle">{high:g}</text>',
        f'<text x="{left - 6}" y="{bottom}" text-anchor="end">{least:g}</text>',
        f'<text x="{left - 6}" y="{top + 4}" text-anchor="end">{most:g}</text>',
        f'<text x="{left + PANEL / 2}" y="{bottom + 40}" text-anchor="middle">{escape(below)}</text>',
        f'<text x="{left - 34}" y="{middle}" text-anchor="middle" '
        f'transform="rotate(-90 {left - 34} {middle})">{escape(beside)}</text>',
    ]
