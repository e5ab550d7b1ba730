"""``datapipe retry``: marks what failed to be tried again by the next run; nothing else is touched.

::

    datapipe retry runs/demo                   # every failure of every step
    datapipe retry runs/demo caption
    datapipe retry runs/demo caption --id talk-7f88ce0e21fbe1c6.segment-9b1d...
    datapipe run recipes/curate.yaml --work-dir runs/demo

A record that is tried again is asked about with another seed, so that a bad reply in the cache is not read again.
"""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("retry", help="have the next run try failures again")
    parser.add_argument("work_dir", metavar="WORK")
    parser.add_argument("step", metavar="STEP", nargs="?")
    parser.add_argument("--id", metavar="ID", help="only this record, or video, as `show --failed` names it: unit")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Marks them."""
    from datapipe.store import Store
    from datapipe.workdir import STORE, check_step, locked, open_stores, planned_steps, shard_folders
    from longvt_plugins.errors import ConfigError

    looked = open_stores(args.work_dir)
    try:
        if args.step is not None:
            check_step(args.work_dir, looked, args.step)
        steps = [args.step] if args.step is not None else planned_steps(args.work_dir, looked)
    finally:
        for store in looked:
            store.close()
    marked = dict.fromkeys(steps, 0)
    for folder in shard_folders(args.work_dir):
        with locked(folder):
            store = Store(folder / STORE)
            for step in steps:
                marked[step] += store.mark_again(step, unit=args.id)
            store.close()
    if args.id is not None and not sum(marked.values()):
        raise ConfigError(f"no failure of {args.id!r} in {', '.join(steps)}: see `datapipe show WORK STEP --failed`")
    for step, count in marked.items():
        if count:
            print(f"{step}: {count} to be tried again")
    print(f"{sum(marked.values())} in all; the next `datapipe run` tries them")
    return 0
