"""Rewards for the form: thought, calls and answer in their tags, in LongVT's order.

::

    >>> completion = [{"role": "assistant", "content": "<think>It is red.</think><answer>red</answer>"}]
    >>> format_reward([completion]), anchored_format_reward([completion])
    ([1.0], [1.35])

They apply to every row. Only what the assistant wrote counts; tags in a tool's reply are text.
"""

from __future__ import annotations

from typing import Any

from trl_ext.rewards.answer import is_too_long
from trl_ext.rewards.reading import Attempt, Completions, Scores, for_each

ANCHOR_WEIGHT = 0.5
"""PARA-GRPO adds half of the anchor to the format reward."""

CLOSED_THOUGHT, FULL_FLOW, UNCLOSED_THOUGHT = 0.4, 0.3, -0.3
"""PARA-GRPO's anchor: a thought that is closed, an answer after it besides, a thought that is not closed."""


def format_reward(completions: Completions, **columns: Any) -> Scores:
    """1 if the rollout has LongVT's form and its answer is shorter than 1,000 characters, else 0.

    The form is :attr:`longvt_plugins.transcript.Transcript.format_ok`.
    """
    return for_each(completions, columns, _format_score)


def anchored_format_reward(completions: Completions, **columns: Any) -> Scores:
    """The format reward, and half of an anchor that keeps the thought closed early in training (ParaVT's PARA-GRPO).

    The anchor is 0.4 for a first thought that is closed, 0.3 more if a closed answer is there too, and -0.3 for
    a first thought that is not closed. So a rollout in full form scores 1.35; one with a long answer scores 0.
    """
    return for_each(completions, columns, lambda attempt: _format_score(attempt) + ANCHOR_WEIGHT * _anchor(attempt))


def _format_score(attempt: Attempt) -> float:
    return float(attempt.transcript.format_ok and not is_too_long(attempt.transcript))


def _anchor(attempt: Attempt) -> float:
    transcript = attempt.transcript
    if is_too_long(transcript) or transcript.first_thought == "none":
        return 0.0
    if transcript.first_thought == "unclosed":
        return UNCLOSED_THOUGHT
    return CLOSED_THOUGHT if transcript.answer is None else CLOSED_THOUGHT + FULL_FLOW
