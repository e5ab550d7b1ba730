"""Scores a batch with all reward functions at once, so that what concerns several of them has a place.

::

    scoring = Scoring([answer_reward, format_reward], deciding=["answer_reward"], keep=keeper.keep)
    GRPOTrainer(..., reward_funcs=scoring.reward_funcs)

TRL asks reward functions one by one and sees each value as soon as it is there. Two things need all of them.
A rollout on which the judge had no verdict has to be None for **every** function, since TRL counts a
single None among numbers as 0, so that an outage would train as a wrong answer; the same goes for one whose
video could not be decoded where the model looked. And a rollout is written down with all its rewards. So
the first function that TRL asks scores the batch with all of them, and each then hands out its own values,
under its own name.

It changes no value otherwise. How often tools and judge failed goes to TRL's log.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from longvt_plugins.errors import ConfigError

RewardFunction = Callable[..., Any]
"""A reward function as TRL calls it, plain or async: a list of numbers, None where it does not apply."""

Scores = dict[str, list[float | None]]


@dataclass(frozen=True)
class ScoredBatch:
    """Rollouts of one process and what they scored.

    Attributes:
        completions: What the models wrote and the tools replied, one list of messages each.
        columns: All that TRL gave: the dataset's columns, prompts, environments, the trainer's state.
        scores: For every reward function its values, in the order of the completions.
    """

    completions: Sequence[Any]
    columns: dict[str, Any]
    scores: Scores


class Scoring:
    """Reward functions that are asked together.

    Args:
        reward_funcs: As TRL takes them.
        deciding: Names of those whose None takes the rollout out of its group.
        keep: Told of every scored batch.

    Raises:
        ConfigError: Two functions share a name, under which they are logged, or a deciding one is missing.
    """

    def __init__(
        self,
        reward_funcs: Sequence[RewardFunction],
        *,
        deciding: Collection[str] = (),
        keep: Callable[[ScoredBatch], None] | None = None,
    ) -> None:
        self._functions = {function_name(function): function for function in reward_funcs}
        if len(self._functions) < len(reward_funcs):
            names = [function_name(function) for function in reward_funcs]
            raise ConfigError(f"two reward functions share a name: {', '.join(names)}")
        if unknown := set(deciding) - set(self._functions):
            raise ConfigError(f"{', '.join(unknown)} is not among the rewards: {', '.join(self._functions)}")
        self._deciding = frozenset(deciding)
        self._keep = keep
        self._batch: tuple[Any, asyncio.Task[Scores]] | None = None
        self.reward_funcs = [self._asking(name, function) for name, function in self._functions.items()]

    def _asking(self, name: str, function: RewardFunction) -> RewardFunction:
        @functools.wraps(function)
        async def ask(completions: Sequence[Any], **columns: Any) -> list[float | None]:
            # TRL gives every function the same list; another list is another batch.
            if self._batch is None or self._batch[0] is not completions:
                self._batch = completions, asyncio.ensure_future(self._score(completions, columns))
            scores = await self._batch[1]
            return scores[name]

        # TRL tells plain from async by the function itself, whatever it wraps.
        ask.__name__ = name
        return ask

    async def _score(self, completions: Sequence[Any], columns: dict[str, Any]) -> Scores:
        scores: Scores = {}
        for name, function in self._functions.items():
            values = function(completions=completions, **columns)
            scores[name] = list(await values if inspect.isawaitable(values) else values)
            if len(scores[name]) != len(completions):
                raise ConfigError(f"{name} gave {len(scores[name])} rewards for {len(completions)} rollouts")
        undecided = {place for name in self._deciding for place, value in enumerate(scores[name]) if value is None}
        environments = columns.get("environments") or ()
        broken = {place for place, environment in enumerate(environments) if environment.video_errors}
        for values in scores.values():
            for place in undecided | broken:
                values[place] = None
        self._log(columns, len(completions), len(undecided))
        if self._keep is not None:
            self._keep(ScoredBatch(completions, columns, scores))
        return scores

    def _log(self, columns: dict[str, Any], rollouts: int, undecided: int) -> None:
        log = columns.get("log_metric")
        if log is None or not rollouts:
            return
        if self._deciding:
            log("judge/no_verdict", undecided / rollouts)
        environments = columns.get("environments") or ()
        if calls := sum(environment.calls for environment in environments):
            for kind in ("tool_errors", "video_errors"):
                log(f"tools/{kind}", sum(getattr(environment, kind) for environment in environments) / calls)


def function_name(function: RewardFunction) -> str:
    """The name under which TRL logs a reward function."""
    if isinstance(function, functools.partial):
        return function_name(function.func)
    return getattr(function, "__name__", type(function).__name__)
