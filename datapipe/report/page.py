"""The report as a web page of one file, and as rows for a terminal.

::

    write_page(figures, "report.html", title="runs/demo")

The page holds its plots, asks no server and runs no script. Reasons and errors in it are escaped: they may quote what
a model wrote.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from datapipe.report.charts import bar_chart
from datapipe.report.figures import BINS, LENGTH_EDGES, Figures, QuestionFigures, TraceFigures

_DROPPED, _FAILED = "#d9822b", "#c0392b"


def write_page(figures: Figures, path: str | Path, *, title: str) -> None:
    """Writes the page.

    Args:
        figures: What it shows.
        path: The file.
        title: Names the run.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True
    )
    page = environment.get_template("report.html.jinja").render(
        title=title,
        steps=step_rows(figures),
        reasons=[
            (step.name, [(kind, reason, count) for kind, reason, count in step.reasons], _reason_chart(step.reasons))
            for step in figures.steps
            if step.reasons
        ],
        questions=[(name, question_rows(own), _question_charts(own)) for name, own in figures.questions.items()],
        traces=[(name, trace_rows(own), _trace_charts(own)) for name, own in figures.traces.items()],
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


STEP_COLUMNS = ("step", "units", "kept", "dropped", "failed", "yield", "replies", "tokens", "cost $")


def step_rows(figures: Figures) -> list[list[str]]:
    """A row for each step, in the columns of :data:`STEP_COLUMNS`; yield is kept of all outcomes."""
    rows = []
    for step in figures.steps:
        own = step.counts
        total = own.kept + own.dropped + own.failed
        share = f"{own.kept / total:.0%}" if total else "–"
        tokens = own.prompt_tokens + own.completion_tokens
        numbers = (own.units, own.kept, own.dropped, own.failed)
        rows.append([step.name, *map(str, numbers), share, str(own.replies), f"{tokens:,}", f"{own.cost:.2f}"])
    return rows


def question_rows(figures: QuestionFigures) -> list[tuple[str, str]]:
    """What is to be said of a step's questions, as pairs of a name and a value."""
    rows = [
        ("questions", f"{figures.count} about {figures.videos} videos"),
        ("window as a share of its video, mean", f"{figures.share_of_video:.1%}"),
        ("asked twice of one video", str(figures.same_in_video)),
        ("nearly alike in one video", str(figures.like_in_video)),
        ("same words about another video", str(figures.same_elsewhere)),
    ]
    if figures.blind:
        rows.append(("answered without the video", f"{figures.leaked} of {figures.blind} that were asked"))
    rows += [(f"overlap with {name}", str(count)) for name, count in figures.benchmarks.items()]
    if (own := figures.agreement) is not None:
        rows += [
            ("IoU with the true window, mean", f"{own.mean_iou:.3f} over {own.windows}"),
            ("windows that overlap it by half", f"{own.share:.0%}"),
            ("true question asked, answer right", f"{own.same_answer} of {own.same_question}"),
        ]
    return rows


def trace_rows(figures: TraceFigures) -> list[tuple[str, str]]:
    """The same of a step's traces."""
    iou = "no trace has both" if figures.mean_iou is None else f"{figures.mean_iou:.3f}"
    rows = [
        ("traces", str(figures.count)),
        ("right answers", f"{figures.right} of {figures.scored} with a verdict"),
        ("IoU of the last window with the reference, mean", iou),
        ("in the form that is trained", str(figures.well_formed)),
    ]
    return [*rows, ("teacher was told the reference", str(figures.told))] if figures.told else rows


def _reason_chart(reasons: list[tuple[str, str, int]]) -> str:
    failed = {reason: float(count) for kind, reason, count in reasons if kind == "failed"}
    others = {reason: float(count) for kind, reason, count in reasons if kind != "failed"}
    return bar_chart(others, colour=_DROPPED) + bar_chart(failed, colour=_FAILED)


def _question_charts(figures: QuestionFigures) -> list[tuple[str, str]]:
    edges = [f"{start:g} to {end:g} s" for start, end in pairwise(LENGTH_EDGES)] + [f"from {LENGTH_EDGES[-1]:g} s"]
    tenths = [f"{100 * place // BINS} to {100 * (place + 1) // BINS} %" for place in range(BINS)]
    charts: list[tuple[str, Any]] = [
        ("Question types", figures.types),
        ("Window lengths", dict(zip(edges, figures.lengths, strict=True))),
        ("Where windows lie in their videos", dict(zip(tenths, figures.places, strict=True))),
    ]
    return [(title, bar_chart(values)) for title, values in charts]


def _trace_charts(figures: TraceFigures) -> list[tuple[str, str]]:
    return [("Windows looked at", bar_chart(figures.calls)), ("How they ended", bar_chart(figures.stop_reasons))]
