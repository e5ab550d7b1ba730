"""LongVT's rewards as reward functions of TRL's GRPOTrainer; pure functions of what the model wrote and of the row.

::

    reward_funcs: [trl_ext.rewards.answer_reward, trl_ext.rewards.format_reward, trl_ext.rewards.time_iou_reward]

    >>> completion = [{"role": "assistant", "content": "<think>It is red.</think><answer>red</answer>"}]
    >>> answer_reward([completion], answer=["Red"]), format_reward([completion])
    ([1.0], [1.0])

TRL hands over ``completions`` (lists of messages, or texts) and every column of the dataset as a list; the
rows are those of :mod:`longvt_plugins.rows`. LongVT's reward is the plain sum of answer, format and time IoU,
so TRL's default weights (arXiv 2511.20785, section 4).

None means that a reward does not apply. TRL leaves a completion out of its group's baseline only if every
reward function said None; otherwise a None adds nothing to the sum, as 0 would. Here None depends on the
row alone, never on the completion, so that all rollouts of a group share it and no advantage is moved.
A judge that may abstain in the middle of a group breaks this: its failures train as wrong answers unless
all rewards of that completion abstain together.

Nothing that a model wrote makes a function raise; a column that is missing from the dataset does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from longvt_plugins import temporal
from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.exact import exact_score
from longvt_plugins.transcript import Transcript, parse_transcript
from longvt_plugins.types import Message, TimeSpan

Completions = Sequence[str | Sequence[Message]]

MAX_ANSWER_CHARACTERS = 1000
"""An answer this long scores 0 for content and format: it lists guesses (LongVT's guard against reward hacking)."""

TOOL_USE_SCORE = 0.5
"""From this answer score on, using a tool is rewarded."""


def answer_reward(completions: Completions, **columns: Any) -> list[float | None]:
    """How right the last ``<answer>`` is, by the exact judge: 0 or 1, for grounding rows the IoU of the interval.

    Args:
        completions: One rollout each.
        columns: ``answer``, and where the dataset has them ``options`` and ``kind``.

    Returns:
        A score in [0, 1]; 0 for no answer, an empty one, or one of 1,000 characters and more.

    Raises:
        ConfigError: The dataset has no column ``answer``, or a grounding row's answer is no interval.
    """
    return [
        _answer_score(transcript, *row)
        for transcript, *row in _rows(completions, columns, required=["answer"], optional=["options", "kind"])
    ]


def format_reward(completions: Completions, **columns: Any) -> list[float | None]:
    """1 if the rollout has LongVT's form and its answer is shorter than 1,000 characters, else 0.

    The form is :attr:`longvt_plugins.transcript.Transcript.format_ok`.
    """
    return [_format_score(transcript) for transcript in _transcripts(completions)]


def anchored_format_reward(completions: Completions, **columns: Any) -> list[float | None]:
    """The format reward, and half of an anchor that keeps the thought closed early in training (ParaVT's PARA-GRPO).

    The anchor is 0.4 for a first thought that is closed, 0.3 more if a closed answer is there too, and -0.3 for
    a first thought that is not closed. So a rollout in full form scores 1.35; one with a long answer scores 0.
    """
    return [_format_score(transcript) + 0.5 * _anchor(transcript) for transcript in _transcripts(completions)]


def time_iou_reward(completions: Completions, **columns: Any) -> list[float | None]:
    """IoU of the window that the last executed ``crop_video`` call asked for with the row's ``video_segment``.

    Returns:
        A score in [0, 1]; 0 without an executed call; None where the row has no window.
    """
    return _time_scores(temporal.iou, completions, columns)


def time_recall_reward(completions: Completions, **columns: Any) -> list[float | None]:
    """As :func:`time_iou_reward` with recall, for the ablation: a model learns to ask for the whole video."""
    return _time_scores(temporal.recall, completions, columns)


def tool_use_reward(completions: Completions, **columns: Any) -> list[float | None]:
    """1 if a tool gave something other than an error and the answer scores at least 0.5, else 0; for the ablation.

    Args:
        completions: One rollout each.
        columns: As for :func:`answer_reward`.

    Raises:
        ConfigError: As :func:`answer_reward`.
    """
    return [
        None if score is None else float(bool(transcript.executed_calls) and score >= TOOL_USE_SCORE)
        for transcript, score in zip(_transcripts(completions), answer_reward(completions, **columns), strict=True)
    ]


def _answer_score(transcript: Transcript, answer: object, options: list[str] | None, kind: str | None) -> float | None:
    if answer is None:
        return None
    if not transcript.answer or _is_too_long(transcript):
        return 0.0
    return exact_score(str(answer), transcript.answer, options, kind).score


def _format_score(transcript: Transcript) -> float:
    return float(transcript.format_ok and not _is_too_long(transcript))


def _anchor(transcript: Transcript) -> float:
    if _is_too_long(transcript) or transcript.first_thought == "none":
        return 0.0
    if transcript.first_thought == "unclosed":
        return -0.3
    return 0.4 if transcript.answer is None else 0.7


def _is_too_long(transcript: Transcript) -> bool:
    return transcript.answer is not None and len(transcript.answer) >= MAX_ANSWER_CHARACTERS


def _time_scores(
    overlap: Callable[[TimeSpan, TimeSpan], float], completions: Completions, columns: dict[str, Any]
) -> list[float | None]:
    scores: list[float | None] = []
    for transcript, segment in _rows(completions, columns, optional=["video_segment"]):
        if segment is None:
            scores.append(None)
        else:
            scores.append(overlap(transcript.windows[-1], TimeSpan(*segment)) if transcript.windows else 0.0)
    return scores


def _transcripts(completions: Completions) -> list[Transcript]:
    return [parse_transcript(completion) for completion in completions]


def _rows(
    completions: Completions, columns: dict[str, Any], *, required: Sequence[str] = (), optional: Sequence[str] = ()
) -> Iterator[tuple[Any, ...]]:
    """Each transcript with its row's values; a column that the dataset lacks reads as None."""
    if missing := [name for name in required if name not in columns]:
        raise ConfigError(
            f"the reward needs the column {', '.join(missing)}; the dataset gives: {', '.join(columns) or 'none'}"
        )
    nothing = [None] * len(completions)
    values = [columns[name] for name in required] + [columns.get(name) or nothing for name in optional]
    return zip(_transcripts(completions), *values, strict=True)
