"""``longvt demo``: from made videos to a model that learnt to crop, with the real programs, on a CPU.

::

    longvt demo --quick                  # some minutes: shows that supervised traces teach the loop
    longvt demo --work-dir runs/demo     # the whole of it; run again, it goes on where it was stopped
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command's options."""
    parser = subparsers.add_parser("demo", help="train and evaluate a tiny model from made videos, on a CPU")
    parser.add_argument("--quick", action="store_true", help="the shortest run that shows learning")
    parser.add_argument("--seed", type=int, default=0, help="of videos, traces and training (default 0)")
    parser.add_argument("--work-dir", type=Path, help="where everything goes (default runs/demo or runs/demo-quick)")
    parser.add_argument("--processes", type=int, default=2, help="processes that render and train (default 2)")


def run(args: argparse.Namespace) -> int:
    """Runs the stages that are not done yet, and prints the table."""
    from rich.console import Console
    from rich.table import Table

    from longvt_plugins.demo.report import table_rows, write_report
    from longvt_plugins.demo.run import run_demo
    from longvt_plugins.demo.settings import FULL, QUICK
    from longvt_plugins.demo.stages import Stages
    from longvt_plugins.progress import show_progress

    folder = args.work_dir or Path("runs", "demo-quick" if args.quick else "demo")
    console = Console()
    with show_progress(console) as tell:
        stages = Stages(folder, QUICK if args.quick else FULL, args.seed, tell, args.processes)
        run_demo(stages)
        figures = write_report(stages)
    table = Table("stage", "accuracy [95 %]", "format", "IoU", "calls", "questions")
    for row in table_rows(figures):
        table.add_row(*row)
    console.print(table)
    console.print(f"report: {stages.folder / 'report.html'}\nfigures: {stages.folder / 'results.json'}", soft_wrap=True)
    return 0
