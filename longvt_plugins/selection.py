"""Which rollouts and questions are worth training on, from what a model did with them.

::

    rollouts = read_rollouts("runs/rl/rollouts")
    kept, dropped = select_rft(rollouts)                # right answers on the right evidence, to imitate (RFT)
    rows, dropped = select_rl(rollouts, min_rollouts=8) # questions that are neither too easy nor too hard (RL)
    dropped                                             # {"all right": 311, "all wrong": 40}

Nothing is decided by chance that a seed does not fix, and every drop has its reason. It reads no file and
writes none; ``longvt rollouts`` and the steps of the pipeline do.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import Rollout
from longvt_plugins.rows import Row
from longvt_plugins.transcript import parse_transcript


def select_rft(
    rollouts: Iterable[Rollout],
    *,
    min_iou: float = 0.3,
    per_question: int = 1,
    min_answer: float = 1.0,
    answer_reward: str = "answer_reward",
    seed: int = 0,
) -> tuple[list[Rollout], dict[str, int]]:
    """Picks the rollouts worth training on again (LongVT's RFT): right, and for the right reason.

    Args:
        rollouts: Of any number of questions, steps and runs.
        min_iou: The last window must overlap the reference this much, where the row has a reference.
        per_question: At most this many of one question, so that easy ones do not crowd out the rest.
        min_answer: The answer's score must be at least this.
        answer_reward: Name of the reward that scores the answer.
        seed: Another seed picks others among the equally good. The pick does not depend on the order given.

    Returns:
        The kept rollouts in the order given, and how many were dropped for which reason.
    """
    given = list(rollouts)
    dropped: Counter[str] = Counter()
    kept: set[int] = set()
    seen: set[tuple[str, str]] = set()
    per_row: Counter[str] = Counter()
    for place in sorted(range(len(given)), key=lambda place: (_draw(given[place].id, seed), place)):
        rollout = given[place]
        score, iou = rollout.rewards.get(answer_reward), rollout.last_iou
        written = (rollout.row_id, _written(rollout))
        if score is None:
            dropped[f"no {answer_reward}"] += 1
        elif score < min_answer:
            dropped["answer not right"] += 1
        elif iou is not None and not rollout.windows:
            dropped["no window was looked at"] += 1
        elif iou is not None and iou < min_iou:
            dropped[f"IoU of the last window below {min_iou:g}"] += 1
        elif written in seen:
            dropped["same text as another of this question"] += 1
        elif per_row[rollout.row_id] >= per_question:
            dropped[f"question already has {per_question}"] += 1
        else:
            kept.add(place)
            seen.add(written)
            per_row[rollout.row_id] += 1
    return [rollout for place, rollout in enumerate(given) if place in kept], dict(dropped)


@dataclass(frozen=True)
class DurationBand:
    """Videos of a certain length, and how many questions about such are wanted.

    Args:
        start: Seconds; a video this long belongs to the band.
        end: Seconds; a video this long does not.
        most: Questions at most; None for all.

    Raises:
        ConfigError: Bounds that hold nothing.
    """

    start: float
    end: float
    most: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ConfigError(f"a band of durations must satisfy 0 <= start < end, not {self.start:g} and {self.end:g}")
        if self.most is not None and self.most < 1:
            raise ConfigError(f"a band of durations holds at least 1 question, not {self.most}")

    @classmethod
    def parse(cls, text: str) -> DurationBand:
        """Reads ``0:300`` or, with a limit, ``0:300:500``; the end may be ``inf``.

        Raises:
            ConfigError: Not such a text.
        """
        parts = text.split(":")
        try:
            start, end = float(parts[0]), float(parts[1])
            most = int(parts[2]) if len(parts) == 3 else None
        except (ValueError, IndexError):
            parts = []
        if len(parts) not in (2, 3):
            raise ConfigError(f"a band of durations is START:END or START:END:MOST in seconds, not {text!r}")
        return cls(start, end, most)


def select_rl(
    rollouts: Iterable[Rollout],
    *,
    min_rollouts: int = 2,
    right: float = 1.0,
    wrong: float = 0.0,
    answer_reward: str = "answer_reward",
    bands: Sequence[DurationBand] = (),
    duration: Callable[[Row], float] | None = None,
    seed: int = 0,
) -> tuple[list[Row], dict[str, int]]:
    """Picks the questions that GRPO can learn from: those that the model gets right now and then (LongVT).

    Args:
        rollouts: Several of each question. Those without a score, as when the judge failed, do not count.
        min_rollouts: A question with fewer scored ones is dropped: too little is known of it.
        right: Answers of this score or more are right.
        wrong: Answers of this score or less are wrong; what lies between is neither.
        answer_reward: Name of the reward that scores the answer.
        bands: Lengths of videos wanted; a question outside all of them is dropped. None: any length.
        duration: Gives the seconds of a row's video; needed where there are bands.
        seed: Another seed picks other questions where a band holds too many.

    Returns:
        The kept questions in the order in which they first occur, and how many were dropped for which reason.

    Raises:
        ConfigError: Bands without durations.
    """
    if bands and duration is None:
        raise ConfigError("bands of durations need the durations of the videos")
    rows: dict[str, Row] = {}
    scores: dict[str, list[float]] = defaultdict(list)
    for rollout in rollouts:
        rows.setdefault(rollout.row_id, rollout.row)
        if (score := rollout.rewards.get(answer_reward)) is not None:
            scores[rollout.row_id].append(score)
    dropped: Counter[str] = Counter()
    left = []
    for name in rows:
        reason = _why_not(scores[name], min_rollouts, right, wrong)
        if reason is None:
            left.append(name)
        else:
            dropped[reason] += 1
    if bands and duration is not None:
        left = _in_bands(left, rows, bands, duration, seed, dropped)
    return [rows[name] for name in left], dict(dropped)


def _why_not(scores: Sequence[float], min_rollouts: int, right: float, wrong: float) -> str | None:
    if len(scores) < min_rollouts:
        return f"fewer than {min_rollouts} scored rollouts"
    if min(scores) >= right:
        return "all right"
    if max(scores) <= wrong:
        return "all wrong"
    return None


def _in_bands(
    names: Sequence[str],
    rows: dict[str, Row],
    bands: Sequence[DurationBand],
    duration: Callable[[Row], float],
    seed: int,
    dropped: Counter[str],
) -> list[str]:
    members: dict[DurationBand, list[str]] = defaultdict(list)
    for name in names:
        seconds = duration(rows[name])
        band = next((band for band in bands if band.start <= seconds < band.end), None)
        if band is None:
            dropped["video of a length in no band"] += 1
        else:
            members[band].append(name)
    kept: set[str] = set()
    for band, found in members.items():
        drawn = sorted(found, key=lambda name: _draw(name, seed))[: band.most]
        kept |= set(drawn)
        if more := len(found) - len(drawn):
            dropped[f"band of {band.start:g} to {band.end:g} s already has {band.most}"] += more
    return [name for name in names if name in kept]


def _draw(name: str, seed: int) -> str:
    # Not hash(): Python salts it anew in every process.
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def _written(rollout: Rollout) -> str:
    """What the assistant wrote, apart from the ids of its calls."""
    transcript = parse_transcript(rollout.messages)
    calls = [(call.name, call.arguments) for call in transcript.tool_calls]
    return json.dumps([transcript.thoughts, calls, transcript.malformed_calls, transcript.answer], sort_keys=True)
