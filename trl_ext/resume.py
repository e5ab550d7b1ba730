"""Goes on with a training that was stopped at any moment: from which checkpoint, and with its weights.

::

    load_weights_by_model(trainer)
    trainer.train(resume_from_checkpoint=last_checkpoint("rl", processes=8))      # rl/checkpoint-17, or None

A process that is killed while it saves leaves half a checkpoint, which transformers would take for the last one.

transformers saves Qwen2.5-VL, and other models whose parts were renamed, under the names that published checkpoints
have. ``from_pretrained`` knows both; the trainer's own loading knows only the new ones: it warns of missing keys and
trains on from the weights it started with, the optimizer's state being that of the checkpoint. Here such a checkpoint
is loaded as a model, and its weights are copied. Adapters, FSDP and DeepSpeed have loading of their own, which is left
alone, as is a checkpoint whose names fit.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError

_STATE = "trainer_state.json"
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin", "optimizer_*", "pytorch_model_fsdp_*", "global_step*")
"""Where one process, FSDP and DeepSpeed keep the state of the optimizer."""

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


def checkpoint_to_resume(named: Any, output_dir: str, *, processes: int) -> str | None:
    """The checkpoint that a training is told to go on with: the one that is named, or the last whole one.

    Args:
        named: ``resume_from_checkpoint`` of the training: a folder, a truth value, or ``last``, with which there may
            be none yet.
        output_dir: Of the training.
        processes: Of the training.

    Raises:
        ConfigError: There is none, though there must be.
    """
    if named in (None, False, "false", "False"):
        return None
    if named not in (True, "true", "True", "last"):
        return str(named)
    found = last_checkpoint(output_dir, processes=processes)
    if found is None and named != "last":
        raise ConfigError(
            f"resume_from_checkpoint: {output_dir} holds no whole checkpoint; with `last` a run would start"
        )
    return found


def last_checkpoint(output_dir: str | Path, *, processes: int) -> str | None:
    """The last checkpoint of a folder from which a training can go on; None if there is none.

    Args:
        output_dir: Of the training.
        processes: Of the training, which each keep a random state.
    """
    folder = Path(output_dir)
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        number = re.fullmatch(r"checkpoint-(\d+)", path.name)
        if number is not None and is_complete(path, processes=processes):
            found.append((int(number[1]), str(path)))
    return max(found)[1] if found else None


def is_complete(checkpoint: Path, *, processes: int) -> bool:
    """Whether a checkpoint was written to its end, optimizer and random states among it.

    The trainer's state is what transformers writes last; only the random states of other processes may be later.
    """
    try:
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    names = ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in range(processes)]
    return (
        isinstance(state, dict)
        and f"checkpoint-{state.get('global_step')}" == checkpoint.name
        and any(True for pattern in _OPTIMIZERS for _ in checkpoint.glob(pattern))
        and all((checkpoint / name).is_file() for name in names)
    )
