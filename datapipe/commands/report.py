"""``datapipe report``: the quality of what a run has made.

::

    datapipe report runs/demo                                   # a table
    datapipe report runs/demo --html report.html --json report.json
    datapipe report runs/demo --benchmark videosiah=test.parquet --truth truth.parquet

The truth of videos that were made for the run is found in its folder.
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapipe.commands.shared import key_value
from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from longvt_plugins.rows import Row

TABLE_WIDTH = 120
"""Columns, where the table goes to a file."""


def add_parser(commands: Any) -> None:
    """Adds the command's flags."""
    parser = commands.add_parser("report", help="the quality of what a run has made: yield, questions, leaks, windows")
    parser.add_argument("work_dir", type=Path, metavar="WORK_DIR", help="of the run")
    parser.add_argument("--html", type=Path, metavar="FILE", help="writes a page with plots")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes every figure")
    parser.add_argument("--truth", type=Path, metavar="ROWS", help="rows with the right windows of these videos")
    parser.add_argument(
        "--benchmark",
        action="append",
        default=[],
        metavar="NAME=ROWS",
        help="rows of a benchmark, whose questions are looked for; may be given again",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes what was asked for, and the table."""
    from datapipe.report.figures import collect
    from datapipe.report.page import write_page
    from datapipe.workdir import open_stores, planned_steps

    with ExitStack() as stack:
        stores = open_stores(args.work_dir)
        for store in stores:
            stack.callback(store.close)
        figures = collect(
            stores,
            planned_steps(args.work_dir, stores),
            truth=_truth(args.work_dir, args.truth),
            benchmarks=dict(_benchmark(text) for text in args.benchmark),
        )
    try:
        if args.html is not None:
            write_page(figures, args.html, title=str(args.work_dir))
        if args.json is not None:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(figures.record(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be written: {error.strerror}") from error
    _print(figures)
    return 0


def _truth(work_dir: Path, given: Path | None) -> list[Row]:
    from longvt_plugins.rows import read_rows

    if given is not None:
        return read_rows(given)
    made = work_dir / "world" / "train.parquet"
    return read_rows(made) if made.is_file() else []


def _benchmark(text: str) -> tuple[str, list[Row]]:
    from longvt_plugins.rows import read_rows

    name, path = key_value(text, "--benchmark")
    return name, read_rows(path)


def _print(figures: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from datapipe.report.page import STEP_COLUMNS, question_rows, step_rows, trace_rows

    console = Console(width=None if Console().is_terminal else TABLE_WIDTH, markup=False, highlight=False)
    table = Table(*STEP_COLUMNS)
    for row in step_rows(figures):
        table.add_row(*row)
    console.print(table)
    for title, found, rows_of in (
        ("questions after", figures.questions, question_rows),
        ("traces after", figures.traces, trace_rows),
    ):
        for name, own in found.items():
            facts = Table(f"{title} {name}", "", show_lines=False)
            for label, value in rows_of(own):
                facts.add_row(label, value)
            console.print(facts)
    for step in figures.steps:
        for kind, reason, count in step.reasons:
            console.print(f"{step.name}: {count} {kind}: {reason}")
