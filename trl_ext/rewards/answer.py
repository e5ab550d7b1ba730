"""Rewards for the answer: what a judge says of it, or how far an interval overlaps the right one.

::

    >>> completion = [{"role": "assistant", "content": "<think>It is red.</think><answer>red</answer>"}]
    >>> answer_reward([completion], answer=["Red"], kind=["open"])
    [1.0]

Named alone it asks the exact judge. Where a recipe chooses another judge, :class:`trl_ext.scoring.Scoring` asks
it once for every completion and this function, like all others, reads the verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from longvt_plugins import temporal
from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.exact import exact_score, read_interval
from longvt_plugins.transcript import Transcript
from longvt_plugins.types import TimeSpan
from trl_ext.rewards.reading import Attempt, Completions, Scores, for_each

MAX_ANSWER_CHARACTERS = 1000
"""An answer this long scores 0 for content and format: it lists guesses (LongVT's guard against reward hacking)."""

Overlap = Callable[[TimeSpan, TimeSpan], float]


def answer_reward(completions: Completions, **columns: Any) -> Scores:
    """How right the last ``<answer>`` is: the judge's score, for grounding rows the IoU of the interval.

    Args:
        completions: One rollout each.
        columns: ``answer``, and where the dataset has them ``question``, ``options`` and ``kind``.

    Returns:
        A score in [0, 1]; 0 for no answer, an empty one, or one of 1,000 characters and more; None where the row
        has no answer, or the judge had no verdict.

    Raises:
        ConfigError: The dataset has no column ``answer``, or a grounding row's answer is no interval.
    """
    return for_each(completions, columns, answer_score, required=["answer"])


def answer_recall_reward(completions: Completions, **columns: Any) -> Scores:
    """As ``answer_reward``, but the recall of the interval on grounding rows; naming the whole video games it."""
    return for_each(completions, columns, lambda attempt: answer_score(attempt, temporal.recall), required=["answer"])


def answer_score(attempt: Attempt, overlap: Overlap = temporal.iou) -> float | None:
    """The score of one answer.

    Args:
        attempt: The completion.
        overlap: Compares intervals on grounding rows, the given one with the right one.
    """
    answer, given = attempt.column("answer"), attempt.transcript.answer
    if answer is None:
        return None
    if not given or is_too_long(attempt.transcript):
        return 0.0
    if attempt.column("kind") == "grounding":
        return _interval_score(str(answer), given, overlap)
    if attempt.reading.verdicts is not None:
        return attempt.reading.verdicts[attempt.place]
    question = attempt.column("question")
    return exact_score(
        str(answer), given, attempt.column("options"), attempt.column("kind"), question=str(question or "")
    ).score


def needs_judge(attempt: Attempt) -> bool:
    """Whether the score hangs on a judge: there is an answer to compare, and it is not an interval."""
    return (
        attempt.column("answer") is not None
        and bool(attempt.transcript.answer)
        and not is_too_long(attempt.transcript)
        and attempt.column("kind") != "grounding"
    )


def is_too_long(transcript: Transcript) -> bool:
    """Whether the answer has :data:`MAX_ANSWER_CHARACTERS` or more."""
    return transcript.answer is not None and len(transcript.answer) >= MAX_ANSWER_CHARACTERS


def _interval_score(reference: str, given: str, overlap: Overlap) -> float:
    right, interval = read_interval(reference), read_interval(given)
    if right is None:
        raise ConfigError(
            f"the answer of a grounding question must be an interval [start, end], not {reference[:80]!r}"
        )
    return overlap(interval, right) if interval is not None else 0.0
