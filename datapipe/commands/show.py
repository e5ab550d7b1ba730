"""``datapipe show``: what a step kept, what it dropped and why, what it failed on.

::

    datapipe show runs/demo caption                       # counts, and the reasons
    datapipe show runs/demo caption --dropped --limit 5   # what was dropped, as JSON lines
    datapipe show runs/demo filter_text --failed --reason "no reply of 3"
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datapipe.store import Store


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("show", help="what a step kept, dropped and failed on")
    parser.add_argument("work_dir", metavar="WORK")
    parser.add_argument("step", metavar="STEP")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--kept", dest="kind", action="store_const", const="kept", help="the records")
    which.add_argument("--dropped", dest="kind", action="store_const", const="dropped", help="with reasons")
    which.add_argument("--failed", dest="kind", action="store_const", const="failed", help="with errors")
    parser.add_argument("--reason", default="", metavar="TEXT", help="only those whose reason holds this text")
    parser.add_argument("--id", default="", metavar="TEXT", help="only those whose id holds this text")
    parser.add_argument("--limit", type=int, default=20, help="at most so many; 0 for all (default %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints it."""
    import json
    from itertools import islice

    from datapipe.workdir import check_step, open_stores

    stores = open_stores(args.work_dir)
    try:
        check_step(args.work_dir, stores, args.step)
        if args.kind is None:
            _print_reasons(stores, args)
            return 0
        found = _kept(stores, args) if args.kind == "kept" else _rejected(stores, args)
        for entry in islice(found, args.limit or None):
            print(json.dumps(entry, ensure_ascii=False))
    finally:
        for store in stores:
            store.close()
    return 0


def _print_reasons(stores: Sequence[Store], args: argparse.Namespace) -> None:
    from collections import Counter

    from datapipe.summary import counts_of

    counts = counts_of(stores, args.step)
    print(f"{args.step}: {counts.kept} kept, {counts.dropped} dropped, {counts.failed} failed of {counts.units} units")
    for kind in ("dropped", "failed"):
        reasons: Counter[str] = Counter()
        for store in stores:
            reasons.update(dict(store.reasons(args.step, kind)))
        for reason, count in reasons.most_common(args.limit or None):
            print(f"  {kind} {count}: {reason}")


def _kept(stores: Sequence[Store], args: argparse.Namespace) -> Iterator[Any]:
    from datapipe.compare import merged

    return (record for key, record in merged(stores, args.step) if args.id in key)


def _rejected(stores: Sequence[Store], args: argparse.Namespace) -> Iterator[Any]:
    for store in stores:
        for entry in store.rejected(args.step, args.kind):
            if args.reason in entry["reason"] and args.id in entry["unit"]:
                yield entry
