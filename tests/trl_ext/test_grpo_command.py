"""`longvt grpo` and the stock `trl grpo` over the bridge: real commands, one or two steps of a tiny model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from longvt_plugins import VideoConfig
from longvt_plugins.chat_templates import load_chat_template
from longvt_plugins.demo.stages import recipe_path
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import read_rollouts
from trl_ext import grpo
from trl_ext.grpo import launch

TRAINING = {
    "max_steps": 1,
    "per_device_train_batch_size": 2,
    "num_generations": 2,
    "max_completion_length": 24,
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "logging_steps": 1,
    "num_processes": 1,
}
SMALL = {"overview_max_frames": 2, "overview_max_pixels": 784, "crop_max_frames": 2, "crop_max_pixels": 784}


def write_recipe(folder: Path, **keys) -> Path:
    path = folder / "rl.yaml"
    path.write_text(yaml.safe_dump({"output_dir": str(folder / "out"), **TRAINING, **keys}))
    return path


def run(*command, cwd: Path) -> subprocess.CompletedProcess:
    quiet = {**os.environ, "TRL_EXPERIMENTAL_SILENCE": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=quiet)


def logged(folder: Path) -> dict:
    (state,) = folder.glob("out/checkpoint-*/trainer_state.json")
    return json.loads(state.read_text())["log_history"][0]


def test_longvt_grpo_trains_under_the_launcher(tmp_path, rows_file, tiny_model):
    (tmp_path / "brief_rewards.py").write_text(
        "def brevity_reward(completions, **columns):\n    return [0.25 for _ in completions]\n"
    )
    recipe = write_recipe(
        tmp_path,
        model_name_or_path=str(tiny_model),
        rows=str(rows_file),
        eval_rows=str(rows_file),
        reward_funcs=["trl_ext.rewards.answer_reward", "brief_rewards.brevity_reward"],
        rollouts_dir="rollouts",
        **SMALL,
    )
    longvt = Path(sys.executable).with_name("longvt")
    done = run(longvt, "grpo", "--config", recipe, "--max_steps", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert logged(tmp_path)["rewards/brevity_reward/mean"] == 0.25
    rollouts = read_rollouts(tmp_path / "rollouts")
    assert sorted({rollout.step for rollout in rollouts}) == [0, 1]
    assert len({rollout.id for rollout in rollouts}) == 4
    assert rollouts[0].rewards == {"answer_reward": 0.0, "brevity_reward": 0.25}
    assert rollouts[0].stop_reason == "length" and rollouts[0].tokens == 24
    assert [message["role"] for message in rollouts[0].messages] == ["system", "user", "assistant"]
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == load_chat_template("qwen2_5_vl")


def test_stock_trl_grpo_trains_over_the_bridge(tmp_path, rows_file, tiny_model):
    shipped = yaml.safe_load(recipe_path("rl_trl").read_text())
    settings = shipped["env"]["LONGVT_ENVIRONMENT"].replace("video_root: world", f"video_root: {rows_file.parent}")
    own = {
        "model_name_or_path": str(tiny_model),
        "gradient_accumulation_steps": 1,
        "datasets": [{"path": "parquet", "data_files": str(rows_file), "split": "train"}],
        "env": {"LONGVT_ENVIRONMENT": settings},
    }
    recipe = write_recipe(
        tmp_path,
        **{key: value for key, value in shipped.items() if key not in {*TRAINING, *own, "output_dir"}},
        **own,
    )
    done = run(Path(sys.executable).with_name("trl"), "grpo", "--config", recipe, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    log = logged(tmp_path)
    assert log["rewards/answer_reward/mean"] == 0
    # Only where the trainer has an environment with tools does TRL log this.
    assert log["tools/call_frequency"] == 0


def test_a_fault_found_by_the_training_process_is_one_line_too(tmp_path, tiny_model):
    recipe = write_recipe(tmp_path, model_name_or_path=str(tiny_model), rows="nothing.parquet")
    done = run(sys.executable, "-m", "trl_ext.grpo", "--config", recipe, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "longvt grpo: no rows file nothing.parquet"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"max_frame": 5}, "no key 'max_frame'. Did you mean 'max_frames'?"),
        ({"dataset_name": "x"}, "dataset_name is a key of `trl grpo`; here the key rows names a file of rows"),
        ({"tools": "crop_video"}, "tools must be a list of names"),
        ({"max_calls": -1}, "max_calls must be a whole number from 0 or null"),
        ({"video_max_open_files": 0}, "video_max_open_files must be a whole number from 1"),
        ({"judge_options": [1]}, "judge_options must be a mapping"),
        ({"rows": None}, "the recipe needs the key rows"),
        ({"eval_strategy": "steps"}, "eval_strategy needs the key eval_rows"),
        ({"model_name_or_path": None}, "the recipe needs the key model_name_or_path"),
        ({"reward_funcs": []}, "reward_funcs must be a list of dotted paths"),
    ],
)
def test_a_faulty_recipe_is_refused_before_anything_starts(tmp_path, keys, told):
    recipe = write_recipe(tmp_path, **{"rows": "rows.parquet", "model_name_or_path": "somewhere", **keys})
    with pytest.raises(ConfigError) as raised:
        launch(["--config", str(recipe)])
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_how_videos_are_read_is_said_by_flat_keys_of_the_recipe_or_flags(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(grpo, "train", lambda arguments, *_: seen.append(arguments.video))
    keys = {"rows": "rows.parquet", "model_name_or_path": "somewhere", "video_memory_mb": 64, "video_disk_gb": 5}
    recipe = str(write_recipe(tmp_path, **keys))
    monkeypatch.setenv("LONGVT_CACHE", "/scratch/from-the-environment")
    grpo.main(["--config", recipe, "--video_isolate", "true", "--video_decode_timeout", "60"])
    grpo.main(["--config", recipe, "--video_cache_dir", "/scratch/named", "--video_cache_format", "jpeg"])
    common = {"memory_mb": 64, "disk_gb": 5}
    assert seen == [
        VideoConfig(cache_dir="/scratch/from-the-environment", isolate=True, decode_timeout=60.0, **common),
        VideoConfig(cache_dir="/scratch/named", cache_format="jpeg", **common),
    ]


def test_an_unknown_flag_is_refused_and_the_launchers_are_not(tmp_path):
    recipe = write_recipe(tmp_path, rows="rows.parquet")
    with pytest.raises(ConfigError, match="no key 'learning_rat'"):
        launch(["--config", str(recipe), "--num_machines", "1", "--learning_rat", "1"])


def test_what_the_model_must_not_sample_is_suppressed(tiny_model):
    from types import SimpleNamespace

    from trl_ext.model_setup import load_processor, suppress_media_tokens

    processor = load_processor(str(tiny_model))
    pads = processor.tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"])
    args = SimpleNamespace(use_vllm=False, generation_kwargs={"suppress_tokens": [3], "top_k": 5})
    suppress_media_tokens(args, processor)
    assert args.generation_kwargs == {"suppress_tokens": sorted([3, *pads]), "top_k": 5}
    args = SimpleNamespace(use_vllm=True, generation_kwargs=None)
    suppress_media_tokens(args, processor)
    assert args.generation_kwargs == {"logit_bias": dict.fromkeys(pads, -100.0)}


def test_a_processor_that_would_enlarge_the_frames_is_told_of(tiny_model, caplog):
    from longvt_plugins.video import FrameSampling
    from trl_ext.model_setup import load_processor, warn_of_resizing

    processor = load_processor(str(tiny_model))
    warn_of_resizing(processor, overview=FrameSampling(max_pixels=28 * 28))
    assert not caplog.records
    processor.image_processor.size = {"shortest_edge": 65536, "longest_edge": 16777216}
    warn_of_resizing(processor, overview=FrameSampling(max_pixels=224 * 224))
    assert "enlarges every overview frame to 65536 pixels" in caplog.text


@pytest.mark.parametrize(
    "call",
    ["[" * 100_000, '{"name": "\\ud800", "arguments": {}}', '{"name": "crop_video", "arguments": {"a": "\\udfff"}}'],
)
def test_a_hostile_call_is_text_and_does_not_end_the_training(tiny_model, call):
    from trl.chat_template_utils import parse_response

    from trl_ext.model_setup import load_processor

    tokenizer = load_processor(str(tiny_model)).tokenizer
    written = f"<think>a</think>\n<tool_call>\n{call}\n</tool_call>"
    ids = tokenizer(f"{written}<|im_end|>")["input_ids"]
    assert parse_response(tokenizer, ids, prefix=[]) == {"role": "assistant", "content": written}
