"""What a rollout tells the scoring: one JSON text per question, which is what lmms-eval carries and caches.

::

    {"longvt_outcome": 2, "answer": "red", "format_ok": true, "windows": [[46.0, 52.0]], "calls": 1, "turns": 2, ...}

lmms-eval hands a task nothing of an answer but its text, and its cache keeps nothing else, so what the model
did travels in the text. A rollout that failed becomes the empty text, which lmms-eval never caches. The whole
conversation does not travel: it is in the rollout files.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from eval_ext.metering import Effort
from longvt_plugins.conversation import Form
from longvt_plugins.rollouts import Rollout
from longvt_plugins.transcript import parse_transcript

_MARK = "longvt_outcome"

_FAILED = ("[LMMS_EVAL_REQUEST_FAILED", "[LMMS_EVAL_BUDGET_EXCEEDED]")
"""How lmms-eval's own models begin the text of a request that failed."""

VERSION = 2
"""Part of every task's configuration, so that lmms-eval's cache gives back no text of another version."""


@dataclass(frozen=True)
class Outcome:
    """The facts about one rollout that scores are made of.

    Attributes:
        answer: None without one.
        format_ok: See :class:`~longvt_plugins.transcript.Transcript`.
        windows: Of the ``crop_video`` calls that were executed, in order.
        calls: Tool calls that were executed.
        refused_calls: Calls that were malformed or ended in an error.
        frames: Frames that the model was shown.
        tokens: Tokens that it wrote.
        seconds: How long it took.
        stop_reason: Why it ended.
        turns: Turns that it wrote.
        truncated_turns: Those of them that were cut off at the longest allowed.
        prompt_tokens: Tokens that it read, all turns together; 0 where a server does not count.
        cached_turns: Turns for which nobody was asked.
        retries: Requests that were sent again.
        model_seconds: Of ``seconds``, those spent waiting for the model.
        cost: US dollars; 0 without prices.
    """

    answer: str | None
    format_ok: bool
    windows: list[list[float]]
    calls: int
    refused_calls: int
    frames: int
    tokens: int
    seconds: float
    stop_reason: str
    turns: int = 0
    truncated_turns: int = 0
    prompt_tokens: int = 0
    cached_turns: int = 0
    retries: int = 0
    model_seconds: float = 0.0
    cost: float = 0.0


def write_outcome(rollout: Rollout, effort: Effort) -> str:
    """The text that lmms-eval gets for a rollout; empty if it failed.

    Args:
        rollout: What the model did.
        effort: What it took.
    """
    if rollout.stop_reason == "error":
        return ""
    outcome = Outcome(
        answer=rollout.answer,
        format_ok=parse_transcript(rollout.messages).format_ok,
        windows=rollout.windows,
        **count_calls(rollout),
        frames=rollout.frames,
        tokens=rollout.tokens,
        seconds=round(rollout.seconds, 3),
        stop_reason=rollout.stop_reason,
        **{**asdict(effort), "model_seconds": round(effort.model_seconds, 3)},
    )
    return json.dumps({_MARK: VERSION, **asdict(outcome)})


def count_calls(rollout: Rollout) -> dict[str, int]:
    """The calls that were executed, and those that were malformed or ended in an error."""
    transcript = parse_transcript(rollout.messages)
    calls = len(transcript.executed_calls)
    refused = len(transcript.tool_calls) - calls + len(transcript.malformed_calls)
    return {"calls": calls, "refused_calls": refused}


def read_outcome(text: str, form: Form) -> Outcome | None:
    """What a text says that came back from lmms-eval; None for a failed request.

    Args:
        text: From one of our models, or what any other model wrote.
        form: Of the task: where the model answers at once, an untagged text is its answer.
    """
    if not text.strip() or text.startswith(_FAILED):
        return None
    values = _envelope(text)
    if values is not None:
        return Outcome(**values)
    transcript = parse_transcript(text)
    answer = transcript.answer
    if answer is None and form == "non_think":
        answer = text.strip()
    # A text holds no replies of tools, so nothing in it was executed.
    refused = len(transcript.tool_calls) + len(transcript.malformed_calls)
    stop_reason = "answered" if answer is not None else "no_answer"
    return Outcome(answer, transcript.format_ok, [], 0, refused, 0, 0, 0.0, stop_reason, turns=1)


def _envelope(text: str) -> dict[str, Any] | None:
    if not text.startswith(f'{{"{_MARK}"'):
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None  # another model's text that only starts alike
    if not isinstance(values, dict) or values.pop(_MARK, None) != VERSION:
        return None
    return values if set(values) == set(Outcome.__dataclass_fields__) else None
