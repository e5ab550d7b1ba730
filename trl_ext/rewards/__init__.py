"""Reward functions for TRL's GRPOTrainer: pure functions of what the model wrote and of the row, one each.

::

    reward_funcs: [trl_ext.rewards.answer_reward, trl_ext.rewards.format_reward, trl_ext.rewards.time_iou_reward]

    >>> completion = [{"role": "assistant", "content": "<think>It is red.</think><answer>red</answer>"}]
    >>> answer_reward([completion], answer=["Red"]), format_reward([completion])
    ([1.0], [1.0])

TRL hands over ``completions`` (lists of messages, or texts) and every column of the dataset as a list; the
rows are those of :mod:`longvt_plugins.rows`. ``docs/rewards.md`` lists the functions with their formulas.

None means that a reward does not apply. TRL sums with ``nansum``: a None adds nothing, as 0 would, and a
completion leaves its group's baseline only if every function said None. So there are two kinds of None here. One
depends on the row alone (no window, no answer): all rollouts of a group share it, the sum of the group has one
term less, and no advantage moves. The other depends on the completion (its video broke, the judge had no
verdict): then all functions say None, and the group trains as if the rollout were not there. For the judge that
takes functions that are asked together, see :mod:`trl_ext.scoring`.

Nothing that a model wrote makes a function raise; a column that is missing from the dataset does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trl_ext.rewards.answer import MAX_ANSWER_CHARACTERS, answer_recall_reward, answer_reward
from trl_ext.rewards.form import anchored_format_reward, format_reward
from trl_ext.rewards.guards import (
    get_length_guard_reward,
    get_span_guard_reward,
    length_guard_reward,
    span_guard_reward,
)
from trl_ext.rewards.reading import Completions
from trl_ext.rewards.tool_use import TOOL_USE_SCORE, get_tool_use_reward, tool_use_reward
from trl_ext.rewards.windows import (
    get_time_reward,
    time_giou_reward,
    time_iou_best_reward,
    time_iou_reward,
    time_iou_union_reward,
    time_recall_reward,
    time_wasserstein_reward,
)

__all__ = [
    "MAX_ANSWER_CHARACTERS",
    "REWARDS",
    "TOOL_USE_SCORE",
    "Completions",
    "anchored_format_reward",
    "answer_recall_reward",
    "answer_reward",
    "format_reward",
    "get_length_guard_reward",
    "get_span_guard_reward",
    "get_time_reward",
    "get_tool_use_reward",
    "length_guard_reward",
    "span_guard_reward",
    "time_giou_reward",
    "time_iou_best_reward",
    "time_iou_reward",
    "time_iou_union_reward",
    "time_recall_reward",
    "time_wasserstein_reward",
    "tool_use_reward",
]

REWARDS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        answer_reward,
        answer_recall_reward,
        format_reward,
        anchored_format_reward,
        time_iou_reward,
        time_recall_reward,
        time_giou_reward,
        time_wasserstein_reward,
        time_iou_best_reward,
        time_iou_union_reward,
        tool_use_reward,
        length_guard_reward,
        span_guard_reward,
    )
}
"""Every reward function by its name, which recipes of ``longvt grpo`` may use without the path."""
