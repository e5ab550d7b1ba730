"""``datapipe export``: what a run made, as files to train and to evaluate on, with a data card.

::

    datapipe export runs/demo --out data                        # sft, rft, rl and benchmark, as far as there are steps
    datapipe export runs/demo --out data --rl filter_vlm        # questions of another step
    datapipe export runs/demo --out data --shape longvt         # LongVT-Parquet's columns
    datapipe export runs/demo --out captions.parquet --records caption
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datapipe.export.training import ExportOptions
    from datapipe.store import Store

FILES = ("sft", "rft", "rl", "benchmark")


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("export", help="write training and benchmark data, with a data card")
    parser.add_argument("work_dir", metavar="WORK")
    parser.add_argument("--out", required=True, metavar="OUT", help="folder; with --records a .parquet or .jsonl file")
    parser.add_argument("--records", metavar="STEP", help="instead: all records of this step as one table")
    for name in FILES:
        parser.add_argument(f"--{name}", metavar="STEP", help=f"the step whose records go into {name}.parquet")
    parser.add_argument("--shape", choices=("ours", "longvt"), default="ours", help="columns (default %(default)s)")
    parser.add_argument(
        "--benchmark-share", type=float, default=0.1, help="of the videos, kept for the benchmark (default %(default)s)"
    )
    parser.add_argument("--all-traces", action="store_true", help="also traces that disagree with their reference")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes them."""
    from datapipe.workdir import check_step, open_stores

    stores = open_stores(args.work_dir)
    try:
        if args.records is not None:
            from datapipe.compare import merged
            from datapipe.export.tables import write_table

            check_step(args.work_dir, stores, args.records)
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            write_table((record for _, record in merged(stores, args.records)), Path(args.out))
            print(f"{args.out}: {sum(store.count_records(args.records) for store in stores)} records")
            return 0
        given = {name: getattr(args, name) for name in FILES if getattr(args, name) is not None}
        for step in given.values():
            check_step(args.work_dir, stores, step)
        return _export(stores, args, given)
    finally:
        for store in stores:
            store.close()


def _export(stores: Sequence[Store], args: argparse.Namespace, given: dict[str, str]) -> int:
    from datapipe.export.card import data_card
    from datapipe.export.training import STEPS, ExportOptions, export_files
    from datapipe.workdir import read_recipe_record

    options = ExportOptions({**STEPS, **given}, args.benchmark_share, args.all_traces)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    files = _export_published(stores, out, options) if args.shape == "longvt" else export_files(stores, out, options)
    card = data_card(read_recipe_record(args.work_dir), stores, files, options)
    (out / "README.md").write_text(card, encoding="utf-8")
    for file in files:
        left = "".join(f", {count} left out: {reason}" for reason, count in sorted(file.left_out.items()))
        names = ", ".join(file.written.files) or f"{file.name}: nothing"
        print(f"{names}: {file.written.records} records of {file.step}{left}")
    print(f"{out / 'README.md'}: the data card")
    return 0


def _export_published(stores: Sequence[Store], out: Path, options: ExportOptions) -> Any:
    from datapipe.export.published import export_published

    return export_published(stores, out, options)
