"""The answer reward of any judge, for those that have to be asked: a language model, a plugin's own.

::

    judge = plugins.judges.get("llm")(JudgeConfig("llm", {"base_url": "http://127.0.0.1:1234/v1"}))
    VideoToolSpec("rl.parquet", judge="llm", judge_options={...})       # does this itself

It scores as :func:`trl_ext.rewards.answer_reward` does, under the same name, which asks the exact judge and
nobody else. Where no verdict was had it says None, and :class:`trl_ext.scoring.Scoring` takes the
rollout out of its group: a judge that is down must not train as wrong answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from longvt_plugins.judges.judge import Judge
from longvt_plugins.transcript import parse_transcript
from trl_ext.rewards import MAX_ANSWER_CHARACTERS, Completions

AsyncReward = Callable[..., Awaitable[list[float | None]]]


def get_judge_reward(judge: Judge) -> AsyncReward:
    """Makes the reward function of a judge.

    Args:
        judge: Asked once for every answer that is worth asking about, all of a batch at once.

    Returns:
        An async reward function named ``answer_reward``.
    """

    async def answer_reward(
        completions: Completions,
        question: Sequence[str],
        answer: Sequence[str],
        options: Sequence[list[str] | None] | None = None,
        kind: Sequence[str | None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """The judge's score of the last answer; 0 for none, an empty one or one of 1,000 characters and more."""

        async def score(place: int) -> float | None:
            given = parse_transcript(completions[place]).answer
            if not given or len(given) >= MAX_ANSWER_CHARACTERS:
                return 0.0
            judgement = await judge(
                question[place],
                answer[place],
                given,
                options=options[place] if options is not None else None,
                kind=kind[place] if kind is not None else None,
            )
            return judgement.score

        return await asyncio.gather(*(score(place) for place in range(len(completions))))

    return answer_reward
