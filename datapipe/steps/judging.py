"""One answer compared with its reference by a judge that a step's configuration names.

>>> (await judge_answer(context, JudgeConfig(), question, "red", "It is red.")).score
1.0
"""

from __future__ import annotations

from collections.abc import Sequence

from datapipe.context import StepContext
from longvt_plugins.judges import JudgeConfig, Judgement
from longvt_plugins.judges.judge import close_judge


async def judge_answer(
    context: StepContext,
    config: JudgeConfig,
    question: str,
    reference: str,
    answer: str,
    *,
    options: Sequence[str] | None = None,
    kind: str = "open",
) -> Judgement:
    """A verdict; its score is None where none was had.

    Args:
        context: Of the record; its plugins give the judge.
        config: Which judge.
        question: As it was asked.
        reference: The right answer.
        answer: The one under test.
        options: The choices, if any.
        kind: Of the question.

    Raises:
        UnknownNameError: No judge of this name.
    """
    judge = context.plugins.judges.get(config.name)(config)
    try:
        return await judge(question, reference, answer, options=options, kind=kind)
    finally:
        await close_judge(judge)
