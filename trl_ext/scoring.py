"""Scores a batch with all reward functions at once, so that what concerns several of them has a place.

::

    scoring = Scoring([answer_reward, format_reward], judge=judge, keep=keeper.keep)
    trainer = GRPOTrainer(..., reward_funcs=scoring.reward_funcs)

TRL asks reward functions one by one and sees each value as soon as it is there. Three things need all of them.
The judge is asked once for every completion, and all functions share its verdict. A rollout on which it had none
has to be None for **every** function, since TRL counts a single None among numbers as 0, so that an outage would
train as a wrong answer; the same goes for one whose video could not be decoded where the model looked. And
a rollout is written down with all its rewards. So the first function that TRL asks scores the batch with all
of them, and each then hands out its own values, under its own name.

It changes no value otherwise. How often tools and judge failed, and what the judge cost, goes to TRL's log.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longvt_plugins.errors import ConfigError, JudgeDownError
from longvt_plugins.judges.check import check_judge
from longvt_plugins.judges.judge import Judge, close_judge
from longvt_plugins.transcript import Transcript, parse_transcript
from trl_ext.background import Background
from trl_ext.judge_reward import PATIENCE_SECONDS, Bench, Verdicts
from trl_ext.processes import gather
from trl_ext.rewards.reading import READING, Reading, broken_rollouts

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
        transcripts: What was read from the completions.
        abstained: Places of the completions that were taken out: no verdict, or a broken video.
        verdicts: What the judge said; None where there is none but the exact one.
    """

    completions: Sequence[Any]
    columns: dict[str, Any]
    scores: Scores
    transcripts: Sequence[Transcript] = ()
    abstained: frozenset[int] = frozenset()
    verdicts: Verdicts | None = None


Observer = Callable[[ScoredBatch], None]

_NO_BREAKER = "No checkpoint was written: that takes trl_ext.callbacks.JudgeBreaker"


class Scoring:
    """Reward functions that are asked together.

    Args:
        reward_funcs: As TRL takes them, or by the names under which they are logged.
        judge: Asked once for every completion; None leaves answers to the exact judge.
        patience: Seconds that the judge may stay down before the training stops.
        check: Whether the judge is asked three known questions before the first batch, see
            :func:`longvt_plugins.judges.check.check_judge`.
        deciding: Names of further functions whose None takes the rollout out of its group, such as one of your
            own that asks a server.
        keep: Told of every scored batch.

    Attributes:
        reward_funcs: What to hand to TRL in the place of the functions.
        observers: Told of every scored batch, in the trainer's main thread and in every process.
        when_down: Called in every process when the judge stays down, before the training stops; what it returns
            ends the error's message.

    Raises:
        ConfigError: Two functions share a name, under which they are logged, or a deciding one is missing.
    """

    def __init__(
        self,
        reward_funcs: Sequence[RewardFunction] | Mapping[str, RewardFunction],
        *,
        judge: Judge | None = None,
        patience: float = PATIENCE_SECONDS,
        check: bool = True,
        deciding: Collection[str] = (),
        keep: Observer | None = None,
    ) -> None:
        if not isinstance(reward_funcs, Mapping):
            names = [function_name(function) for function in reward_funcs]
            if len(set(names)) < len(names):
                raise ConfigError(f"two reward functions share a name: {', '.join(names)}")
            reward_funcs = dict(zip(names, reward_funcs, strict=True))
        self._functions = dict(reward_funcs)
        if unknown := set(deciding) - set(self._functions):
            raise ConfigError(f"{', '.join(unknown)} is not among the rewards: {', '.join(self._functions)}")
        self._deciding = frozenset(deciding)
        self._bench = Bench(judge, patience) if judge is not None else None
        self._unchecked = check
        self._background = Background()
        self._batch: tuple[Any, Scores] | None = None
        self.observers: list[Observer] = [keep] if keep is not None else []
        self.when_down: Callable[[], str] = lambda: _NO_BREAKER
        self.reward_funcs: list[RewardFunction] = [
            _Asking(self, name, function) for name, function in self._functions.items()
        ]

    @property
    def judge(self) -> Judge | None:
        """Who is asked."""
        return self._bench.judge if self._bench is not None else None

    def values(self, name: str, completions: Sequence[Any], columns: dict[str, Any]) -> list[float | None]:
        """One function's values; the batch is scored when the first function asks for its own."""
        # TRL gives every function the same list; another list is another batch.
        if self._batch is None or self._batch[0] is not completions:
            self._batch = completions, self.score(completions, columns).scores
        return self._batch[1][name]

    def score(self, completions: Sequence[Any], columns: dict[str, Any], *, broken: Iterable[int] = ()) -> ScoredBatch:
        """Scores a batch with all functions and tells the observers.

        Args:
            completions: As TRL gives them.
            columns: All other arguments of a reward function.
            broken: Places of rollouts that are not to be scored, besides those that the environments tell of.

        Raises:
            ConfigError: A function gave another number of rewards, or needs a column that is missing.
            JudgeError: The judge fails on known questions.
            JudgeDownError: It gave no reply for longer than its patience, here or in another process.
        """
        transcripts = [parse_transcript(completion) for completion in completions]
        verdicts = self._ask_judge(Reading(transcripts), columns)
        reading = Reading(transcripts, verdicts.scores if verdicts is not None else None)
        scores = self._ask_all(completions, columns | {READING: reading})
        undecided = {place for name in self._deciding for place, value in enumerate(scores[name]) if value is None}
        if verdicts is not None:
            undecided |= verdicts.missing
        abstained = frozenset(undecided | broken_rollouts(columns) | set(broken))
        for values in scores.values():
            for place in abstained:
                values[place] = None
        batch = ScoredBatch(completions, columns, scores, transcripts, abstained, verdicts)
        self._log(batch, len(undecided))
        for observer in self.observers:
            observer(batch)
        return batch

    def check_judge(self) -> None:
        """Asks the judge what everybody knows, once in the life of this object.

        Raises:
            JudgeError: It cannot be trusted.
        """
        if self._bench is not None and self._unchecked:
            self._background.run(check_judge(self._bench.judge))
        self._unchecked = False

    def close(self) -> None:
        """Gives back what the judge holds: connections, the end of its audit log."""
        if self._bench is not None:
            self._background.run(close_judge(self._bench.judge))

    def _ask_judge(self, reading: Reading, columns: dict[str, Any]) -> Verdicts | None:
        if self._bench is None:
            return None
        self.check_judge()
        verdicts = self._background.run(self._bench.ask(reading, columns))
        # Together: a process that stopped alone would leave the others waiting for it.
        told = gather((verdicts.waited, verdicts.down))
        if down := [(waited, reason) for waited, reason in told if reason is not None]:
            waited, reason = max(down)
            raise JudgeDownError(
                f"the judge has given no reply for {waited:.0f} s, {self._bench.patience:g} s are allowed ({reason}). "
                f"{self.when_down()}"
            )
        return verdicts

    def _ask_all(self, completions: Sequence[Any], columns: dict[str, Any]) -> Scores:
        # Plain functions run here, in the main thread; those that are async wait side by side.
        given = {name: function(completions=completions, **columns) for name, function in self._functions.items()}
        if waiting := {name: values for name, values in given.items() if inspect.isawaitable(values)}:
            given |= dict(zip(waiting, self._background.run(_all_of(waiting.values())), strict=True))
        for name, values in given.items():
            if len(values) != len(completions):
                raise ConfigError(f"{name} gave {len(values)} rewards for {len(completions)} rollouts")
        return {name: list(values) for name, values in given.items()}

    def _log(self, batch: ScoredBatch, undecided: int) -> None:
        log, rollouts = batch.columns.get("log_metric"), len(batch.completions)
        if log is None or not rollouts:
            return
        metrics = batch.verdicts.metrics() if batch.verdicts is not None else {}
        if self._deciding or metrics:
            metrics["judge/no_verdict"] = undecided / rollouts
        environments = [seen for seen in batch.columns.get("environments") or () if hasattr(seen, "video_errors")]
        if calls := sum(environment.calls for environment in environments):
            for kind in ("tool_errors", "video_errors"):
                metrics[f"tools/{kind}"] = sum(getattr(environment, kind) for environment in environments) / calls
        for name, value in metrics.items():
            log(name, value)


