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
    source = f"{SOURCE}/{pair.question_type}" if pair.question_type else SOURCE
    return _row(pair, pair.id, pair.answer, source)


def trace_row(trace: Trace) -> Row:
    """The question that a trace answers, as a training row."""
    return _row(trace, trace.qa, trace.reference_answer, SOURCE)


def _row(record: QAPair | Trace, row_id: str, answer: str, source: str) -> Row:
    return {
        "id": row_id,
        "videos": {VIDEO_NAME: record.path},
        "kind": record.kind,
        "question": record.question,
        "answer": answer,
        "video_segment": [record.start, record.end],
        "options": list(record.options) if record.options is not None else None,
        "source": source,
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
        seconds=trace.seconds or (trace.provenance.seconds if trace.provenance is not None else 0.0),
        stop_reason=trace.stop_reason,
        model=trace.model,
    )
