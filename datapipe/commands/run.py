"""``datapipe run``: runs a recipe, or says what that would do and cost.

::

    datapipe run recipes/curate.yaml --work-dir runs/demo
    datapipe run recipes/curate.yaml --work-dir runs/demo --dry-run
    datapipe run recipes/curate.yaml --work-dir runs/demo --max-cost 20 --until generate_qa
    datapipe run recipes/curate.yaml --work-dir runs/demo --num-shards 8 --shard-idx 3

Run again, it goes on where it ended. Results go to standard output, progress to standard error.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from datapipe.commands.shared import add_shard_flags, console, shard_of, tell_end

if TYPE_CHECKING:
    from datapipe.recipe import Recipe
    from datapipe.runner import RunResult


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("run", help="run a recipe; run again, it goes on")
    parser.add_argument("recipe", metavar="RECIPE", help="YAML with input, models and steps")
    parser.add_argument("--work-dir", required=True, metavar="DIR", help="where results are, and will be")
    parser.add_argument("--input", metavar="IN", help="instead of the recipe's input")
    parser.add_argument("--until", metavar="STEP", help="the last step to run")
    parser.add_argument("--max-cost", type=float, metavar="DOLLARS", help="for all runs of this folder together")
    parser.add_argument("--concurrency", type=int, metavar="N", help="requests in flight at once")
    parser.add_argument("--seed", type=int, help="instead of the recipe's seed")
    parser.add_argument("--redo", action="store_true", help="ask again where prompts, models or steps have changed")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done, and what it would cost")
    parser.add_argument("--executor", choices=("here", "local", "slurm", "ray"), default="here", help=(
        "here: this process; the others are datatrove's, which run every share (extra: datatrove)"
    ))  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N", help="with --executor: shares worked on at once")
    parser.add_argument(
        "--executor-set", action="append", default=[], metavar="KEY=VALUE", help="with --executor: its own settings"
    )
    add_shard_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs it."""
    import os

    from datapipe.recipe import load_recipe
    from datapipe.run import RunOptions, run_recipe
    from longvt_plugins.errors import ConfigError

    recipe = load_recipe(args.recipe, os.environ, source=args.input, seed=args.seed, need_keys=not args.dry_run)
    if args.max_cost is not None and not args.max_cost > 0:
        raise ConfigError(f"--max-cost must be US dollars above 0, not {args.max_cost:g}")
    if args.concurrency is not None and args.concurrency < 1:
        raise ConfigError(f"--concurrency must be at least 1, not {args.concurrency}")
    if args.dry_run:
        return _forecast(recipe, args)
    options = RunOptions(shard_of(args), args.until, args.max_cost, args.redo, args.concurrency)
    if args.executor != "here":
        return _execute(args)
    from datapipe.live import LiveView

    with LiveView(console()) as view:
        result = run_recipe(recipe, args.work_dir, options, view=view)
    return _end(result, args)


def _end(result: RunResult, args: argparse.Namespace) -> int:
    from datapipe.summary import all_failed, print_status
    from datapipe.workdir import open_stores

    stores = open_stores(args.work_dir)
    try:
        print_status(stores, [str(name) for name in result.worked])
        if (code := tell_end(result)) is not None:
            return code
        return 1 if all_failed(stores, list(result.worked)) else 0
    finally:
        for store in stores:
            store.close()


def _execute(args: argparse.Namespace) -> int:
    from datapipe.executors import execute

    return execute(args)


def _forecast(recipe: Recipe, args: argparse.Namespace) -> int:
    import tempfile
    from pathlib import Path

    from rich.table import Table

    from datapipe.dryrun import forecast, measure_input, rows, totals
    from datapipe.plan import changes, installed_steps, make_plan
    from datapipe.recipe import SyntheticInput
    from datapipe.run import open_toolbox
    from datapipe.store import Store
    from datapipe.workdir import STORE, shard_folder
    from longvt_plugins.errors import ConfigError

    shown = console()
    shard = shard_of(args)
    path = shard_folder(args.work_dir, shard) / STORE
    store = Store(path, read_only=True) if path.is_file() else None
    if isinstance(recipe.source, SyntheticInput):
        raise ConfigError("--dry-run needs an input that exists: run it once, or give --input")
    # The caches of the models are opened elsewhere: nothing is written where the run will be.
    with tempfile.TemporaryDirectory(prefix="datapipe-") as temp, open_toolbox(recipe, Path(temp)) as toolbox:
        plan = make_plan(recipe, installed_steps(), toolbox, until=args.until)
        amount, opened = measure_input(recipe.source, shard, toolbox)
        lines = forecast(plan, store, amount)
        found = changes(store, plan) if store is not None else []
    if store is not None:
        store.close()
    hours = amount.seconds / 3600
    print(f"input: {amount.records:,.0f} entries, {hours:,.1f} hours of video by the lengths of {opened} of them")
    for change in found:
        print(f"changed: {change}")
    table = Table("step", "units", "done", "requests", "tokens in", "tokens out", "cost", "by")
    for cells in rows(lines):
        table.add_row(*cells)
    shown.print(table) if shown.is_terminal else _print_plain(table)
    requests, cost, unknown = totals(lines)
    least = "at least " if unknown else ""
    print(f"to do: {least}{requests:,.0f} requests, {least}${cost:,.2f}. Nothing was sent.")
    return 0


def _print_plain(table: Any) -> None:
    from rich.console import Console

    # Pipes have no width; a table folded to 80 columns cannot be read.
    Console(width=140).print(table)
