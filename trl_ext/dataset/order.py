"""The order of conversations of like length, the same for a run that goes on as for one that was never stopped.

::

    order_by_epoch(trainer)         # before trainer.train(); nothing happens unless the trainer groups by length

transformers draws a new order of each epoch from the process's random state. A run that goes on in its second epoch
has another state there, and with it another order: some conversations would come twice in an epoch and some never.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def order_by_epoch(trainer: Any) -> None:
    """Draws the order of each epoch from the seed and the epoch's number alone.

    Args:
        trainer: Of transformers or TRL, not training yet.
    """
    from transformers.trainer_pt_utils import LengthGroupedSampler

    get_sampler = trainer._get_train_sampler

    def get_ordered(train_dataset: Any = None) -> Any:
        sampler = get_sampler(train_dataset)
        return _ByEpoch(sampler, trainer) if isinstance(sampler, LengthGroupedSampler) else sampler

    trainer._get_train_sampler = get_ordered


class _ByEpoch:
    def __init__(self, sampler: Any, trainer: Any) -> None:
        self._sampler = sampler
        self._trainer = trainer

    def __iter__(self) -> Iterator[int]:
        import torch

        args, state = self._trainer.args, self._trainer.state
        seed = args.seed if args.data_seed is None else args.data_seed
        # The trainer counts epochs in fractions: 0.999... is a whole one that was summed up.
        epoch = int((state.epoch or 0) + 1e-6)
        self._sampler.generator = torch.Generator().manual_seed(seed + epoch)
        return iter(self._sampler)

    def __len__(self) -> int:
        return len(self._sampler)
