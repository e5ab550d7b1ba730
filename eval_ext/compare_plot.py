"""A comparison as a picture: for every category the difference and its interval, on one line.

::

    Path("compare.svg").write_text(comparison_svg(found, names=("before", "after")))
    Path("compare.html").write_text(comparison_page(found, names=("before", "after")))

Drawn here, without a plotting library; the page holds the picture and the numbers, and loads nothing.
"""

from __future__ import annotations

from html import escape

from eval_ext.compare import Comparison, Paired

WIDTH, LEFT, RIGHT, LINE, TOP = 760, 260, 120, 28, 56
"""Pixels: of the picture, of what stands beside the axis, of one line, and of the heading."""

LONGEST_NAME = 36
INK, ACCENT, GREY = "#222", "#3366cc", "#bbb"


def comparison_svg(found: Comparison, *, names: tuple[str, str]) -> str:
    """The picture.

    Args:
        found: What was compared.
        names: Of the two runs.
    """
    lines = [found.overall, *found.categories]
    reach = max(0.01, *(max(abs(end) for end in line.ci) for line in lines))
    height = TOP + LINE * len(lines) + 40
    zero = _place(0.0, reach)
    bottom = TOP + LINE * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}" role="img">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-weight="bold">{escape(f"{found.metric}: {names[1]} minus {names[0]}")}</text>',
        f'<path d="M{zero:.1f},{TOP - 12}V{bottom}" stroke="{GREY}"/>',
    ]
    for value in (-reach, 0.0, reach):
        parts.append(f'<text x="{_place(value, reach):.1f}" y="{bottom + 20}" text-anchor="middle">{value:+.2f}</text>')
    for number, line in enumerate(lines):
        parts += _line(line, TOP + LINE * number + LINE / 2, reach)
    return "\n".join([*parts, "</svg>"]) + "\n"


def comparison_page(found: Comparison, *, names: tuple[str, str]) -> str:
    """A page with the picture and the numbers.

    Args:
        found: What was compared.
        names: Of the two runs.
    """
    a, b = map(escape, names)
    rows = "\n".join(_row(line) for line in (found.overall, *found.categories))
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{escape(found.metric)}: {b} and {a}</title>
<style>body{{font-family:sans-serif;margin:2em}}td,th{{padding:.2em .8em;text-align:right}}
td:first-child,th:first-child{{text-align:left}}tr:nth-child(even){{background:#f4f4f4}}</style>
<h1>{escape(found.metric)}: {b} minus {a}</h1>
{comparison_svg(found, names=names)}
<table><tr><th>questions of</th><th>n</th><th>{a}</th><th>{b}</th><th>difference</th><th>95 %</th>
<th>only {a}</th><th>only {b}</th><th>p</th></tr>
{rows}</table>
<p>{found.unscored} questions have no score in one of the two; {found.unpaired} are in one alone.</p>
</html>
"""


def _row(line: Paired) -> str:
    cells = [
        escape(line.category or "all"),
        str(line.questions),
        f"{line.a:.3f}",
        f"{line.b:.3f}",
        f"{line.difference:+.3f}",
        f"{line.ci[0]:+.3f} to {line.ci[1]:+.3f}",
        str(line.only_a),
        str(line.only_b),
        f"{line.p:.3g}",
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _line(line: Paired, middle: float, reach: float) -> list[str]:
    low, here, high = (_place(value, reach) for value in (line.ci[0], line.difference, line.ci[1]))
    name = line.category or "all"
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    weight = ' font-weight="bold"' if not line.category else ""
    return [
        f'<text x="{LEFT - 12}" y="{middle + 4:.1f}" text-anchor="end"{weight}>{escape(shown)} '
        f"({line.questions})</text>",
        f'<path d="M{low:.1f},{middle:.1f}H{high:.1f}" stroke="{ACCENT}" stroke-width="2"/>',
        f'<circle cx="{here:.1f}" cy="{middle:.1f}" r="4" fill="{ACCENT}"><title>{line.difference:+.3f}, '
        f"p = {line.p:.3g}</title></circle>",
        f'<text x="{WIDTH - RIGHT + 16}" y="{middle + 4:.1f}">{line.difference:+.3f}, p {line.p:.2g}</text>',
    ]


def _place(value: float, reach: float) -> float:
    wide = WIDTH - LEFT - RIGHT
    return LEFT + wide / 2 + value / reach * wide / 2
