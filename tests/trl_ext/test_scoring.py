"""Rewards asked together: each keeps its values, an absent verdict takes the rollout out of all of them."""

import asyncio
from types import SimpleNamespace

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges import Judgement
from trl_ext import rewards
from trl_ext.judge_reward import get_judge_reward
from trl_ext.scoring import Scoring


def said(answer: str) -> list[dict]:
    return [{"role": "assistant", "content": f"<think>a</think><answer>{answer}</answer>"}]


def ask_all(scoring: Scoring, completions: list, **columns) -> list[list]:
    """As TRL does: each function by its own call, async ones side by side."""

    async def gather():
        return await asyncio.gather(*(function(completions, **columns) for function in scoring.reward_funcs))

    return asyncio.run(gather())


class UnsteadyJudge:
    """Has no verdict on what it does not know."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, question, reference, prediction, *, options=None, kind=None) -> Judgement:
        self.asked.append(prediction)
        known = {"red": 1.0, "reddish": 0.5, "blue": 0.0}
        return Judgement(score=known.get(prediction), verdict="")


def test_plain_and_async_functions_keep_their_names_and_values():
    async def slow_reward(completions, **columns):
        return [2.0 for _ in completions]

    scoring = Scoring([rewards.format_reward, slow_reward])
    assert [function.__name__ for function in scoring.reward_funcs] == ["format_reward", "slow_reward"]
    assert ask_all(scoring, [said("red"), []]) == [[1.0, 0.0], [2.0, 2.0]]


def test_trl_takes_the_functions_for_async_ones():
    from trl.trainer.utils import get_callable_name, is_async_callable

    (function,) = Scoring([rewards.format_reward]).reward_funcs
    assert is_async_callable(function)
    assert get_callable_name(function) == "format_reward"


def test_each_batch_is_scored_once_by_every_function():
    batches = []

    def counting_reward(completions, **columns):
        batches.append(completions)
        return [0.0 for _ in completions]

    scoring = Scoring([rewards.format_reward, counting_reward])
    first, second = [said("a")], [said("a")]
    for completions in (first, second):
        ask_all(scoring, completions)
    assert len(batches) == 2


def test_a_rollout_without_a_verdict_is_none_for_every_reward():
    """TRL adds a single None up as 0: a judge that is down would train as a wrong answer."""
    metrics = {}
    judged = get_judge_reward(UnsteadyJudge())
    scoring = Scoring([judged, rewards.format_reward, rewards.time_iou_reward], deciding=["answer_reward"])
    scores = ask_all(
        scoring,
        [said("red"), said("mauve"), said("reddish")],
        question=["?"] * 3,
        answer=["red"] * 3,
        video_segment=[None, [1.0, 2.0], [1.0, 2.0]],
        log_metric=metrics.__setitem__,
    )
    assert scores == [[1.0, None, 0.5], [1.0, None, 1.0], [None, None, 0.0]]
    assert metrics == {"judge/no_verdict": pytest.approx(1 / 3)}


def test_a_rollout_whose_video_broke_is_none_for_every_reward():
    environments = [SimpleNamespace(calls=1, tool_errors=0, video_errors=errors) for errors in (0, 1)]
    scores = ask_all(Scoring([rewards.format_reward]), [said("a"), said("b")], environments=environments)
    assert scores == [[1.0, None]]


def test_the_judge_is_not_asked_about_nothing_or_about_a_list_of_guesses():
    judge = UnsteadyJudge()
    completions = [said(""), [{"role": "assistant", "content": "red"}], said("red " * 251), said("blue")]
    scores = ask_all(Scoring([get_judge_reward(judge)]), completions, question=["?"] * 4, answer=["red"] * 4)
    assert scores == [[0.0, 0.0, 0.0, 0.0]]
    assert judge.asked == ["blue"]


def test_failed_calls_are_logged_apart():
    metrics = {}
    environments = [
        SimpleNamespace(calls=3, tool_errors=1, video_errors=0),
        SimpleNamespace(calls=1, tool_errors=0, video_errors=1),
    ]
    scoring = Scoring([rewards.format_reward])
    ask_all(scoring, [said("a"), said("b")], environments=environments, log_metric=metrics.__setitem__)
    assert metrics == {"tools/tool_errors": 0.25, "tools/video_errors": 0.25}


def test_what_a_reward_raises_ends_the_training():
    def broken_reward(completions, **columns):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_all(Scoring([rewards.format_reward, broken_reward]), [said("a")])

    def short_reward(completions, **columns):
        return []

    with pytest.raises(ConfigError, match="short_reward gave 0 rewards for 1 rollouts"):
        ask_all(Scoring([short_reward]), [said("a")])


def test_names_must_be_told_apart():
    with pytest.raises(ConfigError, match="share a name: format_reward, format_reward"):
        Scoring([rewards.format_reward, rewards.format_reward])
    with pytest.raises(ConfigError, match="answer_reward is not among the rewards: format_reward"):
        Scoring([rewards.format_reward], deciding=["answer_reward"])
