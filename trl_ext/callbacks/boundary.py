"""Lets a trainer save only between generations, so that a resumed run needs no rollouts of the one that ended.

A generation may serve several steps (``steps_per_generation``, ``num_iterations``), and its rollouts are not part of a
checkpoint: resumed in their midst, TRL draws new ones and trains on something else. What is due then is saved at the
next boundary.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class SaveAtBoundary(TrainerCallback):  # type: ignore[misc]
    """Puts saving off until the rollouts at hand are used up; the end of the training saves in any case."""

    def __init__(self) -> None:
        self._due = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called after the trainer's own decision."""
        self._due = self._due or control.should_save
        done = state.global_step * args.gradient_accumulation_steps
        at_boundary = done % (args.steps_per_generation * args.num_iterations) == 0
        control.should_save = self._due and (at_boundary or state.global_step >= state.max_steps)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Nothing is due any more."""
        self._due = False
