"""Leaves out, from the next epoch on, the prompts that a model answers right every time: they teach nothing more.

::

    trainer.add_callback(MasteredPrompts(trainer))

A prompt is mastered once all rollouts of one of its groups score full marks in ``answer_reward``; those without a
verdict say nothing either way, and a group of which fewer than two are left does not count. At the end of an
epoch mastered prompts are dropped for good. TRL and transformers fix the number of steps of an epoch when training
starts, and count by it when they resume, so epochs keep their length: the places of dropped prompts go to prompts that
are left, drawn evenly and anew each epoch. This is done where TRL allows it, in ``trainer.train_dataset``: a view of
the same length stands in its place.

What is dropped, and what is mastered so far, is kept in the ``trainer_state.json`` of every checkpoint, so a
resumed run goes on with it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from longvt_plugins.errors import ConfigError
from trl_ext.callbacks.groups import ANSWER_REWARD, gather_groups
from trl_ext.scoring import ScoredBatch, scoring_of

STATE_KEY = "longvt_mastered_prompts"
"""Not the class's name, from which transformers would try to make the callback anew."""

_SAME_EPOCH = 1e-6


class MasteredPrompts(TrainerCallback):  # type: ignore[misc]
    """Drops mastered prompts at the ends of epochs.

    Args:
        trainer: A ``GRPOTrainer`` over a dataset with a length.
        key: The column that names its rows.
        reward: Name of the reward that says whether an answer is right.
        full_marks: From this score on an answer counts as right.

    Attributes:
        dropped: Keys of the rows that are left out.

    Raises:
        ConfigError: The rows have no such column, or one name twice; the reward is not among the trainer's.
    """

    def __init__(self, trainer: Any, *, key: str = "id", reward: str = ANSWER_REWARD, full_marks: float = 1.0) -> None:
        if reward not in trainer.reward_func_names:
            names = ", ".join(trainer.reward_func_names)
            raise ConfigError(f"to know what is mastered takes the reward {reward!r}; the trainer has: {names}")
        self._trainer = trainer
        self._key = key
        self._reward = reward
        self._full_marks = full_marks
        self._view = _View(trainer.train_dataset, _names(trainer.train_dataset, key))
        self._mastered: set[str] = set()
        self.dropped: set[str] = set()
        trainer.train_dataset = self._view
        scoring_of(trainer).observers.append(self._observe)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Takes up what a checkpoint knows."""
        known = state.stateful_callbacks.get(STATE_KEY, {}).get("attributes", {})
        self.dropped, self._mastered = set(known.get("dropped", ())), set(known.get("mastered", ()))
        if state.epoch and abs(state.epoch - round(state.epoch)) < _SAME_EPOCH:
            self._drop()  # the checkpoint of an epoch's last step is written before the epoch ends
        self._note(state)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Fills the places of dropped prompts."""
        # The epoch is a quotient of steps; in the middle of one, as after resuming, it is rounded down.
        epoch = math.floor((state.epoch or 0.0) + _SAME_EPOCH)
        self._view.leave_out(self.dropped, seed=f"{args.seed}/{epoch}")

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drops what was mastered in this epoch."""
        self._drop()
        self._note(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Writes down what is mastered so far, for a checkpoint of this step."""
        self._note(state)

    def _drop(self) -> None:
        # As long as enough is left for a batch of different prompts.
        least = max(1, self._trainer.args.generation_batch_size // self._trainer.num_generations)
        for name in sorted(self._mastered - self.dropped):
            if len(self._view) - len(self.dropped) > least:
                self.dropped.add(name)

    def _note(self, state: TrainerState) -> None:
        attributes = {"dropped": sorted(self.dropped), "mastered": sorted(self._mastered)}
        state.stateful_callbacks[STATE_KEY] = {"args": {}, "attributes": attributes}

    def _observe(self, batch: ScoredBatch) -> None:
        if not self._trainer.model.training:
            return
        names = batch.columns[self._key]
        for group in gather_groups(self._trainer, list(zip(names, batch.scores[self._reward], strict=True))):
            scores = [score for _, score in group if score is not None]
            if len(scores) > 1 and min(scores) >= self._full_marks:
                self._mastered.add(str(group[0][0]))
        if (log := batch.columns.get("log_metric")) is not None:
            log("prompts/mastered", len(self._mastered) / len(self._view))
            log("prompts/dropped", len(self.dropped) / len(self._view))


class _View:
    """A dataset in which rows stand for those that are left out; its length never changes."""

    def __init__(self, dataset: Any, names: Sequence[str]) -> None:
        self._dataset = dataset
        self._names = names
        self._places: Sequence[int] = range(len(names))

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Any:
        return self._dataset[self._places[index]]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        return [self[index] for index in indices]

    @property
    def column_names(self) -> Any:
        return self._dataset.column_names

    def leave_out(self, names: set[str], *, seed: str) -> None:
        """Puts rows that are left into the places of these."""
        left = [place for place, name in enumerate(self._names) if name not in names]
        chance = random.Random(seed)
        drawn: list[int] = []
        places = list(range(len(self._names)))
        for place in sorted(set(places).difference(left)):
            drawn = drawn or chance.sample(left, len(left))
            places[place] = drawn.pop()
        self._places = places


def _names(dataset: Any, key: str) -> list[str]:
    if not hasattr(dataset, "__len__") or key not in (getattr(dataset, "column_names", None) or ()):
        raise ConfigError(f"to drop mastered prompts takes a dataset with a length and the column {key!r}")
    names = [str(name) for name in dataset[key]]
    if len(set(names)) < len(names):
        raise ConfigError(f"to drop mastered prompts takes different names of rows; the column {key!r} repeats some")
    return names
