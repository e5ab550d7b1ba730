"""How well a judge agrees with people: it is asked about answers whose labels are known.

::

    report = await calibrate(judge, read_labels())
    report.total.agreement, report.total.too_kind, report.by_category["injection"].too_kind

The labels that come with the project, ``calibration.jsonl``, are short answers about videos, written for it: right
ones in other words, units and languages, partial ones, contradictions, choices, and answers that give the judge
orders. One line each::

    {"question": "...", "reference": "red", "answer": "crimson", "label": 1.0, "category": "paraphrase", ...}

A label is 1, 0.5 or 0. A judge that knows only right and wrong is held to "right" for 1 alone. It does not say how
well a judge does on other questions: label some of yours and give them as a file.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.judge import Judge, Judgement

LABELS = Path(__file__).with_name("calibration.jsonl")
"""The set that comes with the project."""

MAX_LABELS = 100_000

CLASSES = ("correct", "partly", "wrong")
NO_VERDICT = "none"

_Z_95 = 1.959964


@dataclass(frozen=True)
class Label:
    """An answer and what people think of it.

    Attributes:
        id: Unique in its file.
        question: As it was asked.
        reference: The right answer.
        answer: The answer under test.
        label: 1, 0.5 or 0; in a file of the user's own anything from 0 to 1.
        category: For the report.
        language: For the report.
        kind: ``open``, ``choice`` or ``grounding``.
        options: Of a choice.
    """

    id: str
    question: str
    reference: str
    answer: str
    label: float
    category: str = "all"
    language: str = ""
    kind: Literal["open", "choice", "grounding"] = "open"
    options: list[str] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label <= 1:
            raise ConfigError(f"label must be from 0 to 1, not {self.label}")


@dataclass
class Agreement:
    """How a judge did on some labels.

    Attributes:
        confusion: How often a label (first) got a verdict (second); ``none`` where there was no verdict.
    """

    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Answers."""
        return self.confusion.total()

    @property
    def missing(self) -> int:
        """Answers without a verdict."""
        return sum(count for (_, verdict), count in self.confusion.items() if verdict == NO_VERDICT)

    @property
    def agreed(self) -> int:
        """Verdicts that are the label."""
        return sum(count for (label, verdict), count in self.confusion.items() if label == verdict)

    @property
    def agreement(self) -> float | None:
        """Share of the verdicts that are the label; None without a verdict."""
        had = self.rows - self.missing
        return self.agreed / had if had else None

    @property
    def too_kind(self) -> int:
        """Verdicts above their label: what a model would learn to abuse."""
        return self._apart(lambda label, verdict: verdict < label)

    @property
    def too_hard(self) -> int:
        """Verdicts below their label."""
        return self._apart(lambda label, verdict: verdict > label)

    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the agreement (Wilson); None without a verdict."""
        had, share = self.rows - self.missing, self.agreement
        if share is None:
            return None
        middle = share + _Z_95**2 / (2 * had)
        reach = _Z_95 * math.sqrt(share * (1 - share) / had + _Z_95**2 / (4 * had**2))
        return (middle - reach) / (1 + _Z_95**2 / had), (middle + reach) / (1 + _Z_95**2 / had)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rows": self.rows,
            "missing": self.missing,
            "agreement": self.agreement,
            "too_kind": self.too_kind,
            "too_hard": self.too_hard,
        }

    def _apart(self, is_so: Callable[[int, int], bool]) -> int:
        return sum(
            count
            for (label, verdict), count in self.confusion.items()
            if verdict != NO_VERDICT and is_so(CLASSES.index(label), CLASSES.index(verdict))
        )


@dataclass
class Report:
    """What a calibration found.

    Attributes:
        fingerprint: Of the judge.
        labels_hash: Names exactly this set of labels.
        scale: The scores that the judge may give.
        total: Over all labels.
        by_category: Likewise.
        by_language: Likewise.
        found: Every label with its judgement.
        seconds: From the first question to the last verdict.
    """

    fingerprint: str
    labels_hash: str
    scale: tuple[float, ...]
    total: Agreement = field(default_factory=Agreement)
    by_category: dict[str, Agreement] = field(default_factory=dict)
    by_language: dict[str, Agreement] = field(default_factory=dict)
    found: list[tuple[Label, Judgement]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cost(self) -> float:
        """US dollars."""
        return sum(judgement.cost for _, judgement in self.found)

    @property
    def cached(self) -> int:
        """Verdicts that were not asked for again."""
        return sum(judgement.cached for _, judgement in self.found)

    def disagreements(self) -> list[tuple[Label, Judgement]]:
        """Labels that got another verdict, or none."""
        return [(label, judgement) for label, judgement in self.found if _pair(label, judgement, self.scale)[2]]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        asked = [judgement.seconds for _, judgement in self.found if not judgement.cached and judgement.seconds]
        return {
            "fingerprint": self.fingerprint,
            "labels_hash": self.labels_hash,
            "scale": list(self.scale),
            **self.total.record(),
            "interval": self.total.interval(),
            "confusion": {
                label: {verdict: self.total.confusion[label, verdict] for verdict in (*CLASSES, NO_VERDICT)}
                for label in CLASSES
            },
            "categories": {name: agreement.record() for name, agreement in sorted(self.by_category.items())},
            "languages": {name: agreement.record() for name, agreement in sorted(self.by_language.items())},
            "cost": self.cost,
            "cached": self.cached,
            "seconds": self.seconds,
            "mean_latency": sum(asked) / len(asked) if asked else None,
            "missing_reasons": dict(
                Counter(judgement.reason for _, judgement in self.found if judgement.score is None).most_common(10)
            ),
        }


def read_labels(path: str | Path | None = None) -> list[Label]:
    """Reads labels.

    Args:
        path: A ``.jsonl`` file; None reads those that come with the project.

    Raises:
        ConfigError: No such file, or a faulty line, by its number.
    """
    from pydantic import TypeAdapter, ValidationError

    file = Path(path) if path is not None else LABELS
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"labels {file}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    adapter = TypeAdapter(Label)
    labels: dict[str, Label] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"labels {file}, line {number}"
        try:
            values = json.loads(line)
            if isinstance(values, dict):
                values.setdefault("id", str(number))
            label = adapter.validate_python(values)
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, fault['loc'])) or 'line'}: {fault['msg']}" for fault in error.errors())
            raise ConfigError(f"{where}: {'; '.join(faults)}") from None
        except (ValueError, RecursionError):
            raise ConfigError(f"{where}: not JSON") from None
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        if label.id in labels:
            raise ConfigError(f"{where}: id {label.id!r} is there already")
        labels[label.id] = label
        if len(labels) > MAX_LABELS:
            raise ConfigError(f"labels {file}: more than {MAX_LABELS} lines")
    if not labels:
        raise ConfigError(f"labels {file}: it is empty")
    return list(labels.values())


async def calibrate(
    judge: Judge, labels: Sequence[Label], *, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Asks a judge about all labels at once; how many are under way is the judge's matter.

    Args:
        judge: Any.
        labels: Of :func:`read_labels`.
        progress: Told how many verdicts of how many are there.

    Raises:
        ConfigError: A label that the judge cannot be asked about.
    """
    done = 0

    async def ask(label: Label) -> Judgement:
        nonlocal done
        judgement = await judge(label.question, label.reference, label.answer, options=label.options, kind=label.kind)
        done += 1
        if progress is not None:
            progress(done, len(labels))
        return judgement

    start = time.perf_counter()
    judgements = await asyncio.gather(*map(ask, labels))
    scale = tuple(getattr(judge, "scale", ())) or (1.0, 0.0)
    report = Report(judgements[0].fingerprint, _hash(labels), scale, seconds=time.perf_counter() - start)
    for label, judgement in zip(labels, judgements, strict=True):
        report.found.append((label, judgement))
        pair = _pair(label, judgement, scale)[:2]
        report.total.confusion[pair] += 1
        report.by_category.setdefault(label.category, Agreement()).confusion[pair] += 1
        report.by_language.setdefault(label.language or "-", Agreement()).confusion[pair] += 1
    return report


def _pair(label: Label, judgement: Judgement, scale: Sequence[float]) -> tuple[str, str, bool]:
    """The label's class, the verdict's class, and whether they differ."""
    graded = len(scale) > 2
    expected = "correct" if label.label == 1 else "partly" if graded and label.label > 0 else "wrong"
    if judgement.score is None:
        given = NO_VERDICT
    elif judgement.score >= max(scale):
        given = "correct"
    else:
        given = "wrong" if judgement.score <= min(scale) else "partly"
    return expected, given, expected != given


def _hash(labels: Iterable[Label]) -> str:
    return hashlib.sha256(repr([vars(label) for label in labels]).encode()).hexdigest()[:12]
