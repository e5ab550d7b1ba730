"""The tiny agent, evaluated by lmms-eval and by the trainer: the same questions, the same accuracy."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from longvt_plugins.synthetic import TINY, resolve_model
from longvt_plugins.synthetic.make import make_world
from longvt_plugins.synthetic.world import get_preset

QUESTIONS = 24
RECIPE = Path(__file__).parents[2] / "recipes" / "tiny" / "rl.yaml"

# The trainer takes a minute to be made, and answers with a real model.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, get_preset("tiny"), {"test": QUESTIONS}, seed=5, processes=1)
    return folder


@pytest.fixture(scope="module")
def ours(world, evaluate, tmp_path_factory):
    """The results of lmms-eval, by task."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGVT_DATA", str(world))
        results = evaluate(
            "longvt_hf",
            ["longvt_synthetic_tool", "longvt_synthetic_non_think"],
            f"pretrained={TINY},preset=tiny,max_calls=2",
            batch_size=QUESTIONS,
            gen_kwargs="max_new_tokens=64,temperature=0",
        )
    return results["results"]


def trainers_accuracy(world, tmp_path):
    """What ``trainer.evaluate()`` says of the same questions, all but deterministic."""
    from trl import GRPOConfig, GRPOTrainer

    from trl_ext import VideoToolSpec
    from trl_ext.environment import EnvironmentConfig

    recipe = yaml.safe_load(RECIPE.read_text())
    known = {field.name for field in dataclasses.fields(EnvironmentConfig)}
    spec = VideoToolSpec(world / "test.parquet", **{key: value for key, value in recipe.items() if key in known})
    model = resolve_model(TINY)
    trainer = GRPOTrainer(
        model=model,
        args=GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=2,
            per_device_eval_batch_size=QUESTIONS,
            num_generations=2,
            num_generations_eval=1,
            max_completion_length=recipe["max_completion_length"],
            max_tool_calling_iterations=3,
            temperature=1e-3,
            report_to="none",
            use_cpu=True,
            bf16=False,
            save_strategy="no",
        ),
        processing_class=spec.load_processor(model),
        train_dataset=spec.train_dataset,
        eval_dataset=spec.load_rows(world / "test.parquet"),
        environment_factory=spec.environment_factory,
        reward_funcs=spec.reward_funcs,
    )
    spec.add_callbacks(trainer)
    return trainer.evaluate()["eval_rewards/answer_reward/mean"]


def test_lmms_eval_and_the_trainer_find_the_same_accuracy(ours, world, tmp_path):
    numbers = ours["longvt_synthetic_tool"]
    assert numbers["scored,none"] == QUESTIONS
    assert trainers_accuracy(world, tmp_path) == pytest.approx(numbers["accuracy,none"])


def test_the_agent_is_better_with_its_tool_than_without(ours):
    with_tool, without = (ours[f"longvt_synthetic_{form}"]["accuracy,none"] for form in ("tool", "non_think"))
    assert with_tool > without
    assert ours["longvt_synthetic_tool"]["used_tools,none"] > 0.5
