"""Room on disk for checkpoints and for decoded frames.

::

    check_disk(recipe, loaded)
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from longvt_plugins.finding import Finding, blocker, ok, warning
from trl_ext.doctor.model import Loaded
from trl_ext.doctor.recipe import Recipe

_ADAM_BYTES = 8
"""Two averages in float32 for each weight that is trained."""

_LORA_SHARE = 0.02
"""Of the weights, at most: rank 32 on all linear layers of a 4B has 1.6 %."""


def check_disk(recipe: Recipe, loaded: Loaded) -> Iterator[Finding]:
    """Compares what the checkpoints will take with what is free.

    Args:
        recipe: Says where, and how often it saves.
        loaded: Its configuration tells the number of weights.
    """
    training = recipe.training
    each = checkpoint_bytes(recipe, parameters(loaded))
    free = shutil.disk_usage(_existing(Path(training.output_dir))).free
    steps = (
        int(training.save_steps) if training.save_steps >= 1 else max(1, int(training.max_steps * training.save_steps))
    )
    count = max(1, training.max_steps // steps) if training.max_steps > 0 else 1
    if training.save_total_limit:
        count = min(count, int(training.save_total_limit) + 1)
    told = f"a checkpoint takes about {_gb(each)}, {training.output_dir} has {_gb(free)} free"
    if each > free:
        yield blocker("disk", told, "another output_dir")
    elif each * count > free:
        yield warning("disk", f"{told}, {count} will be kept", "save_total_limit: 2, or a larger save_steps")
    else:
        yield ok("disk", f"{told}, {count} will be kept")
    cache = recipe.environment.video_cache_dir
    if recipe.kind == "rl" and cache is not None:
        free = shutil.disk_usage(_existing(Path(cache).expanduser())).free
        if recipe.environment.video_disk_gb * 2**30 > free:
            yield warning(
                "disk", f"video_cache_dir has {_gb(free)} free, video_disk_gb allows more", "lower video_disk_gb"
            )


def parameters(loaded: Loaded) -> int:
    """Weights of the model, counted without making them."""
    import torch
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(loaded.config)
    return sum(parameter.numel() for parameter in model.parameters())


def checkpoint_bytes(recipe: Recipe, weights: int) -> int:
    """What one checkpoint takes, its optimizer among it."""
    width = 4 if str(recipe.model.dtype).removeprefix("torch.") == "float32" else 2
    trained = int(weights * _LORA_SHARE) if recipe.model.use_peft else weights
    saved = trained if recipe.model.use_peft else weights
    return saved * width + (0 if recipe.training.save_only_model else trained * _ADAM_BYTES)


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"
