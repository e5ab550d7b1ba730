"""Two evaluations of the same questions: which one is better, and is that more than chance.

::

    found = compare(read_results(a)["videosiah_eval_tool"], read_results(b)["videosiah_eval_tool"], "accuracy")
    found.overall.difference, found.overall.ci, found.overall.p      # 0.07, (0.02, 0.12), 0.008

The questions are paired: the interval is that of a bootstrap over them. Where every score is 0 or 1 the p value is
McNemar's exact one, from the questions that only one of the two got right; otherwise it is the bootstrap's. A question
without a score in either has no pair; it is counted. Categories are those that the task scores by themselves, such as
``accuracy/<source>``; their p values are not corrected for being many.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval_ext.results import TaskResults
from longvt_plugins.errors import ConfigError
from longvt_plugins.registry import did_you_mean

RESAMPLES = 10_000
"""Of the bootstrap; its seed is fixed, so that a comparison can be computed again."""


@dataclass(frozen=True)
class Paired:
    """Two means over the same questions.

    Attributes:
        category: ``""`` for all questions.
        questions: Those with a score in both.
        a: Mean of the first.
        b: Mean of the second.
        ci: Of ``difference``, 95 %.
        p: That such a difference comes by chance, two-sided.
        test: Whose p: ``mcnemar`` or ``bootstrap``.
        only_a: Questions on which the first is better.
        only_b: Questions on which the second is better.
    """

    category: str
    questions: int
    a: float
    b: float
    ci: tuple[float, float]
    p: float
    test: str
    only_a: int
    only_b: int

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.b - self.a


@dataclass(frozen=True)
class Comparison:
    """Two runs.

    Attributes:
        metric: What is compared.
        overall: On all questions.
        categories: On those of each category.
        unpaired: Questions that are in one run alone.
        unscored: Questions that have no score in one of them.
    """

    metric: str
    overall: Paired
    categories: list[Paired]
    unpaired: int
    unscored: int


def compare(a: TaskResults, b: TaskResults, metric: str) -> Comparison:
    """Compares two runs question by question.

    Args:
        a: The first.
        b: The second; of the same questions, the task may be another form of them.
        metric: A score that the log has for each question.

    Raises:
        ConfigError: Different questions, none with a score in both, or a metric that is not there.
    """
    if a.fingerprint and b.fingerprint and a.fingerprint != b.fingerprint:
        raise ConfigError(f"{a.task} and {b.task} were run on different data ({a.fingerprint}, {b.fingerprint})")
    first, second = _by_document(a), _by_document(b)
    shared = sorted(first.keys() & second.keys())
    for document in shared:
        if _text(first[document].get("target")) != _text(second[document].get("target")):
            raise ConfigError(
                f"question {document} has the reference {_short(first[document].get('target'))} in {a.file} and "
                f"{_short(second[document].get('target'))} in {b.file}: these are not the same questions"
            )
    pairs: list[tuple[float, float]] = []
    by_category: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for document in shared:
        one, other = _score(first[document], metric, a), _score(second[document], metric, b)
        if one is None or other is None:
            continue
        pairs.append((one, other))
        for category in _categories(first[document], metric):
            by_category[category].append((one, other))
    if not pairs:
        raise ConfigError(f"no question has a score {metric!r} in both {a.file} and {b.file}")
    return Comparison(
        metric,
        paired("", pairs),
        [paired(category, by_category[category]) for category in sorted(by_category)],
        unpaired=len(first.keys() ^ second.keys()),
        unscored=len(shared) - len(pairs),
    )


def paired(category: str, pairs: Sequence[tuple[float, float]]) -> Paired:
    """Two means and what lies between them.

    Args:
        category: Of these questions.
        pairs: Score of the first and of the second; at least one.
    """
    import numpy as np

    a, b = (np.array(scores, dtype=float) for scores in zip(*pairs, strict=True))
    values, counts = np.unique(b - a, return_counts=True)
    # How often each difference is drawn is all that a resample comes to.
    drawn = np.random.default_rng(0).multinomial(len(pairs), counts / len(pairs), size=RESAMPLES)
    means = drawn @ values / len(pairs)
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    binary = all(score in (0.0, 1.0) for pair in pairs for score in pair)
    low, high = np.percentile(means, [2.5, 97.5])
    return Paired(
        category,
        len(pairs),
        float(a.mean()),
        float(b.mean()),
        (float(low), float(high)),
        p=mcnemar(only_a, only_b) if binary else _bootstrap_p(means.tolist()),
        test="mcnemar" if binary else "bootstrap",
        only_a=only_a,
        only_b=only_b,
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """McNemar's exact test: that pairs fall to one side so often, if both sides were alike.

    >>> mcnemar(0, 5)
    0.0625
    """
    differing = only_a + only_b
    tail = sum(math.comb(differing, k) for k in range(min(only_a, only_b) + 1))
    return float(min(1.0, 2 * tail / 2**differing))


def _bootstrap_p(means: Sequence[float]) -> float:
    not_above = sum(mean <= 0 for mean in means)
    not_below = sum(mean >= 0 for mean in means)
    # One more than was seen: so many resamples cannot show that something never happens.
    return min(1.0, 2 * (min(not_above, not_below) + 1) / (len(means) + 1))


def _by_document(task: TaskResults) -> dict[int, dict[str, Any]]:
    samples = task.samples()
    found = {sample["doc_id"]: sample for sample in samples}
    if len(found) != len(samples):
        raise ConfigError(f"{task.file}: a question of {task.task} was answered more than once; compare single answers")
    return found


def _score(sample: dict[str, Any], metric: str, task: TaskResults) -> float | None:
    if metric not in sample:
        known = sorted(
            name for name, value in sample.items() if name in task.numbers and isinstance(value, int | float)
        )
        raise ConfigError(
            f"{task.task} in {task.file} has no score {metric!r} of each question."
            f"{did_you_mean(metric, known)} There are: {', '.join(known)}"
        )
    value = sample[metric]
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _categories(sample: dict[str, Any], metric: str) -> list[str]:
    start = f"{metric}/"
    return [name.removeprefix(start) for name, value in sample.items() if name.startswith(start) and value is not None]


def _text(target: Any) -> str:
    return str(target).strip()


def _short(target: Any) -> str:
    return repr(_text(target)[:60])
