"""Makes a trainer that resumes take the weights of its checkpoint.

::

    load_weights_by_model(trainer)
    trainer.train(resume_from_checkpoint="rl/checkpoint-17")

transformers saves Qwen2.5-VL, and other models whose parts were renamed, under the names that published checkpoints
have. ``from_pretrained`` knows both; the trainer's own loading knows only the new ones: it warns of missing keys and
trains on from the weights it started with, the optimizer's state being that of the checkpoint. Here such a checkpoint
is loaded as a model, and its weights are copied. Adapters, FSDP and DeepSpeed have loading of their own, which is left
alone, as is a checkpoint whose names fit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def load_weights_by_model(trainer: Any) -> None:
    """Puts the loading above in the place of a trainer's own, where that would not find the names.

    Args:
        trainer: Of transformers or TRL.
    """
    load = trainer._load_from_checkpoint

    def load_checkpoint(resume_from_checkpoint: str, model: Any = None) -> None:
        own = model if model is not None else trainer.model
        saved = saved_names(Path(resume_from_checkpoint))
        sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
        if sharded or saved <= own.state_dict().keys():
            load(resume_from_checkpoint, model)
            return
        found = type(own).from_pretrained(resume_from_checkpoint, dtype=own.dtype)
        own.load_state_dict(found.state_dict())

    trainer._load_from_checkpoint = load_checkpoint


def saved_names(checkpoint: Path) -> set[str]:
    """Names of the weights in a checkpoint; none for one that holds an adapter, or shards of another kind."""
    from safetensors import safe_open

    if (checkpoint / INDEX).is_file():
        return set(json.loads((checkpoint / INDEX).read_text(encoding="utf-8"))["weight_map"])
    if (checkpoint / WEIGHTS).is_file():
        with safe_open(str(checkpoint / WEIGHTS), framework="pt") as weights:
            return set(weights.keys())
    return set()
