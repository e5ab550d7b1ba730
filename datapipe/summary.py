"""What a run has come to, as a table: one line a step, all shares together.

::

    step      units  kept  dropped  failed  requests   tokens  cost
    segment      41  1204        0       1         0        0 $0.00

It reads while a run goes on; what is in flight is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from datapipe.store import SOURCE, StepCounts, Store


def counts_of(stores: Sequence[Store], step: str) -> StepCounts:
    """What a step has come to in all shares."""
    counts = StepCounts()
    for store in stores:
        counts.add(store.counts(step))
    return counts


def spent_of(stores: Sequence[Store]) -> float:
    """US dollars that all runs of all shares have cost."""
    return sum(float(store.meta("spent") or 0.0) for store in stores)


def all_failed(stores: Sequence[Store], steps: Sequence[str]) -> bool:
    """Whether a step failed on everything that it was given."""
    found = [counts_of(stores, step) for step in steps]
    return any(counts.failed and not counts.kept and not counts.dropped for counts in found)


def print_status(stores: Sequence[Store], steps: Sequence[str]) -> None:
    """Prints the table, and what was spent.

    Args:
        stores: All shares.
        steps: Names, in order.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table("step", "units", "kept", "dropped", "failed", "requests", "tokens", "cost", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for step in steps:
        counts = counts_of(stores, step)
        table.add_row(
            step,
            f"{counts.units:,}",
            f"{counts.kept:,}",
            f"{counts.dropped:,}",
            f"{counts.failed:,}",
            f"{counts.replies:,}",
            f"{counts.prompt_tokens + counts.completion_tokens:,}",
            f"${counts.cost:.2f}",
        )
    # Wide enough for every number: a pipe has no width, and folded tables cannot be read.
    Console(width=120).print(table)
    inputs = sum(store.count_records(SOURCE) for store in stores)
    print(f"input: {inputs:,} entries; spent: ${spent_of(stores):.2f}")  # noqa: T201 - a command's output
