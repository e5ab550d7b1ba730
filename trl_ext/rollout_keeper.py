"""Writes the rollouts of a training run down, step by step, to look at and to train on again (RFT).

::

    keeper = RolloutKeeper("runs/demo/rollouts", model="Qwen/Qwen2.5-VL-7B-Instruct")
    Scoring(reward_funcs, keep=keeper.keep)      # runs/demo/rollouts/rollouts-00000012.parquet

Images are not stored, only which frames they were, so a step of 256 rollouts takes a few megabytes. Every
process writes its own files. A generation's rollouts are written once they are scored; those of an evaluation
during training stand with those of the step at which it ran.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.rollouts import Rollout, StopReason, shard_path, write_rollouts
from longvt_plugins.transcript import parse_transcript
from trl_ext.scoring import ScoredBatch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class RolloutKeeper:
    """One run's rollouts on their way to disk.

    Args:
        folder: Where to; its name is the run's.
        model: Who answers.
        tokenizer: Tells generated tokens from those of tool replies; without one, ``tokens`` stays 0.
        max_completion_length: Of the training, to tell a rollout that was cut off.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        model: str = "",
        tokenizer: PreTrainedTokenizerBase | None = None,
        max_completion_length: int | None = None,
    ) -> None:
        self._folder = Path(folder)
        self._model = model
        self._max_length = max_completion_length
        self._eos = tokenizer.eos_token_id if tokenizer is not None else None
        self._header: list[int] = []
        if tokenizer is not None:
            self._header = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)
        self._step = -1
        self._of_step: list[Rollout] = []

    def keep(self, batch: ScoredBatch) -> None:
        """Writes a scored batch, added to what its step has so far.

        Raises:
            OSError: The folder cannot be written to; training should not go on without its record.
        """
        from accelerate import PartialState

        rank = PartialState().process_index
        step = batch.columns["trainer_state"].global_step
        if step != self._step:
            self._step, self._of_step = step, []
        before = len(self._of_step)
        for place in range(len(batch.completions)):
            # Ranks share a group where it is spread over processes: each counts in a range of its own.
            index = rank * 1_000_000 + before + place
            self._of_step.append(self._rollout(batch, place, step=step, index=index))
        write_rollouts(self._of_step, shard_path(self._folder, step, rank=rank))

    def _rollout(self, batch: ScoredBatch, place: int, *, step: int, index: int) -> Rollout:
        completion = batch.completions[place]
        environment = batch.columns["environments"][place]
        ids = batch.columns["completion_ids"][place]
        rollout = Rollout.from_messages(
            environment.row,
            [*batch.columns["prompts"][place], *completion],
            run=self._folder.resolve().name,
            step=step,
            index=index,
            stop_reason="error" if environment.failure is not None else self._stop_reason(completion, len(ids)),
            rewards={name: values[place] for name, values in batch.scores.items()},
            tokens=count_generated(ids, self._eos, self._header) if self._eos is not None else 0,
            seconds=time.monotonic() - environment.started,
            model=self._model,
        )
        return replace(rollout, error=environment.failure)

    def _stop_reason(self, completion: Sequence[Any], length: int) -> StopReason:
        if parse_transcript(completion).answer is not None:
            return "answered"
        if self._max_length is not None and length >= self._max_length:
            return "length"
        last = completion[-1] if completion else {}
        return "max_turns" if last.get("role") == "tool" or last.get("tool_calls") else "no_answer"


def count_generated(ids: Sequence[int], eos: int, header: Sequence[int]) -> int:
    """How many tokens of a completion the model wrote, the tokens of tool replies left out.

    Args:
        ids: The completion: turns of the model, and between them what the chat template makes of the replies.
        eos: Ends a turn of the model.
        header: Begins its next one.
    """
    count = place = 0
    while place < len(ids):
        count += 1
        place += 1
        if ids[place - 1] == eos:
            while place < len(ids) and list(ids[place : place + len(header)]) != list(header):
                place += 1
            place += len(header)
    return count