class _Asking:
    """A reward function that asks the scoring for its values; plain for TRL, so that it runs in the main thread."""

    def __init__(self, scoring: Scoring, name: str, function: RewardFunction) -> None:
        functools.update_wrapper(self, function)
        self.scoring = scoring
        self.__name__ = name

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        return self.scoring.values(self.__name__, completions, columns)


def scoring_of(trainer: Any, **options: Any) -> Scoring:
    """The scoring behind a trainer's reward functions; where they have none they are put under a new one.

    Args:
        trainer: Any ``GRPOTrainer``. Its reward models, if any, are left as they are and stay unseen.
        options: Of a new one.

    Raises:
        ConfigError: It has no reward functions, or they do not share one scoring.
    """
    functions = {place: given for place, given in enumerate(trainer.reward_funcs) if is_function(given)}
    if not functions:
        raise ConfigError("the trainer has no reward functions, only reward models, whose values are not seen")
    asking = [given for given in functions.values() if isinstance(given, _Asking)]
    if asking:
        if len(asking) < len(functions) or any(given.scoring is not asking[0].scoring for given in asking):
            names = ", ".join(trainer.reward_func_names)
            raise ConfigError(f"the trainer's reward functions ({names}) must belong to one scoring, or to none")
        return asking[0].scoring
    scoring = Scoring({trainer.reward_func_names[place]: given for place, given in functions.items()}, **options)
    for place, given in zip(functions, scoring.reward_funcs, strict=True):
        trainer.reward_funcs[place] = given
    return scoring


async def _all_of(waiting: Iterable[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*waiting)


def is_function(given: Any) -> bool:
    """Whether it is no reward model, which TRL calls in a way of its own."""
    return callable(given) and not hasattr(given, "forward")


def function_name(function: RewardFunction) -> str:
    """The name under which TRL logs a reward function."""
    if isinstance(function, functools.partial):
        return function_name(function.func)
    return getattr(function, "__name__", type(function).__name__)
