"""``datapipe status``: how far a run is, and what it has cost; also while it goes on.

::

    datapipe status runs/demo
    datapipe status runs/demo --json
"""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("status", help="how far a run is, and what it has cost")
    parser.add_argument("work_dir", metavar="WORK")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints it."""
    import json
    from dataclasses import asdict

    from datapipe.store import SOURCE
    from datapipe.summary import counts_of, print_status, spent_of
    from datapipe.workdir import open_stores, planned_steps, workers

    stores = open_stores(args.work_dir)
    try:
        steps = planned_steps(args.work_dir, stores)
        busy = workers(args.work_dir)
        if args.json:
            told = {
                "input": sum(store.count_records(SOURCE) for store in stores),
                "spent": spent_of(stores),
                "shards": len(stores),
                "running": busy,
                "steps": {step: asdict(counts_of(stores, step)) for step in steps},
            }
            print(json.dumps(told))
            return 0
        print_status(stores, steps)
        print(f"shards: {len(stores)}, of which {len(busy)} worked on now" + "".join(f"\n  {who}" for who in busy))
    finally:
        for store in stores:
            store.close()
    return 0
