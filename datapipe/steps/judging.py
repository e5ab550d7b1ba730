"""One answer compared with its reference by a judge that a step's configuration names.

>>> (await judge_answer(context, JudgeConfig(), question, "red", "It is red.")).score
1.0

What a verdict costs is the run's to pay: it counts for the record, and for ``max_cost``.
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
        BudgetExceededError: A verdict as dear as the dearest so far would cost more than is left; nobody was asked.
    """
    judge = context.plugins.judges.get(config.name)(config)
    try:
        with context.paying() as pay:
            judgement = await judge(question, reference, answer, options=options, kind=kind)
            pay(judgement.cost)
            return judgement
    finally:
        await close_judge(judge)
