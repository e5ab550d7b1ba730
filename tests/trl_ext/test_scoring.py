"""Rewards asked together: each keeps its values, an absent verdict takes the rollout out of all of them."""

import asyncio
from types import SimpleNamespace

import pytest

from longvt_plugins.errors import ConfigError, JudgeDownError, JudgeError
from longvt_plugins.judges import JudgeHealth, Judgement
from trl_ext import rewards
from trl_ext.judge_reward import Bench, get_judge_reward
from trl_ext.rewards.reading import Reading
from trl_ext.scoring import Scoring, scoring_of


def said(answer: str) -> list[dict]:
    return [{"role": "assistant", "content": f"<think>a</think><answer>{answer}</answer>"}]


def ask_all(scoring: Scoring, completions: list, **columns) -> list[list]:
    """As TRL does: each function by its own call."""
    return [function(completions, **columns) for function in scoring.reward_funcs]


def rows(count: int, **columns) -> dict:
    return {"question": ["?"] * count, "answer": ["red"] * count, **columns}


class UnsteadyJudge:
    """Has no verdict on what it does not know."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, question, reference, prediction, *, options=None, kind=None) -> Judgement:
        self.asked.append(prediction)
        known = {"red": 1.0, "reddish": 0.5, "blue": 0.0}
        return Judgement(score=known.get(prediction), verdict="", seconds=0.5, cost=0.01)


class ServedJudge(UnsteadyJudge):
    """A judge behind a server: while it is down no reply comes, "mauve" gets one that nobody can read."""

    def __init__(self, *, down_for: float = 0) -> None:
        super().__init__()
        self.health = JudgeHealth()
        self.clock = 0.0
        self.down_for = down_for
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock += seconds

    async def __call__(self, question, reference, prediction, *, options=None, kind=None) -> Judgement:
        self.asked.append(prediction)
        if self.clock < self.down_for:
            self.health.failed("no connection")
            return Judgement(None, "none", "no connection")
        if prediction == "mauve":
            self.health.failed("unreadable")
            return Judgement(None, "none", "unreadable", raw="Well, it depends.")
        self.health.answered()
        return Judgement(float(prediction == "red"), "")

    def bench(self, patience: float) -> Bench:
        # The bench measures its patience by the clock of the process, and each pause here takes no time.
        return Bench(self, patience, sleep=self.sleep)


def test_plain_and_async_functions_keep_their_names_and_values():
    async def slow_reward(completions, **columns):
        return [2.0 for _ in completions]

    scoring = Scoring([rewards.format_reward, slow_reward])
    assert [function.__name__ for function in scoring.reward_funcs] == ["format_reward", "slow_reward"]
    assert ask_all(scoring, [said("red"), []]) == [[1.0, 0.0], [2.0, 2.0]]


def test_a_notebook_whose_loop_is_running_can_score_too():
    async def slow_reward(completions, **columns):
        return [2.0 for _ in completions]

    async def cell():
        return ask_all(Scoring([slow_reward]), [said("red")])

    assert asyncio.run(cell()) == [[2.0]]


def test_trl_takes_the_functions_for_plain_ones_and_knows_their_names():
    """TRL runs async functions in a thread of its own, where processes cannot gather."""
    from trl.trainer.utils import get_callable_name, is_async_callable

    (function,) = Scoring([get_judge_reward(UnsteadyJudge())]).reward_funcs
    assert not is_async_callable(function)
    assert get_callable_name(function) == "answer_reward"


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


def test_all_functions_share_one_verdict_for_each_completion():
    judge = UnsteadyJudge()
    scoring = Scoring([rewards.answer_reward, rewards.tool_use_reward, rewards.format_reward], judge=judge, check=False)
    scores = ask_all(scoring, [said("red"), said("reddish"), said("red")], **rows(3))
    assert scores == [[1.0, 0.5, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    assert sorted(judge.asked) == ["red", "reddish"]  # what occurs twice is judged once


def test_a_rollout_without_a_verdict_is_none_for_every_reward():
    """TRL adds a single None up as 0: a judge that is down would train as a wrong answer."""
    metrics = {}
    scoring = Scoring(
        [rewards.answer_reward, rewards.format_reward, rewards.time_iou_reward], judge=UnsteadyJudge(), check=False
    )
    scores = ask_all(
        scoring,
        [said("red"), said("mauve"), said("reddish")],
        **rows(3, video_segment=[None, [1.0, 2.0], [1.0, 2.0]]),
        log_metric=metrics.__setitem__,
    )
    assert scores == [[1.0, None, 0.5], [1.0, None, 1.0], [None, None, 0.0]]
    assert metrics == {
        "judge/no_verdict": pytest.approx(1 / 3),
        "judge/asked": 1.0,
        "judge/cached": 0.0,
        "judge/cost": pytest.approx(0.03),
        "judge/seconds": pytest.approx(0.5),
        "judge/waited_seconds": 0.0,
    }


def test_functions_that_were_not_written_here_abstain_too():
    async def server_reward(completions, **columns):
        return [None if "mauve" in str(completion) else 3.0 for completion in completions]

    scoring = Scoring([server_reward, rewards.format_reward], deciding=["server_reward"])
    assert ask_all(scoring, [said("red"), said("mauve")]) == [[3.0, None], [1.0, None]]


def test_a_row_without_an_answer_is_not_one_without_a_verdict():
    judge = UnsteadyJudge()
    scoring = Scoring([rewards.answer_reward, rewards.format_reward], judge=judge, check=False)
    scores = ask_all(scoring, [said("red"), said("red")], question=["?"] * 2, answer=["red", None])
    assert scores == [[1.0, None], [1.0, 1.0]]
    assert judge.asked == ["red"]


def test_rows_of_every_kind_mix_in_one_batch():
    """Grounding rows compare intervals and ask no judge; a choice does ask it, with its options."""
    asked = []

    async def judge(question, reference, prediction, *, options=None, kind=None):
        asked.append((prediction, options, kind))
        return Judgement(1.0, "correct")

    scoring = Scoring([rewards.answer_reward, rewards.time_iou_reward], judge=judge, check=False)
    scores = ask_all(
        scoring,
        [said("[10, 20]"), said("B"), said("It is red.")],
        question=["When?", "Which?", "Which?"],
        answer=["[15, 20]", "blue", "red"],
        kind=["grounding", "choice", "open"],
        options=[None, ["red", "blue"], None],
        video_segment=[[15.0, 20.0], None, None],
    )
    assert scores == [[0.5, 1.0, 1.0], [0.0, None, None]]
    assert sorted(asked) == [("B", ("red", "blue"), "choice"), ("It is red.", None, "open")]


def test_a_rollout_whose_video_broke_is_none_for_every_reward():
    environments = [SimpleNamespace(calls=1, tool_errors=0, video_errors=errors) for errors in (0, 1)]

    def brevity_reward(completions, **columns):
        return [1.0 for _ in completions]

    scoring = Scoring([rewards.format_reward, brevity_reward])
    assert ask_all(scoring, [said("a"), said("b")], environments=environments) == [[1.0, None], [1.0, None]]


def test_functions_named_alone_take_out_what_broke_by_themselves():
    environments = [SimpleNamespace(video_errors=1), SimpleNamespace(video_errors=0), SimpleNamespace()]
    for reward in rewards.REWARDS.values():
        scores = reward([said("red")] * 3, environments=environments, answer=["red"] * 3, video_segment=[[1, 2]] * 3)
        assert scores[0] is None and None not in scores[1:]


def test_the_judge_is_not_asked_about_nothing_or_about_a_list_of_guesses():
    judge = UnsteadyJudge()
    completions = [said(""), [{"role": "assistant", "content": "red"}], said("red " * 251), said("blue")]
    for function in (Scoring([rewards.answer_reward], judge=judge, check=False).reward_funcs[0],):
        assert function(completions, **rows(4)) == [0.0, 0.0, 0.0, 0.0]
    assert asyncio.run(get_judge_reward(judge)(completions, **rows(4))) == [0.0, 0.0, 0.0, 0.0]
    assert judge.asked == ["blue", "blue"]


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


def test_a_judge_needs_the_questions():
    with pytest.raises(ConfigError, match="a judge needs the column question; the dataset gives: answer"):
        ask_all(Scoring([rewards.answer_reward], judge=UnsteadyJudge(), check=False), [said("a")], answer=["a"])


# A judge that goes away


def ask_bench(bench: Bench, *answers: str):
    from longvt_plugins.transcript import parse_transcript

    reading = Reading([parse_transcript(said(answer)) for answer in answers])
    return asyncio.run(bench.ask(reading, rows(len(answers))))


def test_a_judge_that_comes_back_is_waited_for_and_nothing_is_lost():
    judge = ServedJudge(down_for=5)
    verdicts = ask_bench(judge.bench(patience=600), "red", "blue")
    assert (verdicts.scores, verdicts.missing, verdicts.down) == ([1.0, 0.0], set(), None)
    assert judge.pauses == [1, 2, 4]
    assert judge.asked.count("red") == judge.asked.count("blue") == 2  # while it is down one question finds out


def test_an_unreadable_verdict_is_missing_at_once_and_nobody_waits():
    judge = ServedJudge()
    verdicts = ask_bench(judge.bench(patience=600), "red", "mauve")
    assert (verdicts.scores, verdicts.missing, judge.pauses) == ([1.0, None], {1}, [])
    assert sorted(judge.asked) == ["mauve", "red"]


def test_a_judge_without_health_is_not_waited_for():
    judge = UnsteadyJudge()
    verdicts = ask_bench(Bench(judge), "red", "mauve")
    assert (verdicts.missing, sorted(judge.asked)) == ({1}, ["mauve", "red"])


def test_a_judge_that_never_replies_counts_as_down(monkeypatch):
    monkeypatch.setattr("trl_ext.judge_reward.SHORTEST_PROBE_SECONDS", 0.05)

    class StuckJudge(ServedJudge):
        async def __call__(self, question, reference, prediction, **options) -> Judgement:
            if "after six" in question:
                await asyncio.Event().wait()
            return Judgement(None, "none", "no reply within 120 s")

    verdicts = ask_bench(Bench(StuckJudge(), patience=0), "red")
    assert (verdicts.down, verdicts.missing) == ("no reply within 0 s", {0})


def test_a_judge_that_stays_down_stops_the_training_with_its_reason():
    judge = ServedJudge(down_for=1e9)
    scoring = Scoring([rewards.answer_reward, rewards.format_reward], judge=judge, patience=0, check=False)
    with pytest.raises(JudgeDownError) as raised:
        ask_all(scoring, [said("red")], **rows(1))
    assert str(raised.value) == (
        "the judge has given no reply for 0 s, 0 s are allowed (no connection). "
        "No checkpoint was written: that takes trl_ext.callbacks.JudgeBreaker"
    )


def test_a_judge_that_fails_known_questions_is_not_asked_for_a_reward():
    asked = []

    async def kind_judge(question, reference, prediction, *, options=None, kind=None):
        asked.append(prediction)
        return Judgement(1.0, "correct", fingerprint="kind/1")

    scoring = Scoring([rewards.answer_reward], judge=kind_judge)
    with pytest.raises(JudgeError, match="the judge kind/1 cannot be trusted: it scores a wrong answer 1"):
        ask_all(scoring, [said("a")], **rows(1))
    assert len(asked) == 3 and "a" not in asked


def test_known_questions_are_asked_once():
    asked = []

    async def sound_judge(question, reference, prediction, *, options=None, kind=None):
        asked.append(prediction)
        return Judgement(float(prediction.strip(".").lower() == reference), "")

    scoring = Scoring([rewards.answer_reward], judge=sound_judge)
    scoring.check_judge()
    assert len(asked) == 3
    assert [ask_all(scoring, [said(answer)], **rows(1)) for answer in ("red", "blue")] == [[[1.0]], [[0.0]]]
    assert len(asked) == 5


def test_closing_closes_the_judge():
    judge = UnsteadyJudge()
    judge.closed = False

    async def close():
        judge.closed = True

    judge.close = close
    Scoring([rewards.answer_reward], judge=judge, check=False).close()
    assert judge.closed
    Scoring([rewards.answer_reward]).close()


# A trainer's functions


def trainer_with(*functions):
    return SimpleNamespace(reward_funcs=list(functions), reward_func_names=[one.__name__ for one in functions])


def test_the_functions_of_any_trainer_are_put_under_one_scoring():
    class RewardModel:
        """As TRL tells them from functions: a module of torch."""

        __name__ = "reward_model"

        def forward(self):
            """Never called."""

        __call__ = forward

    model = RewardModel()
    trainer = trainer_with(rewards.format_reward, model)
    scoring = scoring_of(trainer)
    assert trainer.reward_funcs == [*scoring.reward_funcs, model]
    assert scoring_of(trainer) is scoring
    trainer.reward_funcs.append(rewards.answer_reward)
    trainer.reward_func_names.append("answer_reward")
    with pytest.raises(ConfigError, match=r"\(format_reward, reward_model, answer_reward\) must belong to one scoring"):
        scoring_of(trainer)
    with pytest.raises(ConfigError, match="no reward functions"):
        scoring_of(trainer_with(model))
