"""The reward for using a tool at all, for LongVT's ablation: after a cold start with tools it adds nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from longvt_plugins.errors import ConfigError
from trl_ext.rewards.answer import answer_score
from trl_ext.rewards.reading import Attempt, Completions, Scores, for_each

TOOL_USE_SCORE = 0.5
"""From this answer score on, using a tool is rewarded (LongVT)."""


def tool_use_reward(completions: Completions, **columns: Any) -> Scores:
    """1 if a tool gave something other than an error and the answer scores at least 0.5, else 0.

    Args:
        completions: One rollout each.
        columns: As for :func:`trl_ext.rewards.answer_reward`.

    Raises:
        ConfigError: As :func:`trl_ext.rewards.answer_reward`.
    """
    return for_each(completions, columns, _tool_use_score, required=["answer"])


def get_tool_use_reward(min_answer: float = TOOL_USE_SCORE) -> Callable[..., Scores]:
    """Makes the reward with another bar for the answer.

    Args:
        min_answer: The least score of an answer for which the tool's use counts; 0 pays for every use.

    Raises:
        ConfigError: Not in [0, 1].
    """
    if not 0 <= min_answer <= 1:
        raise ConfigError(f"min_answer must lie in [0, 1], not {min_answer}")

    def tool_use_reward(completions: Completions, **columns: Any) -> Scores:
        return for_each(
            completions, columns, functools.partial(_tool_use_score, min_answer=min_answer), required=["answer"]
        )

    return tool_use_reward


def _tool_use_score(attempt: Attempt, min_answer: float = TOOL_USE_SCORE) -> float | None:
    score = answer_score(attempt)
    return None if score is None else float(bool(attempt.transcript.executed_calls) and score >= min_answer)
