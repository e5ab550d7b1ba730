"""Bars as SVG, for a page that holds everything it shows.

>>> bar_chart({"count": 12, "order": 3})
'<svg viewBox="0 0 317 44" ...'

Names are escaped: they may come from a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_ROW, _BARS, _NUMBER, _LETTER = 22, 210, 60, 7
"""Pixels: height of a bar, length of the longest one, room for its number, width of a letter."""

_LONGEST_LABEL = 60


def bar_chart(values: Mapping[str, float], *, colour: str = "#4a6fa5") -> str:
    """A bar for each value, from left to right, in their order; empty for no values.

    Args:
        values: By name, none negative.
        colour: Of the bars.
    """
    if not values:
        return ""
    names = [name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…" for name in values]
    left = 12 + _LETTER * max(map(len, names))
    width, height, most = left + _BARS + _NUMBER, _ROW * len(values), max(*values.values(), 1e-9)
    parts = [f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">']
    for row, (name, shown) in enumerate(zip(values, names, strict=True)):
        middle, length = row * _ROW + _ROW / 2, _BARS * values[name] / most
        parts.append(
            f'<text x="{left - 6}" y="{middle + 4:.0f}" font-size="12" text-anchor="end" fill="currentColor">'
            f"<title>{escape(name)}</title>{escape(shown)}</text>"
            f'<rect x="{left}" y="{row * _ROW + 3}" width="{length:.1f}" height="{_ROW - 6}" fill="{colour}"/>'
            f'<text x="{left + length + 5:.1f}" y="{middle + 4:.0f}" font-size="12" fill="currentColor">'
            f"{values[name]:g}</text>"
        )
    return "".join([*parts, "</svg>"])
