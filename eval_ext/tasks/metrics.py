"""How the values of single questions become a task's numbers.

>>> mean([1.0, None, 0.0])
0.5
>>> mean([None]) is None
True

A None is a question without a verdict: it is left out here and counted elsewhere (``failed``,
``no_verdict``), never taken for 0. lmms-eval's own ``mean`` ends the run at the first None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from longvt_plugins.conversation import Form

RESAMPLES = 2000
"""Of the bootstrap; its seed is fixed, so that an interval can be computed again."""


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of those that there are; None if there are none."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def total(values: Sequence[float | None]) -> int:
    """Sum of whole numbers."""
    return int(sum(value or 0 for value in values))


def ci_low(values: Sequence[float | None]) -> float | None:
    """Lower end of the 95 % interval of the mean."""
    return _bootstrap(values, 2.5)


def ci_high(values: Sequence[float | None]) -> float | None:
    """Upper end of the 95 % interval of the mean."""
    return _bootstrap(values, 97.5)


def p95(values: Sequence[float | None]) -> float | None:
    """What 95 of 100 stay below."""
    import numpy as np

    present = [value for value in values if value is not None]
    return float(np.percentile(present, 95)) if present else None


def dollars(values: Sequence[float | None]) -> float:
    """Sum of money."""
    return math.fsum(value or 0.0 for value in values)


def names(values: Sequence[str | None]) -> str | None:
    """The different names among the values; one, if all is well."""
    return "; ".join(sorted({value for value in values if value})) or None


@dataclass(frozen=True)
class Metric:
    """One number of a task.

    Attributes:
        aggregate: From the values of the questions to the number.
        higher_is_better: None where neither is.
        tools_only: It says nothing where the model has no tools.
        tags_only: It says nothing where the model answers at once.
    """

    aggregate: Callable[[Sequence[Any]], Any]
    higher_is_better: bool | None = None
    tools_only: bool = False
    tags_only: bool = False


METRICS = {
    "accuracy": Metric(mean, True),
    "accuracy_ci_low": Metric(ci_low, True),
    "accuracy_ci_high": Metric(ci_high, True),
    "format": Metric(mean, True, tags_only=True),
    "iou": Metric(mean, True, tools_only=True),
    "iou_union": Metric(mean, True, tools_only=True),
    "hit": Metric(mean, True, tools_only=True),
    "hit_union": Metric(mean, True, tools_only=True),
    "used_tools": Metric(mean, tools_only=True),
    "calls": Metric(mean, tools_only=True),
    "refused_calls": Metric(mean, False, tools_only=True),
    "turns": Metric(mean),
    "frames": Metric(mean),
    "prompt_tokens": Metric(mean),
    "tokens": Metric(mean),
    "truncated_turns": Metric(mean, False),
    "cut_off": Metric(mean, False),
    "retries": Metric(mean, False),
    "seconds": Metric(mean, False),
    "seconds_p95": Metric(p95, False),
    "model_seconds": Metric(mean, False),
    "cost": Metric(dollars, False),
    "scored": Metric(total, True),
    "failed": Metric(total, False),
}
"""Every number of our tasks; beside them each source of rows has an accuracy of its own."""

JUDGED = {
    "judged_accuracy": Metric(mean, True),
    "judged_accuracy_ci_low": Metric(ci_low, True),
    "judged_accuracy_ci_high": Metric(ci_high, True),
    "no_verdict": Metric(total, False),
    "judge": Metric(names),
}
"""What a judge adds that stands beside the exact one."""


RECALL_AT = (0.3, 0.5, 0.7)
"""Overlaps from which an interval counts as found, as Charades-STA is reported."""


def recall_metric(overlap: float) -> str:
    """Name of the share of intervals that overlap at least so far."""
    return f"r@{overlap}"


OF_KIND = {
    "grounding": {"miou": Metric(mean, True), **{recall_metric(overlap): Metric(mean, True) for overlap in RECALL_AT}},
    "choice": {"chance": Metric(mean)},
}
"""What is said of one kind of questions alone: the answer's own interval, and how often a guess is right."""


def source_metric(source: str, accuracy: str = "accuracy") -> str:
    """Name of an accuracy on the rows of one source."""
    return f"{accuracy}/{source}"


def metric_list(
    form: Form, sources: Iterable[str], *, judged: bool = False, kinds: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """The metrics of a task, as its YAML would list them.

    Args:
        form: Metrics that say nothing about it are left out.
        sources: Of the task's rows, or their categories; a single one needs no number of its own.
        judged: A judge stands beside the exact one.
        kinds: Of the task's rows.
    """
    metrics = {name: METRICS[name] for name in metric_names(form)}
    for kind in sorted(kinds):
        metrics |= OF_KIND.get(kind, {})
    if judged:
        metrics |= JUDGED
    named = sorted({source for source in sources if source})
    for source in named if len(named) > 1 else ():
        accuracies = ["accuracy", "judged_accuracy"] if judged else ["accuracy"]
        metrics |= {source_metric(source, name): METRICS["accuracy"] for name in accuracies}
    return [
        {"metric": name, "aggregation": metric.aggregate, "higher_is_better": metric.higher_is_better}
        for name, metric in metrics.items()
    ]


def is_judges(metric: str) -> bool:
    """Whether a metric is there only with a judge beside the exact one."""
    return metric.partition("/")[0] in JUDGED


def metric_names(form: Form) -> list[str]:
    """The metrics that say something about this form, without a judge's."""
    return [
        name
        for name, metric in METRICS.items()
        if not (metric.tools_only and form != "tool") and not (metric.tags_only and form == "non_think")
    ]


def _bootstrap(values: Sequence[float | None], percentile: float) -> float | None:
    import numpy as np

    present = np.array([value for value in values if value is not None], dtype=float)
    if not present.size:
        return None
    rng = np.random.default_rng(0)
    # One resample at a time: all at once would be a table of thousands of questions times as many resamples.
    means = [rng.choice(present, present.size).mean() for _ in range(RESAMPLES)]
    return float(np.percentile(means, percentile))
