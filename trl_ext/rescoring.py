"""Scores saved rollouts again, offline, and compares two settings of rewards by what a training would learn of them.

::

    rollouts = read_rollouts("runs/rl/rollouts")
    old = rescore(rollouts, Setting.of("longvt"))
    new = rescore(rollouts, Setting.of("longvt_recall"))
    compare(new, old).lost            # groups whose rollouts all score alike now, and did not before

The same scoring runs as in a training, so a missing verdict abstains here too, and a rollout that ended in an error
is not scored. GRPO compares rollouts within their group only; so do the figures here.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.judge import Judge
from longvt_plugins.rollouts import Rollout
from longvt_plugins.rows import COLUMNS
from longvt_plugins.types import Message
from trl_ext.judge_reward import Verdicts
from trl_ext.reward_choice import resolve_reward
from trl_ext.rewards.presets import PRESETS
from trl_ext.scoring import RewardFunction, Scoring, function_name

BATCH = 256
"""Rollouts scored at once: a batch of LongVT's training."""

SAVED = "saved"
"""The setting that scores nothing: the rewards that were saved with the rollouts."""

TOLERANCE = 1e-6
"""Sums this near are one, as TRL holds them."""

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Setting:
    """Rewards and their weights.

    Attributes:
        functions: By the names under which they are logged; none for the saved rewards.
        weights: By name; one that is not here weighs 1.
        judge: Who is asked; None for the exact judge.
    """

    functions: Mapping[str, RewardFunction]
    weights: Mapping[str, float] = field(default_factory=dict)
    judge: Judge | None = None

    @classmethod
    def of(cls, rewards: str, weights: Sequence[float] | None = None, judge: Judge | None = None) -> Setting:
        """A setting as a user writes it.

        Args:
            rewards: ``saved``, the name of a preset, or reward functions by name or dotted path, with commas between.
            weights: One for each function, in order; those of the preset, or 1, by default.
            judge: Who is asked.

        Raises:
            ConfigError: No such function, or another number of weights.
        """
        if rewards == SAVED:
            if weights is not None:
                raise ConfigError("the saved rewards are summed as they are: leave their weights out")
            return cls({})
        preset = PRESETS.get(rewards)
        given = preset.reward_funcs if preset else [resolve_reward(name.strip()) for name in rewards.split(",")]
        functions = {function_name(function): function for function in given}
        if len(functions) < len(given):
            raise ConfigError(f"two reward functions share a name: {', '.join(map(function_name, given))}")
        if weights is None:
            return cls(functions, dict(preset.weights) if preset else {}, judge)
        if len(weights) != len(functions):
            raise ConfigError(f"{len(weights)} weights for {len(functions)} rewards: {', '.join(functions)}")
        return cls(functions, dict(zip(functions, weights, strict=True)), judge)


@dataclass(frozen=True)
class Rescored:
    """Rollouts and what they score.

    Attributes:
        rollouts: In the order given.
        scores: For every reward its values, None where it does not apply.
        totals: The weighted sum of each rollout; None where no reward applies.
        abstained: Places of rollouts that were not scored: an error, or no verdict.
        verdicts: What the judge said, batch by batch.
    """

    rollouts: Sequence[Rollout]
    scores: Mapping[str, Sequence[float | None]]
    totals: Sequence[float | None]
    abstained: frozenset[int] = frozenset()
    verdicts: Sequence[Verdicts] = ()

    @property
    def groups(self) -> list[list[float]]:
        """The sums of every group, those that are None left out."""
        found: dict[str, list[float]] = defaultdict(list)
        for rollout, total in zip(self.rollouts, self.totals, strict=True):
            if total is not None:
                found[rollout.group].append(total)
        return list(found.values())

    def rewarded(self) -> list[Rollout]:
        """The rollouts with these scores in the place of theirs."""
        from dataclasses import replace

        return [
            replace(rollout, rewards={name: values[place] for name, values in self.scores.items()})
            for place, rollout in enumerate(self.rollouts)
        ]


def rescore(
    rollouts: Sequence[Rollout], setting: Setting, *, patience: float = 0.0, tell: Tell = lambda done, total: None
) -> Rescored:
    """Scores rollouts.

    Args:
        rollouts: Of any runs.
        setting: How.
        patience: Seconds that a judge may stay down.
        tell: Told how many are done, of how many.

    Raises:
        ConfigError: The rows lack what a reward needs.
        JudgeError: The judge cannot be trusted, or is down.
    """
    if not setting.functions:
        names = dict.fromkeys(name for rollout in rollouts for name in rollout.rewards)
        saved = {name: [rollout.rewards.get(name) for rollout in rollouts] for name in names}
        return Rescored(rollouts, saved, _totals(saved, setting.weights, len(rollouts)), _unscored(saved, rollouts))
    scoring = Scoring(setting.functions, judge=setting.judge, patience=patience)
    scores: dict[str, list[float | None]] = {name: [] for name in setting.functions}
    abstained: set[int] = set()
    verdicts: list[Verdicts] = []
    try:
        for start in range(0, len(rollouts), BATCH):
            part = rollouts[start : start + BATCH]
            broken = [place for place, rollout in enumerate(part) if rollout.stop_reason == "error"]
            batch = scoring.score([completion_of(rollout.messages) for rollout in part], _columns(part), broken=broken)
            for name, values in batch.scores.items():
                scores[name] += values
            abstained |= {start + place for place in batch.abstained}
            verdicts += [batch.verdicts] if batch.verdicts is not None else []
            tell(min(start + BATCH, len(rollouts)), len(rollouts))
    finally:
        scoring.close()
    totals = _totals(scores, setting.weights, len(rollouts))
    return Rescored(rollouts, scores, totals, frozenset(abstained), verdicts)


