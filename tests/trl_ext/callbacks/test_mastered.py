"""Prompts that are answered right every time leave; epochs keep their length; a resumed run goes on with it."""

import json

import pytest

from longvt_plugins.errors import ConfigError
from trl_ext import rewards
from trl_ext.callbacks import MasteredPrompts, PromptOrder, add_callbacks
from trl_ext.resume import load_weights_by_model

REWARDS = [rewards.answer_reward, rewards.format_reward]


@pytest.fixture
def asked():
    return []


@pytest.fixture
def make_run(make_trainer, asked):
    """Trainers over four questions, of which the model masters the first two from the start; notes what is asked."""

    def draw(question, count):
        asked.append(question)
        return ["red"] * count if question in ("0?", "1?") else ["red", "blue"] * (count // 2)

    def make(folder="out", **options):
        trainer = make_trainer(REWARDS, folder=folder, draw=draw, generations=2, max_steps=7, **options)
        add_callbacks(trainer, drop_mastered=True)
        return trainer

    return make


def epochs(asked, length=4):
    return [asked[start : start + length] for start in range(0, len(asked), length)]


def test_mastered_prompts_are_asked_in_the_first_epoch_only_and_their_places_are_filled(make_run, asked):
    trainer = make_run()
    trainer.train()
    first, *later = epochs(asked)
    assert sorted(first) == ["0?", "1?", "2?", "3?"]
    assert [set(epoch) for epoch in later] == [{"2?", "3?"}]
    logged = trainer.state.log_history
    assert [logged[step]["prompts/dropped"] for step in (0, 3, 4, 6)] == [0, 0, 0.5, 0.5]
    assert logged[3]["prompts/mastered"] == 0.5


@pytest.mark.parametrize("saved_at", [3, 4, 6])
def test_a_resumed_run_asks_what_an_undisturbed_one_would(make_run, asked, tmp_path, saved_at):
    """In the middle of the first epoch, at its very end, and in the middle of the next."""
    make_run("whole").train()
    whole = asked.copy()
    asked.clear()
    halved = make_run("halved", save_strategy="steps", save_steps=saved_at, save_total_limit=1)
    halved.args.max_steps = saved_at
    halved.train()
    state = json.loads((tmp_path / "halved" / f"checkpoint-{saved_at}" / "trainer_state.json").read_text())
    known = state["stateful_callbacks"]["longvt_mastered_prompts"]["attributes"]
    assert known["dropped"] == ([] if saved_at <= 4 else ["row-0", "row-1"])
    make_run("halved", restore_callback_states_from_checkpoint=True).train(
        resume_from_checkpoint=str(tmp_path / "halved" / f"checkpoint-{saved_at}")
    )
    assert asked == whole


def test_a_batch_of_different_prompts_is_always_left(make_trainer, asked):
    def draw(question, count):
        asked.append(question)
        return ["red"] * count

    trainer = make_trainer(REWARDS, draw=draw, generations=2, max_steps=4, per_device_train_batch_size=4)
    trainer.add_callback(MasteredPrompts(trainer))
    trainer.train()
    assert sorted(asked[:4]) == ["0?", "1?", "2?", "3?"]
    assert sorted(asked[4:]) == ["2?", "2?", "3?", "3?"]


def test_a_group_without_verdicts_masters_nothing(make_trainer):
    def unsure_reward(completions, **columns):
        return [None] * (len(completions) - 1) + [1.0]

    trainer = make_trainer([unsure_reward], max_steps=4)
    callback = MasteredPrompts(trainer, reward="unsure_reward")
    trainer.add_callback(callback)
    trainer.train()
    assert callback.dropped == set()


def test_what_cannot_be_dropped_is_told(make_trainer):
    with pytest.raises(ConfigError, match="takes the reward 'answer_reward'; the trainer has: format_reward"):
        MasteredPrompts(make_trainer([rewards.format_reward]))
    with pytest.raises(ConfigError, match="the column 'row_id'"):
        MasteredPrompts(make_trainer(REWARDS), key="row_id")
    with pytest.raises(ConfigError, match="the column 'id' repeats some"):
        MasteredPrompts(make_trainer(REWARDS, columns={"id": ["a", "a", "b", "c"]}))


def test_a_run_resumed_in_a_later_epoch_keeps_the_order_of_prompts(make_trainer, tmp_path):
    """Without the callback it would go through them in the order of the first epoch."""
    orders = {}
    settings = {"questions": 4, "generations": 2, "max_steps": 8, "save_strategy": "steps", "save_steps": 4}
    for name, callbacks in {"whole": [PromptOrder()], "resumed": [PromptOrder()], "alone": []}.items():
        asked = []

        def draw(question, count, asked=asked):
            asked.append(question)
            return ["red", "blue"] * (count // 2)

        trainer = make_trainer(REWARDS, folder=name, draw=draw, **settings)
        for callback in callbacks:
            trainer.add_callback(callback)
        load_weights_by_model(trainer)
        trainer.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4") if name != "whole" else None)
        orders[name] = asked
    assert orders["resumed"] == orders["whole"][4:]
    assert orders["alone"] == orders["whole"][:4] != orders["whole"][4:]
