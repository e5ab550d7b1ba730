"""Training with TRL: the tools as an environment of GRPO, rewards, datasets and ``longvt grpo``.

The public names are loaded when they are first used. They need the core and TRL, not our launcher::

    from trl import GRPOConfig, GRPOTrainer
    from trl_ext import VideoToolSpec
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "EnvironmentConfig": "trl_ext.environment",
    "Scoring": "trl_ext.scoring",
    "VideoToolSpec": "trl_ext.spec",
    "add_callbacks": "trl_ext.callbacks",
    "get_judge_reward": "trl_ext.judge_reward",
    "get_preset": "trl_ext.rewards.presets",
    "load_training_rows": "trl_ext.dataset",
    "make_environment": "trl_ext.environment",
    "messages_to_sft": "trl_ext.dataset",
    "read_sft": "trl_ext.dataset",
    "rollouts_to_sft": "trl_ext.dataset",
    "write_sft": "trl_ext.dataset",
}

__all__ = [
    "EnvironmentConfig",
    "Scoring",
    "VideoToolSpec",
    "add_callbacks",
    "get_judge_reward",
    "get_preset",
    "load_training_rows",
    "make_environment",
    "messages_to_sft",
    "read_sft",
    "rollouts_to_sft",
    "write_sft",
]

if TYPE_CHECKING:
    from trl_ext.callbacks import add_callbacks
    from trl_ext.dataset import load_training_rows, messages_to_sft, read_sft, rollouts_to_sft, write_sft
    from trl_ext.environment import EnvironmentConfig, make_environment
    from trl_ext.judge_reward import get_judge_reward
    from trl_ext.rewards.presets import get_preset
    from trl_ext.scoring import Scoring
    from trl_ext.spec import VideoToolSpec


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
