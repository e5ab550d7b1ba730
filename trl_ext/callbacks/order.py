"""Keeps the order of prompts of a run that is resumed after its first epoch.

TRL's sampler draws each epoch's order from a generator that starts afresh in every process, and nothing puts it
where it was: resumed in its third epoch, a run would go through the prompts in the order of the first. Here what
earlier epochs drew is drawn again first.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class PromptOrder(TrainerCallback):  # type: ignore[misc]
    """Puts the sampler of prompts where it was; an iterable dataset has none and is left alone."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draws what the epochs before the one to go on with drew."""
        sampler = getattr(kwargs["train_dataloader"], "batch_sampler", None)
        while sampler is not None and not hasattr(sampler, "num_samples"):
            # Batches, and the shares of processes in them, are wrapped around the sampler.
            sampler = getattr(sampler, "batch_sampler", None) or getattr(sampler, "sampler", None)
        generator = getattr(sampler, "generator", None)
        if sampler is not None and generator is not None:
            for _ in range(math.floor((state.epoch or 0.0) + 1e-6)):
                torch.randperm(sampler.num_samples, generator=generator)
