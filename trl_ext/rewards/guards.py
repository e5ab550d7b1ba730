"""Guards: they give nothing for what is right, and take away for two known ways of gaming the other rewards.

::

    reward_funcs: [trl_ext.rewards.answer_reward, trl_ext.rewards.time_recall_reward, trl_ext.rewards.span_guard_reward]

Scores lie in [-1, 0]. TRL's ``get_soft_overlong_punishment`` counts every token of a completion, those of the
frames that a tool returned among them, and so punishes looking; the guard here counts thoughts, the answer and
malformed calls. Text outside the tags it does not count: that costs the format reward.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from longvt_plugins.errors import ConfigError
from trl_ext.rewards.reading import Attempt, Completions, Scores, for_each

FREE_CHARACTERS, MAX_CHARACTERS = 8_000, 16_000
"""About 2,000 and 4,000 tokens of English: five turns of a long thought each are free."""

FREE_INFLATION = 3.0
"""A window of up to three times the reference's length costs nothing: where it covers it their IoU is a third."""


def length_guard_reward(completions: Completions, **columns: Any) -> Scores:
    """0 for up to 8,000 characters of thoughts and answer, falling to -1 at 16,000."""
    return for_each(completions, columns, _length_score)


def get_length_guard_reward(free: int = FREE_CHARACTERS, limit: int = MAX_CHARACTERS) -> Callable[..., Scores]:
    """Makes the guard with bounds of your own.

    Args:
        free: Characters that cost nothing.
        limit: Characters from which on the score is -1.

    Raises:
        ConfigError: Not ``0 <= free < limit``.
    """
    if not 0 <= free < limit:
        raise ConfigError(f"the length guard needs 0 <= free < limit, not {free} and {limit}")

    def length_guard_reward(completions: Completions, **columns: Any) -> Scores:
        return for_each(completions, columns, functools.partial(_length_score, free=free, limit=limit))

    return length_guard_reward


def span_guard_reward(completions: Completions, **columns: Any) -> Scores:
    """0 while the last window is at most three times as long as the reference, then ``3 / ratio - 1``, towards -1.

    Returns:
        A score in [-1, 0]; 0 without an executed call; None where the row has no window.
    """
    return for_each(completions, columns, _span_score)


def get_span_guard_reward(free: float = FREE_INFLATION) -> Callable[..., Scores]:
    """Makes the guard with a bound of your own.

    Args:
        free: How many times the reference's length costs nothing.

    Raises:
        ConfigError: Below 1.
    """
    if not free >= 1:
        raise ConfigError(f"the span guard needs a ratio of at least 1, not {free}")

    def span_guard_reward(completions: Completions, **columns: Any) -> Scores:
        return for_each(completions, columns, functools.partial(_span_score, free=free))

    return span_guard_reward


def _length_score(attempt: Attempt, free: int = FREE_CHARACTERS, limit: int = MAX_CHARACTERS) -> float:
    transcript = attempt.transcript
    written = sum(map(len, transcript.thoughts + transcript.malformed_calls)) + len(transcript.answer or "")
    over = (written - free) / (limit - free)
    return -min(max(over, 0.0), 1.0) or 0.0  # never -0.0


def _span_score(attempt: Attempt, free: float = FREE_INFLATION) -> float | None:
    reference = attempt.window
    if reference is None:
        return None
    longest = free * reference.seconds
    looked = attempt.transcript.windows
    if not looked or looked[-1].seconds <= longest:
        return 0.0
    return longest / looked[-1].seconds - 1
