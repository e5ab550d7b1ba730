"""Whole rewards of published recipes: which functions, and with which weights.

>>> get_preset("longvt_weighted").weights
{'answer_reward': 0.8, 'format_reward': 0.2}

In a recipe of ``longvt grpo``: ``reward_preset: longvt_weighted``. In Python::

    preset = get_preset("longvt_recall")
    GRPOTrainer(..., reward_funcs=preset.reward_funcs, args=GRPOConfig(reward_weights=preset.reward_weights))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from longvt_plugins.errors import UnknownNameError
from longvt_plugins.registry import did_you_mean
from trl_ext import rewards


@dataclass(frozen=True)
class Preset:
    """A reward as a sum.

    Attributes:
        weights: Of each function, by its name among :data:`trl_ext.rewards.REWARDS`.
        source: Where it was published, and what it is for.
    """

    weights: Mapping[str, float]
    source: str

    @property
    def reward_funcs(self) -> list[Callable[..., Any]]:
        """The functions, as ``GRPOTrainer`` takes them."""
        return [rewards.REWARDS[name] for name in self.weights]

    @property
    def reward_weights(self) -> list[float]:
        """The weights in the same order, as ``GRPOConfig`` takes them."""
        return list(self.weights.values())


PRESETS: dict[str, Preset] = {
    "longvt": Preset(
        {"answer_reward": 1.0, "format_reward": 1.0, "time_iou_reward": 1.0},
        "LongVT (arXiv 2511.20785, section 4): answer, form and IoU of the last window, 1 : 1 : 1",
    ),
    "longvt_recall": Preset(
        {"answer_reward": 1.0, "format_reward": 1.0, "time_recall_reward": 1.0},
        "LongVT's ablation: recall in place of IoU, which inflated windows game",
    ),
    "longvt_tool": Preset(
        {"answer_reward": 1.0, "format_reward": 1.0, "tool_use_reward": 1.0},
        "LongVT's ablation: a bonus for a right answer after a tool's reply in place of a time reward",
    ),
    "longvt_no_time": Preset(
        {"answer_reward": 1.0, "format_reward": 1.0},
        "LongVT's ablation: no time reward",
    ),
    "longvt_weighted": Preset(
        {"answer_reward": 0.8, "format_reward": 0.2},
        "LongVT's recipe without a time reward, 0.8 : 0.2",
    ),
    "para_grpo": Preset(
        {"answer_reward": 1.0, "anchored_format_reward": 1.0, "time_iou_reward": 1.0},
        "LongVT's sum with ParaVT's anchored format (PARA-GRPO), which keeps thoughts closed early in training",
    ),
}


def get_preset(name: str) -> Preset:
    """The preset of this name.

    Raises:
        UnknownNameError: There is none; the message lists those there are.
    """
    if name not in PRESETS:
        raise UnknownNameError(
            f"No reward preset named {name!r}.{did_you_mean(name, PRESETS)} There are: {', '.join(PRESETS)}."
        )
    return PRESETS[name]
