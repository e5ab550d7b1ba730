"""What a judge is: it compares an answer with its reference, and says how sure one can be that it did.

::

    judgement = await judge("What colour is the car?", "red", "It is red.")
    judgement.score        # 1.0, or None: no verdict was had, which is not the same as 0.0
    judgement.scores       # {"exact": 0.0, "token_f1": 0.4, "llm": 1.0}: what each way of judging said

A verdict that is missing is a :class:`Judgement` without a score, never an exception: a server that is down
and a reply that cannot be read end alike. How often that happened in a row is in the judge's
:class:`JudgeHealth`, by which a trainer decides when to stop. An exception means a fault of the user's, such
as a reference that cannot be one.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

SECRET_OPTIONS = frozenset({"api_key"})
"""Options that are never written down."""


@dataclass(frozen=True)
class Judgement:
    """One verdict.

    Attributes:
        score: In [0, 1]; None when no verdict was had, and then nothing may be learnt from it.
        verdict: One word: ``"correct"``, ``"partly"``, ``"wrong"``, ``"none"``.
        reason: Why, for people; where there is no score, why not.
        raw: What the judge said, unread.
        fingerprint: Names judge, rubric and version; belongs in every result file.
        cached: It was not asked again.
        seconds: How long it took.
        cost: In US dollars.
        scores: What each way of judging said, by name. A name is absent where nobody asked, None where there
            was no verdict.
        prompt_hash: Of the prompt that was sent, empty where none was.
    """

    score: float | None
    verdict: str
    reason: str = ""
    raw: str = ""
    fingerprint: str = ""
    cached: bool = False
    seconds: float = 0.0
    cost: float = 0.0
    scores: dict[str, float | None] = field(default_factory=dict)
    prompt_hash: str = ""


@dataclass(frozen=True)
class JudgeConfig:
    """Which judge, and its settings; the same in recipes, ``--model_args`` and pipeline YAML.

    Args:
        name: A registered judge.
        options: What this judge takes besides. A key among them shows in no ``repr``.
    """

    name: str = "exact"
    options: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The settings as they may be written down beside results: all but the key."""
        shown = {name: value for name, value in self.options.items() if name not in SECRET_OPTIONS}
        return {"name": self.name, "options": shown}

    def __repr__(self) -> str:
        return f"JudgeConfig({', '.join(f'{name}={value!r}' for name, value in self.record().items())})"


class Judge(Protocol):
    """Compares an answer with its reference.

    A judge that asks somebody may have two attributes more: ``health``, a :class:`JudgeHealth`, and
    ``close()``, plain or async, which gives back connections and writes what is still to be written.
    :func:`health_of` and :func:`close_judge` work with any judge.
    """

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


class JudgeHealth:
    """How a judge that has to be asked has been doing. Verdicts from a cache count neither way.

    Attributes:
        asked: Verdicts that were asked for.
        missing: How many of them were not had.
        consecutive_failures: How many of them were not had in a row, up to now.
        down_since: When the first of that row was not had, in seconds since 1970; None while all is well.
        last_error: Why the last one was not had; empty if none ever was missing.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.missing = 0
        self.consecutive_failures = 0
        self.down_since: float | None = None
        self.last_error = ""
        self._lock = threading.Lock()

    @property
    def down_seconds(self) -> float:
        """How long no verdict has been had, 0 while all is well."""
        since = self.down_since
        return 0.0 if since is None else max(0.0, time.time() - since)

    def answered(self) -> None:
        """A verdict was had."""
        with self._lock:
            self.asked += 1
            self.consecutive_failures = 0
            self.down_since = None

    def failed(self, error: str) -> None:
        """A verdict was not had, for this reason."""
        with self._lock:
            self.asked += 1
            self.missing += 1
            self.consecutive_failures += 1
            self.last_error = error
            if self.down_since is None:
                self.down_since = time.time()


def health_of(judge: Judge) -> JudgeHealth | None:
    """A judge's health; None for one that asks nobody and so cannot fail."""
    health = getattr(judge, "health", None)
    return health if isinstance(health, JudgeHealth) else None


async def close_judge(judge: Judge) -> None:
    """Closes a judge; one that has nothing to close is left as it is."""
    close = getattr(judge, "close", None)
    if close is not None:
        closing = close()
        if inspect.isawaitable(closing):
            await closing
