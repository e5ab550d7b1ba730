"""What the callbacks log about groups and rollouts, read from a trainer's own log."""

import pytest

from longvt_plugins.judges import Judgement
from trl_ext import rewards
from trl_ext.callbacks import GroupVariance, RolloutStatistics, add_callbacks
from trl_ext.callbacks.groups import gather_groups, total_rewards
from trl_ext.scoring import Scoring, scoring_of

ANSWERS = {
    "0?": ["red"] * 4,
    "1?": ["blue"] * 4,
    "2?": ["red", "blue", "red", "red"],
    "3?": ["mauve", "mauve", "mauve", "red"],
}


async def judge(question, reference, prediction, *, options=None, kind=None):
    return Judgement(None if prediction == "mauve" else float(prediction.strip(".").lower() == reference), "")


def train(make_trainer, trainer_options=None, **scoring):
    functions = Scoring([rewards.answer_reward, rewards.format_reward], **scoring).reward_funcs
    trainer = make_trainer(
        functions,
        draw=lambda question, count: ANSWERS[question],
        max_steps=1,
        per_device_train_batch_size=16,
        **(trainer_options or {}),
    )
    add_callbacks(trainer)
    trainer.train()
    return trainer


def test_groups_that_teach_nothing_are_counted_by_their_reason(make_trainer):
    (logged, *_) = train(make_trainer, judge=judge).state.log_history
    assert {name: logged[f"groups/{name}"] for name in ("without_variance", "all_right", "all_wrong", "abstained")} == {
        "without_variance": 0.5,  # all red, all blue
        "all_right": 0.5,  # all red, and the one left of the mauve group
        "all_wrong": 0.25,
        "abstained": 0.25,
    }
    assert logged["rollouts/abstained"] == pytest.approx(3 / 16)
    assert logged["judge/no_verdict"] == pytest.approx(3 / 16)
    assert (logged["rollouts/answered"], logged["rollouts/in_form"], logged["rollouts/with_call"]) == (1, 1, 0)


def test_sums_are_weighed_as_the_trainer_weighs_them(make_trainer):
    """Right and in form, or wrong and in form: with no weight on the answer no group has variance."""
    trainer = train(make_trainer, {"reward_weights": [0.0, 1.0]})
    assert trainer.state.log_history[0]["groups/without_variance"] == 1.0


def test_functions_named_without_a_scoring_are_watched_too(make_trainer):
    trainer = make_trainer(
        [rewards.answer_reward, rewards.format_reward],
        draw=lambda question, count: ANSWERS[question],
        max_steps=1,
        per_device_train_batch_size=16,
    )
    trainer.add_callback(GroupVariance(trainer))
    trainer.add_callback(RolloutStatistics(trainer))
    trainer.train()
    logged = trainer.state.log_history[0]
    assert logged["rewards/answer_reward/mean"] == pytest.approx(8 / 16)
    assert (logged["groups/without_variance"], logged["groups/all_wrong"]) == (0.5, 0.25)


def test_a_completion_without_any_reward_has_no_sum(make_trainer):
    trainer = make_trainer([rewards.answer_reward, rewards.time_iou_reward])
    batch = scoring_of(trainer).score(
        [[{"role": "assistant", "content": "<think>a</think><answer>red</answer>"}]] * 2, {"answer": ["red", None]}
    )
    assert total_rewards(trainer, batch) == [1.0, None]


def test_rollouts_that_do_not_make_whole_groups_are_refused(make_trainer):
    from longvt_plugins.errors import ConfigError

    with pytest.raises(ConfigError, match="3 rollouts do not make groups of 4"):
        gather_groups(make_trainer([rewards.format_reward]), [1, 2, 3])
