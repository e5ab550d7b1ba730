"""A judge that goes away in the middle of a training: it stops cleanly, and resumes as if nothing had been."""

import json

import pytest

from longvt_plugins.errors import JudgeDownError, JudgeError
from longvt_plugins.judges.judge import Judgement
from longvt_plugins.judges.llm import llm_judge
from trl_ext import rewards
from trl_ext.callbacks import JudgeBreaker, add_callbacks
from trl_ext.scoring import Scoring

CHECKS = 3
"""Known questions that are asked first."""


@pytest.fixture
def make_judged(make_trainer, judge_server):
    """Trainers whose answers the server judges; drawn are four words, so a batch asks at most four questions."""

    def make(folder, **options):
        scoring = Scoring(
            [rewards.answer_reward, rewards.format_reward],
            judge=llm_judge(judge_server.config()),
            patience=options.pop("patience", 0),
        )
        trainer = make_trainer(scoring.reward_funcs, folder=folder, **options)
        add_callbacks(trainer)
        return trainer

    return make


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_same(trainer, expected):
    found = weights(trainer)
    assert found.keys() == expected.keys()
    assert [name for name in found if not found[name].equal(expected[name])] == []


def learned(trainer):
    """What was logged of each step, timings left out."""
    kept = ("step", "loss", "reward", "reward_std", "grad_norm", "rewards/answer_reward/mean", "judge/no_verdict")
    return [{key: entry[key] for key in kept} for entry in trainer.state.log_history if "loss" in entry]


# Four questions a batch; three steps are one epoch, so the fourth is in another.
@pytest.mark.parametrize("options", [{}, {"save_strategy": "steps", "save_steps": 1, "save_only_model": True}])
def test_a_run_whose_judge_is_killed_resumes_to_the_result_of_an_undisturbed_one(
    make_judged, judge_server, tmp_path, options
):
    steps = {"questions": 3, "max_steps": 5}
    undisturbed = make_judged("undisturbed", **steps)
    undisturbed.train()
    assert len({entry["reward"] for entry in learned(undisturbed)}) > 1

    killed = make_judged("killed", **steps, **options)
    asked = []
    judge_server.kill_after = None

    # It dies while the batch of the fifth step is judged: one verdict is had, the others are not.
    def count(batch):
        asked.append(len(judge_server.requests))
        if len(asked) == 4:
            judge_server.kill_after = 1

    killed.reward_funcs[0].scoring.observers.append(count)
    with pytest.raises(JudgeDownError) as raised:
        killed.train()
    checkpoint = tmp_path / "killed" / "checkpoint-4"
    assert f"Training stopped before step 5 and learnt nothing from it; resume_from_checkpoint: {checkpoint}" in str(
        raised.value
    )
    assert json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] == 4
    assert learned(killed) == learned(undisturbed)[:4]

    judge_server.revive()
    resumed = make_judged("killed", **steps)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert learned(resumed) == learned(undisturbed)
    assert_same(resumed, weights(undisturbed))


def test_an_outage_within_the_patience_changes_nothing(make_judged, judge_server):
    undisturbed = make_judged("undisturbed", max_steps=2)
    undisturbed.train()

    trainer = make_judged("waiting", max_steps=2, patience=60)
    scoring = trainer.reward_funcs[0].scoring

    async def revive(seconds):
        judge_server.revive()

    scoring._bench.sleep = revive
    judge_server.kill_after = CHECKS + 1
    trainer.train()
    assert learned(trainer) == learned(undisturbed)
    assert_same(trainer, weights(undisturbed))


def test_a_judge_that_is_down_before_anything_was_learnt_leaves_no_checkpoint(make_judged, judge_server, tmp_path):
    trainer = make_judged("out")
    judge_server.kill_after = CHECKS
    with pytest.raises(JudgeDownError, match="nothing had been trained: start again"):
        trainer.train()
    assert not list(tmp_path.glob("out/checkpoint-*"))


def test_a_checkpoint_that_was_just_saved_is_not_saved_again(make_judged, judge_server, tmp_path):
    trainer = make_judged("out", save_strategy="steps", save_steps=1)

    def kill(batch):
        judge_server.kill_after = 0

    trainer.reward_funcs[0].scoring.observers.append(kill)
    saved, save = [], trainer._save_checkpoint

    def note(*given, **options):
        saved.append(trainer.state.global_step)
        save(*given, **options)

    trainer._save_checkpoint = note
    with pytest.raises(JudgeDownError, match="checkpoint-1"):
        trainer.train()
    assert saved == [1]


def test_training_does_not_start_with_a_judge_that_fails_known_questions(make_trainer):
    async def kind_judge(question, reference, prediction, *, options=None, kind=None):
        return Judgement(1.0, "correct", fingerprint="kind/1")

    trainer = make_trainer(Scoring([rewards.answer_reward], judge=kind_judge).reward_funcs)
    trainer.add_callback(JudgeBreaker(trainer))
    with pytest.raises(JudgeError, match="the judge kind/1 cannot be trusted"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_the_known_questions_reach_the_judge_before_a_word_is_generated(make_judged, judge_server):
    trainer = make_judged("out", max_steps=1)
    written = []
    trainer.draw = lambda question, count: written.append(len(judge_server.requests)) or ["red"] * count
    trainer.train()
    assert written[0] == CHECKS
