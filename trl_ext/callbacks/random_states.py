"""The random states of this process, taken and put back: a checkpoint can then be that of an earlier moment.

>>> states = RandomStates.take()
>>> first = random.random()
>>> states.put_back()
>>> random.random() == first
True
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class RandomStates:
    """States of Python, NumPy, torch and its CUDA devices: those that a checkpoint of transformers holds."""

    python: tuple[Any, ...]
    numpy: Any
    cpu: torch.Tensor
    cuda: list[torch.Tensor]

    @classmethod
    def take(cls) -> RandomStates:
        """The states as they are now; a few kilobytes."""
        # Devices that nobody uses yet are left asleep.
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda)

    def put_back(self) -> None:
        """Makes them the states of this process again."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
