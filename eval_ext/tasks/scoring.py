"""Scores one question: is the answer right, is the form kept, was the right part looked at.

A request that failed and an answer that the judge could not judge have no score: their values are None and
they are counted. Numbers over all questions are made in :mod:`eval_ext.tasks.metrics`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from eval_ext.outcome import Outcome, read_outcome
from eval_ext.tasks.metrics import metric_names, source_metric
from longvt_plugins import temporal
from longvt_plugins.conversation import Form
from longvt_plugins.judges.judge import Judge, JudgeConfig, Judgement
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.rows import Row, parse_row, row_span
from longvt_plugins.types import TimeSpan

Scores = dict[str, Any]


def score_sample(doc: Mapping[str, Any], results: Sequence[str], *, form: Form, judge: str) -> Scores:
    """What lmms-eval calls ``process_results``.

    Args:
        doc: The row, as the dataset holds it.
        results: The model's text.
        form: Of the task.
        judge: A registered judge.

    Returns:
        A value for every metric of the form.
    """
    row = parse_row(doc)
    outcome = read_outcome(results[0], form)
    scores: Scores = dict.fromkeys(metric_names(form))
    if outcome is None:
        return scores | {"scored": 0, "failed": 1, "no_verdict": 0}
    judgement = _judge(row, outcome, judge)
    right = judgement.score
    scores |= {
        "accuracy": right,
        "accuracy_ci_low": right,
        "accuracy_ci_high": right,
        source_metric(row["source"]): right,
        "frames": outcome.frames,
        "tokens": outcome.tokens,
        "seconds": outcome.seconds,
        "cut_off": float(outcome.stop_reason in ("length", "max_turns")),
        "scored": int(right is not None),
        "failed": 0,
        "no_verdict": int(right is None),
    }
    if "format" in scores:
        scores["format"] = float(outcome.format_ok)
    if "iou" in scores:
        scores |= {"iou": _iou(row, outcome), "calls": outcome.calls, "refused_calls": outcome.refused_calls}
    return scores


@functools.cache
def make_judge(name: str) -> Judge:
    """A registered judge, made once a process.

    Raises:
        UnknownNameError: There is none of this name.
    """
    return create_plugin_manager().judges.get(name)(JudgeConfig(name))


def _judge(row: Row, outcome: Outcome, judge: str) -> Judgement:
    if outcome.answer is None:
        return Judgement(0.0, "wrong", "no answer")
    return asyncio.run(
        make_judge(judge)(row["question"], row["answer"], outcome.answer, options=row["options"], kind=row["kind"])
    )


def _iou(row: Row, outcome: Outcome) -> float | None:
    """Of the last window; 0 if the model never looked, None if the row does not say where."""
    reference = row_span(row)
    if reference is None:
        return None
    return temporal.iou(TimeSpan(*outcome.windows[-1]), reference) if outcome.windows else 0.0
