"""Scores one question: is the answer right, is the form kept, was the right part looked at, what did it take.

The strict score is the exact judge's and always there; what another judge says stands beside it. A request that
failed and an answer without a verdict have no score: their values are None and they are counted. Numbers over all
questions are made in :mod:`eval_ext.tasks.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval_ext.outcome import Outcome, read_outcome
from eval_ext.tasks.intervals import interval_in
from eval_ext.tasks.metrics import RECALL_AT, metric_names, recall_metric, source_metric
from longvt_plugins import temporal
from longvt_plugins.conversation import Form
from longvt_plugins.judges.exact import exact_score, read_interval
from longvt_plugins.judges.judge import Judgement
from longvt_plugins.rows import Row, parse_row, row_span
from longvt_plugins.types import TimeSpan

Scores = dict[str, Any]

REWARDS = ("accuracy", "format", "iou", "iou_union", "hit", "hit_union")
"""The scores that saved rollouts carry: those for which nobody has to be asked."""

_FACTS = (
    "turns",
    "frames",
    "prompt_tokens",
    "tokens",
    "truncated_turns",
    "retries",
    "seconds",
    "model_seconds",
    "cost",
)


def score_sample(
    doc: Mapping[str, Any], results: Sequence[str], *, form: Form, judgement: Judgement | None = None
) -> Scores:
    """What lmms-eval calls ``process_results``.

    Args:
        doc: The row, as the dataset holds it.
        results: The model's text.
        form: Of the task.
        judgement: Another judge's on this answer; None where there is no other judge, or nothing to judge.

    Returns:
        A value for every metric of the form and of a judge.
    """
    row = parse_row(doc)
    scores = _score(row, read_outcome(results[0], form), form)
    judged = _judged(judgement)
    for category in doc.get("categories") or [row["source"]]:
        scores[source_metric(category)] = scores["accuracy"]
        judged[source_metric(category, "judged_accuracy")] = judged["judged_accuracy"]
    return scores | judged


def rollout_rewards(row: Row, outcome: Outcome | None, form: Form) -> dict[str, float | None]:
    """The scores that a saved rollout carries; none for one that failed.

    Args:
        row: The question.
        outcome: What its rollout came to.
        form: Of the task.
    """
    if outcome is None:
        return {}
    scores = _score(row, outcome, form)
    return {name: scores[name] for name in REWARDS if name in scores}


def tidied(row: Row, answer: str) -> str:
    """The answer as a judge is given it: of a sentence that answers a grounding question, the interval it names."""
    if row["kind"] != "grounding" or read_interval(answer) is not None:
        return answer
    return interval_in(answer) or answer


def _score(row: Row, outcome: Outcome | None, form: Form) -> Scores:
    scores: Scores = dict.fromkeys(metric_names(form))
    if outcome is None:
        return scores | {"scored": 0, "failed": 1}
    right = _strict(row, outcome.answer)
    facts = {name: getattr(outcome, name) for name in _FACTS}
    scores |= {
        **facts,
        "accuracy": right,
        "accuracy_ci_low": right,
        "accuracy_ci_high": right,
        "seconds_p95": outcome.seconds,
        "cut_off": float(outcome.stop_reason in ("length", "max_turns")),
        "scored": 1,
        "failed": 0,
    }
    if row["kind"] == "grounding":
        scores |= {"miou": right, **{recall_metric(overlap): float(right >= overlap) for overlap in RECALL_AT}}
    elif row["options"]:
        scores["chance"] = 1 / len(row["options"])
    if "format" in scores:
        scores["format"] = float(outcome.format_ok)
    if "iou" in scores:
        scores |= {
            **_evidence(row, outcome),
            "used_tools": float(outcome.calls > 0),
            "calls": outcome.calls,
            "refused_calls": outcome.refused_calls,
        }
    return scores


def _judged(judgement: Judgement | None) -> Scores:
    if judgement is None:
        # A value for every question, so that every process of a distributed run has the same names.
        names = ("judged_accuracy", "judged_accuracy_ci_low", "judged_accuracy_ci_high", "judge")
        return dict.fromkeys(names) | {"no_verdict": 0}
    score = judgement.score
    return {
        "judged_accuracy": score,
        "judged_accuracy_ci_low": score,
        "judged_accuracy_ci_high": score,
        "no_verdict": int(score is None),
        "judge": judgement.fingerprint,
    }


def _strict(row: Row, answer: str | None) -> float:
    if answer is None:
        return 0.0
    options, kind, question = row["options"], row["kind"], row["question"]
    score = exact_score(row["answer"], tidied(row, answer), options=options, kind=kind, question=question).score
    assert score is not None, "the exact judge always has a verdict"
    return score


def _evidence(row: Row, outcome: Outcome) -> Scores:
    """Of the last window and of all together; 0 if the model never looked, None if the row does not say where."""
    reference = row_span(row)
    if reference is None:
        return dict.fromkeys(("iou", "iou_union", "hit", "hit_union"))
    windows = [TimeSpan(*window) for window in outcome.windows]
    last = windows[-1:]
    return {
        "iou": temporal.iou(last, reference),
        "iou_union": temporal.iou(windows, reference),
        "hit": float(temporal.intersection(last, reference) > 0),
        "hit_union": float(temporal.intersection(windows, reference) > 0),
    }
