"""``datapipe diff``: what is different between two runs.

::

    datapipe diff runs/before runs/after                  # a line a step
    datapipe diff runs/before runs/after caption          # record by record

It exits with 1 when something is different, as ``diff`` does.
"""

from __future__ import annotations

import argparse
from typing import Any

_SHOWN = 100


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("diff", help="what is different between two runs")
    parser.add_argument("first", metavar="WORK")
    parser.add_argument("second", metavar="OTHER_WORK")
    parser.add_argument("step", metavar="STEP", nargs="?")
    parser.add_argument("--limit", type=int, default=20, help="records shown; 0 for all (default %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints it."""
    from collections import Counter

    from datapipe.compare import compare_steps
    from datapipe.workdir import check_step, open_stores, planned_steps

    first, second = open_stores(args.first), open_stores(args.second)
    try:
        if args.step is not None:
            check_step(args.first, first, args.step)
            check_step(args.second, second, args.step)
            steps = [args.step]
        else:
            steps = list(dict.fromkeys([*planned_steps(args.first, first), *planned_steps(args.second, second)]))
        any_different = False
        for step in steps:
            kinds: Counter[str] = Counter()
            for difference in compare_steps(first, second, step):
                kinds[difference.kind] += 1
                if args.step is not None and (not args.limit or kinds.total() <= args.limit):
                    print(f"{difference.kind}: {difference.id}{_fields(difference.fields)}")
            any_different = any_different or bool(kinds)
            told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "the same"
            print(f"{step}: {told}")
    finally:
        for store in [*first, *second]:
            store.close()
    return 1 if any_different else 0


def _fields(fields: dict[str, tuple[Any, Any]]) -> str:
    import json

    def short(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

    return "".join(f"\n  {name}: {short(old)} -> {short(new)}" for name, (old, new) in fields.items())
