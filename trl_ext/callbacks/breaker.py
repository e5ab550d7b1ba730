"""Stops the training when its judge stays down, and leaves a checkpoint from which it goes on as if nothing was.

::

    trainer.add_callback(JudgeBreaker(trainer))
    trainer.train()
    # JudgeDownError: the judge has given no reply for 604 s, 600 s are allowed (no connection). Training stopped
    # before step 18 and learnt nothing from it; resume_from_checkpoint: rl/checkpoint-17

At the start it asks the judge three questions whose verdict is known, and refuses to train on one that fails them.

The batch on which the judge was down is thrown away: model, optimizer and scheduler are still those of the last
finished step, and the checkpoint holds the random states of its end. So the resumed run asks the same questions in the
same way. An evaluation during which the judge goes down is lost; the run is resumed after it.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trl_ext.callbacks.random_states import RandomStates
from trl_ext.scoring import scoring_of


class JudgeBreaker(TrainerCallback):  # type: ignore[misc]
    """Watches over the judge of a trainer's reward functions.

    Args:
        trainer: Its reward functions share a scoring with a judge.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._scoring = scoring_of(trainer)
        self._scoring.when_down = self._save
        self._first_step = 0
        self._saved_step: int | None = None
        self._random: RandomStates | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Asks the judge the questions whose verdict is known."""
        self._scoring.check_judge()
        self._first_step = state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Keeps the random states of the moment at which the trainer would save a checkpoint."""
        self._random = RandomStates.take()

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The trainer evaluates before it saves."""
        self._random = RandomStates.take()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Remembers what need not be saved again; a checkpoint of weights alone cannot be resumed."""
        if not args.save_only_model:
            self._saved_step = state.global_step

    def _save(self) -> str:
        """Writes the checkpoint of the last finished step, in every process, and says what to do with it."""
        trainer, state = self._trainer, self._trainer.state
        step = state.global_step
        told = f"Training stopped before step {step + 1} and learnt nothing from it; "
        if step == self._first_step:
            return told + ("nothing had been trained: start again" if step == 0 else "resume from where it started")
        if step != self._saved_step:
            if self._random is not None:
                self._random.put_back()
            only_model, trainer.args.save_only_model = trainer.args.save_only_model, False
            try:
                trainer._save_checkpoint(trainer.model, trial=None)
                trainer.callback_handler.on_save(trainer.args, state, trainer.control)
            finally:
                trainer.args.save_only_model = only_model
        return f"{told}resume_from_checkpoint: {trainer.args.output_dir}/checkpoint-{step}"