def completion_of(messages: Sequence[Message]) -> list[Message]:
    """The part of a conversation that TRL would hand over: from the model's first turn on."""
    return list(itertools.dropwhile(lambda message: message.get("role") != "assistant", messages))


def _columns(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    return {name: [rollout.row.get(name) for rollout in rollouts] for name in COLUMNS}


def _unscored(scores: Mapping[str, Sequence[float | None]], rollouts: Sequence[Rollout]) -> frozenset[int]:
    empty = (place for place in range(len(rollouts)) if all(values[place] is None for values in scores.values()))
    return frozenset(empty)


def _totals(
    scores: Mapping[str, Sequence[float | None]], weights: Mapping[str, float], count: int
) -> list[float | None]:
    totals: list[float | None] = []
    for place in range(count):
        given = {name: value for name, values in scores.items() if (value := values[place]) is not None}
        totals.append(sum(weights.get(name, 1.0) * value for name, value in given.items()) if given else None)
    return totals


@dataclass(frozen=True)
class Comparison:
    """How far two settings teach the same.

    Attributes:
        rollouts: Scored by both.
        same_sum: Share of them whose sums are equal.
        same_direction: Share of them that both put on the same side of their group's mean, or both on it.
        pairs: Two rollouts of one group each.
        same_order: Share of the pairs that both order alike, a tie being an order.
        spearman: Rank correlation within each group in which both tell rollouts apart.
        kendall: Likewise, tau-b.
        groups: With at least two rollouts that both scored.
        signal: Groups in which the first setting tells rollouts apart.
        signal_before: Groups in which the second one does.
        lost: Groups in which only the second one does.
        gained: Groups in which only the first one does.
    """

    rollouts: int
    same_sum: float | None
    same_direction: float | None
    pairs: int
    same_order: float | None
    spearman: list[float]
    kendall: list[float]
    groups: int
    signal: int
    signal_before: int
    lost: int
    gained: int

    def record(self) -> dict[str, Any]:
        """For JSON: correlations as their means over groups."""
        means = {
            name: statistics.fmean(values) if values else None
            for name, values in (("spearman", self.spearman), ("kendall", self.kendall))
        }
        return {**vars(self), **means, "correlated_groups": len(self.spearman)}


def compare(new: Rescored, old: Rescored) -> Comparison:
    """Compares two scorings of the same rollouts.

    Args:
        new: The setting in question.
        old: What it would replace.

    Raises:
        ConfigError: They are of other rollouts.
    """
    if [rollout.id for rollout in new.rollouts] != [rollout.id for rollout in old.rollouts]:
        raise ConfigError("only scores of the same rollouts can be compared")
    grouped: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for rollout, first, second in zip(new.rollouts, new.totals, old.totals, strict=True):
        if first is not None and second is not None:
            grouped[rollout.group].append((first, second))
    both = [pair for group in grouped.values() for pair in group]
    groups = [tuple(zip(*group, strict=True)) for group in grouped.values() if len(group) > 1]
    directions = [
        (_sign(a - statistics.fmean(first)), _sign(b - statistics.fmean(second)))
        for first, second in groups
        for a, b in zip(first, second, strict=True)
    ]
    orders = [
        (_sign(first[i] - first[j]), _sign(second[i] - second[j]))
        for first, second in groups
        for i, j in itertools.combinations(range(len(first)), 2)
    ]
    signals = [(_varies(first), _varies(second)) for first, second in groups]
    apart = [group for group, (first, second) in zip(groups, signals, strict=True) if first and second]
    return Comparison(
        rollouts=len(both),
        same_sum=_share(abs(a - b) < TOLERANCE for a, b in both),
        same_direction=_share(a == b for a, b in directions),
        pairs=len(orders),
        same_order=_share(a == b for a, b in orders),
        spearman=[spearman(first, second) for first, second in apart],
        kendall=[kendall(first, second) for first, second in apart],
        groups=len(groups),
        signal=sum(first for first, _ in signals),
        signal_before=sum(second for _, second in signals),
        lost=sum(second and not first for first, second in signals),
        gained=sum(first and not second for first, second in signals),
    )


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, equal values sharing the mean of theirs."""
    return statistics.correlation(_ranks(first), _ranks(second))


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b: pairs ordered alike less pairs ordered otherwise, over the geometric mean of the untied ones."""
    pairs = list(itertools.combinations(range(len(first)), 2))
    orders = [(_sign(first[i] - first[j]), _sign(second[i] - second[j])) for i, j in pairs]
    untied = sum(a != 0 for a, _ in orders) * sum(b != 0 for _, b in orders)
    return sum(a * b for a, b in orders) / math.sqrt(untied)


def _ranks(values: Sequence[float]) -> list[float]:
    # By counting: a group has a few dozen rollouts.
    return [
        sum(_sign(other - value) < 0 for other in values) + (sum(_sign(other - value) == 0 for other in values) + 1) / 2
        for value in values
    ]


def _sign(difference: float) -> int:
    return 0 if abs(difference) < TOLERANCE else 1 if difference > 0 else -1


def _varies(values: Sequence[float]) -> bool:
    return max(values) - min(values) >= TOLERANCE


def _share(found: Any) -> float | None:
    values = list(found)
    return sum(values) / len(values) if values else None
