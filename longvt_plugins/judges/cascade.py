"""``cascade``: the exact judge first, a language model only where spelling does not decide.

::

    judge = cascade_judge(JudgeConfig("cascade", {"maths": True, "base_url": ..., "model": "judge"}))
    judgement = await judge("What colour is the car?", "red", "It is crimson.")
    judgement.score, judgement.scores      # 1.0, {"exact": 0.0, "token_f1": 0.0, "llm": 1.0}

What the exact judge finds right is right. What it finds wrong is final for an empty answer, for an interval, and
where the answer names one of the options that were offered. About all else the language model decides. ``scores``
has both side by side; ``llm`` is absent where nobody was asked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from longvt_plugins.hookspecs import hookimpl
from longvt_plugins.judges.audit import audited
from longvt_plugins.judges.exact import EXACT_OPTIONS, ExactJudge, is_choice, make_exact_judge
from longvt_plugins.judges.judge import Judge, JudgeConfig, JudgeHealth, Judgement
from longvt_plugins.judges.llm import LlmJudge, make_llm_judge

VERSION = "cascade/1"


class CascadeJudge:
    """A judge that asks a language model only where it has to.

    Args:
        exact: Asked first.
        llm: Asked where that does not decide.
    """

    def __init__(self, exact: ExactJudge, llm: LlmJudge) -> None:
        self.exact = exact
        self.llm = llm
        self.fingerprint = f"{VERSION} {exact.fingerprint} {llm.fingerprint}"

    @property
    def health(self) -> JudgeHealth:
        """The language model's."""
        return self.llm.health

    @property
    def scale(self) -> tuple[float, ...]:
        """The scores that it may give, from the best to the worst."""
        return self.llm.scale

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

        Raises:
            ConfigError: The reference of a grounding question is not an interval.
        """
        first = await self.exact(question, reference, prediction, options=options, kind=kind)
        if first.score == 1.0 or _is_final(reference, prediction, options, kind):
            return dataclasses.replace(first, fingerprint=self.fingerprint)
        second = await self.llm(question, reference, prediction, options=options, kind=kind)
        return dataclasses.replace(second, fingerprint=self.fingerprint, scores={**first.scores, **second.scores})

    async def close(self) -> None:
        """Closes both."""
        self.exact.close()
        await self.llm.close()


def _is_final(reference: str, prediction: str, options: Sequence[str] | None, kind: str | None) -> bool:
    if kind == "grounding" or not prediction.strip():
        return True
    return bool(options) and is_choice(reference, options or ()) and is_choice(prediction, options or ())


def make_cascade_judge(options: Mapping[str, Any]) -> CascadeJudge:
    """The judge of these options, without an audit log.

    Args:
        options: ``maths`` is the exact judge's, the others are the language model's.

    Raises:
        ConfigError: An unknown option, or a value that makes no sense.
        MissingExtraError: Formulas are to be compared and math-verify is not installed.
    """
    own = {name: value for name, value in options.items() if name in EXACT_OPTIONS}
    others = {name: value for name, value in options.items() if name not in EXACT_OPTIONS}
    llm = make_llm_judge(others, "the judge 'cascade'", more_options=EXACT_OPTIONS)
    return CascadeJudge(make_exact_judge(own), llm)


def cascade_judge(config: JudgeConfig) -> Judge:
    """Makes the judge.

    Raises:
        ConfigError: As :func:`make_cascade_judge`.
        MissingExtraError: As :func:`make_cascade_judge`.
    """
    return audited(config, make_cascade_judge)


@hookimpl
def register_judges(register) -> None:  # type: ignore[no-untyped-def]
    """Gives ``cascade``."""
    register("cascade", cascade_judge)
