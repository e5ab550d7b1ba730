"""What a judge is: it compares an answer with its reference, and says how sure one can be that it did.

::

    judgement = await judge("What colour is the car?", "red", "It is red.")
    judgement.score        # 1.0, or None: no verdict was had, which is not the same as 0.0
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Judgement:
    """One verdict.

    Attributes:
        score: In [0, 1]; None when no verdict was had, and then nothing may be learnt from it.
        verdict: One word: ``"correct"``, ``"partly"``, ``"wrong"``, ``"none"``.
        reason: Why, for people.
        raw: What the judge said, unread.
        fingerprint: Names judge, rubric and version; belongs in every result file.
        cached: It was not asked again.
        seconds: How long it took.
        cost: In US dollars.
    """

    score: float | None
    verdict: str
    reason: str = ""
    raw: str = ""
    fingerprint: str = ""
    cached: bool = False
    seconds: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True)
class JudgeConfig:
    """Which judge, and its settings; the same in recipes, ``--model_args`` and pipeline YAML.

    Args:
        name: A registered judge.
        options: What this judge takes besides.
    """

    name: str = "exact"
    options: dict[str, Any] = field(default_factory=dict)


class Judge(Protocol):
    """Compares an answer with its reference."""

    async def __call__(
        self,
        question: str,
        reference: str,
        prediction: str,
        *,
        options: Sequence[str] | None = None,
        kind: str | None = None,
    ) -> Judgement:
        """Judges one answer.

        Args:
            question: As it was asked.
            reference: The right answer.
            prediction: The answer under test, hostile until proven otherwise.
            options: The choices that were offered, if any.
            kind: ``"open"``, ``"choice"`` or ``"grounding"``.
        """
        ...


JudgeFactory = Callable[[JudgeConfig], Judge]
