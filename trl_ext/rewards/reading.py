"""How a reward function reads a batch: TRL's columns in, one number or None for every completion out.

::

    def format_reward(completions: Completions, **columns: Any) -> list[float | None]:
        return for_each(completions, columns, _format_score)

    def _format_score(attempt: Attempt) -> float | None:
        return float(attempt.transcript.format_ok)

A completion whose rollout met a video that could not be decoded is None for every function, whatever it scores:
the model was not shown what it asked for. :class:`trl_ext.scoring.Scoring` adds those without a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.transcript import Transcript, parse_transcript
from longvt_plugins.types import Message, TimeSpan

Completions = Sequence[str | Sequence[Message]]
"""What TRL gives a reward function: lists of messages, or texts."""

Scores = list[float | None]
"""What a reward function gives back: None where it does not apply, or nothing can be known."""

READING = "longvt_reading"
"""The argument under which :class:`Reading` is handed to reward functions, beside the dataset's columns."""


@dataclass(frozen=True)
class Reading:
    """What was found out about a batch once, for all reward functions.

    Attributes:
        transcripts: Of every completion.
        verdicts: The judge's scores; None in the place of a completion that it was not asked about or gave no
            verdict on. None for all: there is no judge but the exact one, which every function asks for itself.
    """

    transcripts: Sequence[Transcript]
    verdicts: Sequence[float | None] | None = None


@dataclass(frozen=True)
class Attempt:
    """One completion and its row.

    Attributes:
        transcript: What the model wrote.
        place: In the batch.
        columns: The whole batch's.
        reading: The whole batch's.
    """

    transcript: Transcript
    place: int
    columns: Mapping[str, Any]
    reading: Reading

    def column(self, name: str) -> Any:
        """The row's value; None for a column that the dataset lacks."""
        values = self.columns.get(name)
        return values[self.place] if values is not None else None

    @property
    def window(self) -> TimeSpan | None:
        """Where the evidence is; None where the row does not say.

        Raises:
            ConfigError: The row's ``video_segment`` is not ``[start, end]``.
        """
        segment = self.column("video_segment")
        if segment is None:
            return None
        try:
            start, end = segment
            return TimeSpan(float(start), float(end))
        except (TypeError, ValueError):
            raise ConfigError(f"video_segment must be [start, end] in seconds or null, not {segment!r}") from None


def for_each(
    completions: Completions,
    columns: Mapping[str, Any],
    score: Callable[[Attempt], float | None],
    *,
    required: Sequence[str] = (),
) -> Scores:
    """Scores a batch, completion by completion.

    Args:
        completions: As TRL gives them.
        columns: All other arguments of the reward function.
        score: Of one completion; None where it does not apply.
        required: Columns that the dataset must have.

    Raises:
        ConfigError: It lacks one.
    """
    if missing := [name for name in required if name not in columns]:
        raise ConfigError(
            f"the reward needs the column {', '.join(missing)}; the dataset gives: {', '.join(columns) or 'none'}"
        )
    reading = columns.get(READING)
    if reading is None:
        reading = Reading([parse_transcript(completion) for completion in completions])
    broken = broken_rollouts(columns)
    return [
        None if place in broken else score(Attempt(transcript, place, columns, reading))
        for place, transcript in enumerate(reading.transcripts)
    ]


def broken_rollouts(columns: Mapping[str, Any]) -> set[int]:
    """Places of the rollouts that met a video that could not be decoded, as our environments count them."""
    environments = columns.get("environments") or ()
    return {place for place, environment in enumerate(environments) if getattr(environment, "video_errors", 0)}
