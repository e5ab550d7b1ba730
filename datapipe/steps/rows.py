"""Questions as rows and traces as rollouts, which is what the loop and the selection work on.

>>> qa_row(pair)["video_segment"], trace_rollout(trace).last_iou
([12.0, 20.0], 0.8)
"""

from __future__ import annotations

from typing import cast

from datapipe.records import QAPair, Trace
from datapipe.steps.watching import VIDEO_NAME
from longvt_plugins.rollouts import Rollout
from longvt_plugins.rows import Row
from longvt_plugins.types import Message

SOURCE = "datapipe"

ANSWER_REWARD = "answer_reward"
"""The name under which a trace's score is among the rewards of its rollout."""


def qa_row(pair: QAPair) -> Row:
    """A question as a training row."""
    return {
        "id": pair.id,
        "videos": {VIDEO_NAME: pair.path},
        "kind": pair.kind,
        "question": pair.question,
        "answer": pair.answer,
        "video_segment": [pair.start, pair.end],
        "options": list(pair.options) if pair.options is not None else None,
        "source": f"{SOURCE}/{pair.question_type}" if pair.question_type else SOURCE,
    }


def trace_row(trace: Trace) -> Row:
    """The question that a trace answers, as a training row."""
    return {
        "id": trace.qa,
        "videos": {VIDEO_NAME: trace.path},
        "kind": trace.kind,
        "question": trace.question,
        "answer": trace.reference_answer,
        "video_segment": [trace.start, trace.end],
        "options": list(trace.options) if trace.options is not None else None,
        "source": SOURCE,
    }


def trace_rollout(trace: Trace) -> Rollout:
    """A trace as a rollout; its score is the reward ``answer_reward``, None where no verdict was had."""
    row = trace_row(trace)
    return Rollout(
        id=trace.id,
        run=SOURCE,
        step=0,
        row_id=trace.qa,
        group=trace.qa,
        row=row,
        messages=[cast(Message, dict(message)) for message in trace.messages],
        windows=[list(window) for window in trace.windows],
        reference=row["video_segment"],
        answer=trace.answer,
        rewards={ANSWER_REWARD: trace.score, "time_iou_reward": trace.iou},
        tokens=trace.tokens,
        frames=trace.frames,
        seconds=trace.seconds,
        stop_reason=trace.stop_reason,
        model=trace.model,
    )
