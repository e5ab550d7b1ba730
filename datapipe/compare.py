"""What is different between two runs, record by record.

::

    for difference in compare_steps(first, second, "caption"):
        difference.kind, difference.id          # "changed", "talk-7f88ce0e21fbe1c6.caption-3d63..."

Records are matched by their ids; where a file lies and how a record was made make no difference. Both runs are read
in the order of the ids, a page at a time, whatever their size and their number of shards.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from datapipe.records.provenance import NOT_CONTENT
from datapipe.saving import record_key
from datapipe.store import Store

Kind = Literal["only in the first", "only in the second", "changed"]


@dataclass(frozen=True)
class Difference:
    """A record that is not the same in both.

    Attributes:
        kind: How.
        id: Of the record.
        fields: What is different, by name: the first value and the second; empty unless ``kind`` is ``"changed"``.
    """

    kind: Kind
    id: str
    fields: dict[str, tuple[Any, Any]]


def compare_steps(first: Sequence[Store], second: Sequence[Store], step: str) -> Iterator[Difference]:
    """The differences between what a step kept in two runs, in the order of the ids.

    Args:
        first: All shards of one run.
        second: All shards of the other.
        step: Its name in both.
    """
    ours, theirs = merged(first, step), merged(second, step)
    left, right = next(ours, None), next(theirs, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            assert left is not None
            yield Difference("only in the first", left[0], {})
            left = next(ours, None)
        elif left is None or right[0] < left[0]:
            yield Difference("only in the second", right[0], {})
            right = next(theirs, None)
        else:
            if changed := _changed(left[1], right[1]):
                yield Difference("changed", left[0], changed)
            left, right = next(ours, None), next(theirs, None)


def merged(stores: Sequence[Store], step: str) -> Iterator[tuple[str, Any]]:
    """The records of all shards in the order of their ids."""
    return heapq.merge(*(_keyed(store.kept(step)) for store in stores), key=lambda entry: entry[0])


def _keyed(records: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((record_key(record), record) for record in records)


def _changed(left: Any, right: Any) -> dict[str, tuple[Any, Any]]:
    if not (isinstance(left, dict) and isinstance(right, dict)):
        return {} if left == right else {"": (left, right)}
    names = sorted(({*left} | {*right}) - set(NOT_CONTENT))
    return {name: (left.get(name), right.get(name)) for name in names if left.get(name) != right.get(name)}
