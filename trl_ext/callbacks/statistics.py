"""What the rollouts did, read from their transcripts, so for the tools of any environment.

Logged for each generation:

- ``rollouts/calls``: tool calls of a rollout, ``rollouts/with_call``: share of rollouts that made one.
- ``rollouts/failed_calls``: share of the calls that could not be read, got an error as reply, or no reply.
- ``rollouts/answered``: share with an answer, ``rollouts/in_form``: share in LongVT's form.
- ``rollouts/abstained``: share that had no verdict or a broken video and so teaches nothing.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from trl_ext.scoring import ScoredBatch, scoring_of


class RolloutStatistics(TrainerCallback):  # type: ignore[misc]
    """Logs the figures above.

    Args:
        trainer: A ``GRPOTrainer``.
    """

    def __init__(self, trainer: Any) -> None:
        scoring_of(trainer).observers.append(observe)


def observe(batch: ScoredBatch) -> None:
    """Logs the figures of one batch."""
    log, count = batch.columns.get("log_metric"), len(batch.transcripts)
    if log is None or not count:
        return
    written = [len(one.tool_calls) + len(one.malformed_calls) for one in batch.transcripts]
    executed = sum(len(one.executed_calls) for one in batch.transcripts)
    log("rollouts/calls", sum(written) / count)
    log("rollouts/with_call", sum(calls > 0 for calls in written) / count)
    if total := sum(written):
        log("rollouts/failed_calls", (total - executed) / total)
    log("rollouts/answered", sum(one.answer is not None for one in batch.transcripts) / count)
    log("rollouts/in_form", sum(one.format_ok for one in batch.transcripts) / count)
    log("rollouts/abstained", len(batch.abstained) / count)
