"""How much of each batch can teach anything: GRPO learns nothing from a group whose rollouts all score alike.

Logged beside TRL's ``frac_reward_zero_std``, for each generation, as shares of the groups:

- ``groups/without_variance``: at least two rollouts, all with one sum of rewards. TRL's figure takes a group without
  any score for a varied one.
- ``groups/all_right`` and ``groups/all_wrong``: every answer scores 1, or 0; what to drop, and what is too hard.
- ``groups/abstained``: fewer than two rollouts are left, the others had no verdict or a broken video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from transformers import TrainerCallback

from longvt_plugins.errors import ConfigError
from trl_ext.processes import gather
from trl_ext.scoring import ScoredBatch, scoring_of

T = TypeVar("T")

ANSWER_REWARD = "answer_reward"

TOLERANCE = 1e-6
"""Sums this near are one: TRL holds rewards as 32-bit floats."""


class GroupVariance(TrainerCallback):  # type: ignore[misc]
    """Logs the shares above.

    Args:
        trainer: A ``GRPOTrainer``.
        answer_reward: Name of the reward that says whether an answer is right.
    """

    def __init__(self, trainer: Any, answer_reward: str = ANSWER_REWARD) -> None:
        self._trainer = trainer
        self._answer_reward = answer_reward
        scoring_of(trainer).observers.append(self._observe)

    def _observe(self, batch: ScoredBatch) -> None:
        sums = gather_groups(self._trainer, total_rewards(self._trainer, batch))
        answers = batch.scores.get(self._answer_reward, [None] * len(batch.completions))
        scored = gather_groups(self._trainer, answers)
        log = batch.columns.get("log_metric")
        if log is None or not sums:
            return
        left = [[total for total in group if total is not None] for group in sums]
        right = [[score for score in group if score is not None] for group in scored]
        shares = {
            "without_variance": [len(group) > 1 and max(group) - min(group) < TOLERANCE for group in left],
            "abstained": [len(group) < 2 for group in left],
        }
        if self._answer_reward in batch.scores:
            shares["all_right"] = [bool(group) and min(group) >= 1 for group in right]
            shares["all_wrong"] = [bool(group) and max(group) <= 0 for group in right]
        for name, found in shares.items():
            log(f"groups/{name}", sum(found) / len(found))


def total_rewards(trainer: Any, batch: ScoredBatch) -> list[float | None]:
    """Every completion's sum of rewards as TRL weighs them; None where no reward applies."""
    weights = dict(zip(trainer.reward_func_names, trainer.reward_weights.tolist(), strict=True))
    totals: list[float | None] = []
    for place in range(len(batch.completions)):
        given = {name: value for name, values in batch.scores.items() if (value := values[place]) is not None}
        totals.append(sum(weights[name] * value for name, value in given.items()) if given else None)
    return totals


def gather_groups(trainer: Any, values: Sequence[T]) -> list[list[T]]:
    """Values of the rollouts of all processes, group by group as TRL forms them: a group may span processes.

    Args:
        trainer: Says how many rollouts a group has, which in an evaluation may be others.
        values: Of this process's rollouts, in order.

    Raises:
        ConfigError: They do not fill groups.
    """
    size = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
    everywhere = [value for part in gather(list(values)) for value in part]
    if len(everywhere) % size:
        raise ConfigError(f"{len(everywhere)} rollouts do not make groups of {size}")
    return [everywhere[start : start + size] for start in range(0, len(everywhere), size)]
