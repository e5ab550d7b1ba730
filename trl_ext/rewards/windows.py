"""Rewards for where the model looked: the windows of its executed ``crop_video`` calls against the row's window.

::

    time_iou_reward(completions, video_segment=[[48.0, 52.0]])              # LongVT: IoU of the last window
    time_giou_best = get_time_reward("giou", windows="best")                # a combination of your own

A call counts once a tool answered it with something other than an error. All scores lie in [0, 1], and are 0 for a
rollout that looked nowhere. A row without a window gives None, to all rollouts of its group alike.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

from longvt_plugins import temporal
from longvt_plugins.errors import ConfigError
from longvt_plugins.temporal import Spans
from longvt_plugins.types import TimeSpan
from trl_ext.rewards.reading import Attempt, Completions, Scores, for_each

Measure = Literal["iou", "recall", "giou", "wasserstein"]
Windows = Literal["last", "best", "union"]


def _giou(predicted: Spans, reference: TimeSpan) -> float:
    """From -1..1 to 0..1, so that looking far off is worth no less than not looking."""
    return (1 + temporal.generalised_iou(predicted, reference)) / 2


def _nearness(predicted: Spans, reference: TimeSpan) -> float:
    """1 where the distance is 0, 1/e where it is the reference's length (as boxes in arXiv 2110.13389, equation 5)."""
    distance = temporal.wasserstein(predicted, reference)
    if reference.seconds == 0:
        return float(distance == 0)
    return math.exp(-distance / reference.seconds)


_MEASURES: dict[Measure, Callable[[Spans, TimeSpan], float]] = {
    "iou": temporal.iou,
    "recall": temporal.recall,
    "giou": _giou,
    "wasserstein": _nearness,
}


def time_iou_reward(completions: Completions, **columns: Any) -> Scores:
    """IoU of the last window with the row's ``video_segment``: LongVT's time reward.

    Returns:
        A score in [0, 1]; 0 without an executed call; None where the row has no window.
    """
    return _time_scores(completions, columns, "iou", "last")


def time_recall_reward(completions: Completions, **columns: Any) -> Scores:
    """As ``time_iou_reward`` with recall, for the ablation: a model learns to ask for the whole video."""
    return _time_scores(completions, columns, "recall", "last")


def time_giou_reward(completions: Completions, **columns: Any) -> Scores:
    """As ``time_iou_reward`` with ``(1 + generalised IoU) / 2``: a miss that is nearer scores more."""
    return _time_scores(completions, columns, "giou", "last")


def time_wasserstein_reward(completions: Completions, **columns: Any) -> Scores:
    """As ``time_iou_reward`` with ``exp(-distance / length of the reference)``, the distance 1-Wasserstein's."""
    return _time_scores(completions, columns, "wasserstein", "last")


def time_iou_best_reward(completions: Completions, **columns: Any) -> Scores:
    """As ``time_iou_reward`` with the best of all windows; a model is free to look on after it has found it."""
    return _time_scores(completions, columns, "iou", "best")


def time_iou_union_reward(completions: Completions, **columns: Any) -> Scores:
    """As ``time_iou_reward`` with the time that all windows cover together: every astray look costs."""
    return _time_scores(completions, columns, "iou", "union")


def get_time_reward(measure: Measure = "iou", *, windows: Windows = "last") -> Callable[..., Scores]:
    """Makes a reward for a measure and a choice among a rollout's windows.

    Args:
        measure: ``iou``, ``recall``, ``giou`` as ``(1 + generalised IoU) / 2``, or ``wasserstein`` as
            ``exp(-distance / length of the reference)``.
        windows: The ``last`` one, the ``best``-scoring one, or the ``union`` of all.

    Raises:
        ConfigError: There is no such measure or choice.
    """
    for given, known in ((measure, get_args(Measure)), (windows, get_args(Windows))):
        if given not in known:
            raise ConfigError(f"a time reward is one of {', '.join(known)}, not {given!r}")

    def time_reward(completions: Completions, **columns: Any) -> Scores:
        return _time_scores(completions, columns, measure, windows)

    time_reward.__name__ = f"time_{measure}_reward" if windows == "last" else f"time_{measure}_{windows}_reward"
    return time_reward


def _time_scores(completions: Completions, columns: dict[str, Any], measure: Measure, windows: Windows) -> Scores:
    return for_each(completions, columns, functools.partial(_time_score, measure=measure, windows=windows))


def _time_score(attempt: Attempt, *, measure: Measure, windows: Windows) -> float | None:
    reference = attempt.window
    if reference is None:
        return None
    looked, score = attempt.transcript.windows, _MEASURES[measure]
    if not looked:
        return 0.0
    if windows == "best":
        return max(score(window, reference) for window in looked)
    return score(looked if windows == "union" else looked[-1], reference)
