"""Bars as SVG, for a page that holds everything it shows.

>>> bar_chart({"count": 12, "order": 3})
'<svg viewBox="0 0 420 66" ...'

Names are escaped: they may come from a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_WIDTH, _ROW, _LABEL, _NUMBER = 420, 22, 150, 60
_LONGEST_LABEL = 26


def bar_chart(values: Mapping[str, float], *, colour: str = "#4a6fa5") -> str:
    """A bar for each value, from left to right, in their order; empty for no values.

    Args:
        values: By name, none negative.
        colour: Of the bars.
    """
    if not values:
        return ""
    height, most = _ROW * len(values), max(*values.values(), 1e-9)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img">']
    for row, (name, value) in enumerate(values.items()):
        middle, length = row * _ROW + _ROW / 2, (_WIDTH - _LABEL - _NUMBER) * value / most
        shown = name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
        parts.append(
            f'<text x="{_LABEL - 6}" y="{middle + 4:.0f}" font-size="12" text-anchor="end" fill="currentColor">'
            f"<title>{escape(name)}</title>{escape(shown)}</text>"
            f'<rect x="{_LABEL}" y="{row * _ROW + 3}" width="{length:.1f}" height="{_ROW - 6}" fill="{colour}"/>'
            f'<text x="{_LABEL + length + 5:.1f}" y="{middle + 4:.0f}" font-size="12" fill="currentColor">'
            f"{value:g}</text>"
        )
    return "".join([*parts, "</svg>"])
