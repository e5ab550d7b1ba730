"""A training that is killed at any moment goes on, by the same command, to the result of an undisturbed one."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.synthetic import checkpoint
from trl_ext.run_record import RECORD

RECIPE = {
    "model_name_or_path": str(checkpoint("base")), "turn_tokens": 12, "max_calls": 1, "calls_per_turn": 1,
    "max_completion_length": 450,
    "overview_max_frames": 2, "overview_max_pixels": 784, "crop_max_frames": 2, "crop_max_pixels": 784,
    "reward_funcs": ["varied_rewards.varied_reward"], "rollouts_dir": "rollouts", "resume_from_checkpoint": "last",
    "max_steps": 5, "save_steps": 1, "save_strategy": "steps", "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2, "num_generations": 2, "learning_rate": 1.0e-3, "temperature": 1.0,
    "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": "none", "logging_steps": 1,
    "output_dir": "out", "seed": 3,
}  # fmt: skip
REWARD = '''
def varied_reward(completion_ids, **columns):
    """Rewards that differ within a group, and depend on nothing but what was sampled."""
    return [sum(ids) % 7 / 7 for ids in completion_ids]
'''


@pytest.fixture
def start(tmp_path, rows_file):
    """Starts the training in a folder of this name, under the launcher where several processes are asked for."""

    started: list[subprocess.Popen] = []

    def begin(name, processes=1, **keys):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "varied_rewards.py").write_text(REWARD)
        (folder / "rl.yaml").write_text(yaml.safe_dump({**RECIPE, "rows": str(rows_file), **keys}))
        log = (folder / "log.txt").open("a")
        quiet = {**os.environ, "TRL_EXPERIMENTAL_SILENCE": "1", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        command = [sys.executable, "-m", "trl_ext.grpo", "--config", "rl.yaml"]
        if processes > 1:
            longvt = Path(sys.executable).with_name("longvt")
            command = [longvt, "grpo", *command[-2:], "--multi_gpu", "--num_processes", str(processes)]
            command += ["--main_process_port", "0"]
        process = subprocess.Popen(command, cwd=folder, stderr=log, stdout=log, env=quiet)
        started.append(process)
        return process, folder

    yield begin
    for process in started:
        if process.poll() is None:
            kill(process)


def kill(process):
    """The launcher and all that it started, as the kernel kills: nobody can clean up."""
    first = psutil.Process(process.pid)
    for one in [first, *first.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def finish(process, folder):
    assert process.wait() == 0, (folder / "log.txt").read_text()[-3000:]


def kill_when(process, ready):
    """Kills it as soon as this is so."""
    while process.poll() is None and not ready():
        time.sleep(0.005)
    assert process.poll() is None, "it was over before it could be killed"
    kill(process)


def after(folder, seconds):
    """So long after the training has begun: what comes before takes as long as it takes."""
    record, started, begun = folder / "out" / RECORD, time.time(), []

    def ready() -> bool:
        if not begun and record.is_file() and record.stat().st_mtime > started:
            begun.append(time.monotonic())
        return bool(begun) and time.monotonic() - begun[0] > seconds

    return ready


def history(folder) -> list[dict]:
    log = json.loads((folder / "out" / "checkpoint-5" / "trainer_state.json").read_text())["log_history"]
    told = ("loss", "grad_norm", "reward", "entropy", "completions/mean_length", "epoch", "step")
    return [{key: entry.get(key) for key in told} for entry in log if "loss" in entry]


def assert_alike(folder, other):
    from safetensors.torch import load_file

    assert history(folder) == history(other)
    mine, others = (load_file(str(each / "out" / "model.safetensors")) for each in (folder, other))
    assert mine.keys() == others.keys()
    assert all(mine[name].equal(others[name]) for name in mine)
    messages = [[rollout.messages for rollout in read_rollouts(each / "rollouts")] for each in (folder, other)]
    assert messages[0] == messages[1]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_in_a_step_and_while_it_saves_a_training_goes_on_bit_by_bit(start):
    whole, undisturbed = start("whole")
    finish(whole, undisturbed)
    assert len({entry["loss"] for entry in history(undisturbed)}) > 1, "a run that learns nothing proves nothing"
    process, folder = start("killed")
    kill_when(process, (folder / "out" / "checkpoint-2" / RECORD).is_file)
    time.sleep(0.1)
    # The second time in the midst of saving: weights are there, what is written last is not.
    process, folder = start("killed")
    saving = folder / "out" / "checkpoint-4"
    kill_when(process, (saving / "model.safetensors").is_file)
    process, folder = start("killed")
    finish(process, folder)
    assert_alike(folder, undisturbed)
    record = json.loads((folder / "out" / "checkpoint-5" / RECORD).read_text())
    assert record["resumed_from"] in ("out/checkpoint-3", "out/checkpoint-4")
    assert record["settings"]["reward_funcs"] == ["varied_rewards.varied_reward"]
    assert record["data"]["count"] == 4 and record["versions"]["trl"]
    assert "not as it was" not in (folder / "log.txt").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_moments_nobody_chose_a_training_goes_on_bit_by_bit(start):
    """Also where a generation serves two steps, whose rollouts no checkpoint holds."""
    keys = {"steps_per_generation": 4, "max_steps": 5, "save_steps": 1}
    whole, undisturbed = start("whole", **keys)
    finish(whole, undisturbed)
    saved = sorted(path.name for path in (undisturbed / "out").glob("checkpoint-*"))
    assert saved == ["checkpoint-2", "checkpoint-4", "checkpoint-5"]
    draw = random.Random(11)
    for _ in range(2):
        process, folder = start("killed", **keys)
        kill_when(process, after(folder, draw.uniform(0.2, 2.5)))
    process, folder = start("killed", **keys)
    finish(process, folder)
    assert_alike(folder, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_processes_that_are_killed_go_on_bit_by_bit(start):
    """Two gradients add up to the same sum in either order; more of them, or GPUs, promise no such thing."""
    whole, undisturbed = start("whole", processes=2)
    finish(whole, undisturbed)
    assert len({entry["loss"] for entry in history(undisturbed)}) > 1, "a run that learns nothing proves nothing"
    process, folder = start("killed", processes=2)
    kill_when(process, (folder / "out" / "checkpoint-2" / RECORD).is_file)
    process, folder = start("killed", processes=2)
    finish(process, folder)
    record = json.loads((folder / "out" / "checkpoint-5" / RECORD).read_text())
    assert record["processes"] == 2 and record["resumed_from"] in ("out/checkpoint-1", "out/checkpoint-2")
    assert_alike(folder, undisturbed)
