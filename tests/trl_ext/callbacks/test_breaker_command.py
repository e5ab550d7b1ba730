"""`longvt grpo` on real videos with the shipped agent, its judge killed in the middle: the whole way of a user."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.synthetic.make import make_world
from longvt_plugins.synthetic.world import TINY


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, TINY, {"train": 6}, seed=11)
    return folder / "train.parquet"


@pytest.fixture
def train(tmp_path, world, judge_server):
    """Runs the command in a folder; the model samples for itself."""

    def run(folder, *options):
        recipe = {
            "model_name_or_path": "tiny",
            "rows": str(world),
            "output_dir": folder,
            "rollouts_dir": f"{folder}/rollouts",
            "max_calls": 2,
            "overview_max_frames": 16,
            **{f"{what}_{bound}_pixels": 784 for what in ("overview", "crop") for bound in ("min", "max")},
            "crop_max_frames": 8,
            "judge": "llm",
            "judge_options": {"max_retries": 1, "backoff": 0.01},
            "reward_preset": "longvt_weighted",
            "judge_patience": 0,
            "dtype": "float32",
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "learning_rate": 1.0e-3,
            "max_steps": 3,
            "per_device_train_batch_size": 6,
            "num_generations": 6,
            "max_completion_length": 160,
            "temperature": 1.5,
            "scale_rewards": "none",
            "save_strategy": "no",
            "report_to": "none",
            "logging_steps": 1,
            "num_processes": 1,
        }
        (tmp_path / "rl.yaml").write_text(yaml.safe_dump(recipe))
        longvt = Path(sys.executable).with_name("longvt")
        command = [longvt, "grpo", "--config", "rl.yaml", *options]
        env = {**os.environ, "LLM_AS_A_JUDGE_BASE": judge_server.base_url}
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)

    return run


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_killed_judge_stops_the_command_and_the_resumed_one_ends_as_an_undisturbed_one(train, judge_server, tmp_path):
    done = train("undisturbed")
    assert done.returncode == 0, done.stderr[-3000:]
    judge_server.kill_after = len(judge_server.requests) - 1

    done = train("killed")
    assert done.returncode != 0
    (told,) = (line for line in done.stderr.splitlines() if line.startswith("longvt grpo: "))
    assert told.startswith("longvt grpo: the judge has given no reply for")
    assert told.endswith("learnt nothing from it; resume_from_checkpoint: killed/checkpoint-2")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    state = json.loads((tmp_path / "killed" / "checkpoint-2" / "trainer_state.json").read_text())
    for logged in state["log_history"]:
        answer, form = (logged[f"rewards/{name}_reward/mean"] for name in ("answer", "format"))
        assert logged["reward"] == pytest.approx(0.8 * answer + 0.2 * form)

    judge_server.revive()
    done = train("killed", "--resume_from_checkpoint", "killed/checkpoint-2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert weights(tmp_path / "killed") == weights(tmp_path / "undisturbed")
    found = {name: read_rollouts(tmp_path / name / "rollouts") for name in ("undisturbed", "killed")}
    rewards = {name: [rollout.rewards for rollout in rollouts] for name, rollouts in found.items()}
    assert rewards["killed"] == rewards["undisturbed"]
    assert len({rollout.answer for rollout in found["undisturbed"]}) > 1
