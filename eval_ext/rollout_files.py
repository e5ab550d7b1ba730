"""The rollouts of an evaluation on disk, also of one that was cut short and continued from lmms-eval's cache.

::

    keep_rollouts(rollouts, "runs/eval/traces/longvt_synthetic_tool", rank=0)      # ... /rollouts-00000000.parquet

A run that continues asks only what is missing. What an earlier one of the same name and model left in the file
stays, but for questions that were answered anew. Rollouts of another run or model are replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from longvt_plugins.rollouts import Rollout, read_rollouts, shard_path, write_rollouts


def keep_rollouts(rollouts: Iterable[Rollout], folder: Path, *, rank: int) -> None:
    """Writes the rollouts of one task.

    Args:
        rollouts: Of one run and model; at least one.
        folder: Of the task.
        rank: Each process of a distributed evaluation has a file of its own.

    Raises:
        ConfigError: There is a file in the way that does not hold rollouts.
    """
    path = shard_path(folder, 0, rank=rank)
    fresh = list(rollouts)
    anew = {rollout.id for rollout in fresh}
    origins = {(rollout.run, rollout.model) for rollout in fresh}
    earlier = read_rollouts(path) if path.exists() else []
    kept = [rollout for rollout in earlier if rollout.id not in anew and (rollout.run, rollout.model) in origins]
    write_rollouts([*kept, *fresh], path)
