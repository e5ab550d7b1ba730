"""The few steps of training that a tiny model takes on the spot, for frame_model.py and speech_model.py.

::

    fit(model, lambda: cross_entropy(model(inputs).logits, wanted), rate=1e-2, steps=200)

AdamW with one cycle of the learning rate. It saves nothing and looks at nothing but the loss that it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Told = Callable[[int, int], None]
"""How many steps are done, and of how many."""


def fit(
    model: torch.nn.Module,
    lesson: Callable[[], torch.Tensor],
    *,
    rate: float,
    steps: int,
    progress: Told | None = None,
) -> None:
    """Trains a model.

    Args:
        model: Left ready to be used, not to be trained on.
        lesson: The loss of one batch, drawn anew at each call.
        rate: Highest learning rate.
        steps: Batches.
        progress: Told after each.
    """
    import torch

    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        lesson().backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    model.eval()
