"""Every recipe is understood by the real parsers, means what it says, and each of its keys is in the parity table."""

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

pytest.importorskip("trl")

from longvt_plugins.errors import ConfigError
from longvt_plugins.ledger import Ledger
from trl_ext import grpo

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes"
SUPERVISED = sorted(path for name in ("sft", "rft") for path in RECIPES.rglob(f"{name}.yaml"))
RL = sorted(path for path in RECIPES.rglob("rl*.yaml") if path.stem != "rl_trl")
LONGVT = {
    "sft": {"learning_rate": 5e-5, "warmup_steps": 300, "max_steps": 3000, "weight_decay": 0.0},
    "rft": {"learning_rate": 5e-5, "warmup_steps": 160, "max_steps": 1600, "weight_decay": 0.0},
    "rl": {"learning_rate": 1e-6, "warmup_steps": 0, "max_steps": 160, "weight_decay": 1e-2, "beta": 1e-3,
           "num_generations": 16, "max_completion_length": 16384, "temperature": 1.0},
}  # fmt: skip


def name(path: Path) -> str:
    return str(path.relative_to(RECIPES))


def parse_supervised(path: Path):
    from trl.scripts.sft import make_parser

    # As `trl sft` does, but refusing what is left over; a recipe is read here on a machine without a GPU.
    *parsed, left = make_parser().parse_args_and_config(
        ["--config", str(path), "--use_cpu", "true"], return_remaining_strings=True, fail_with_unknown_args=False
    )
    return parsed, left


@pytest.mark.parametrize("path", SUPERVISED, ids=name)
def test_trl_sft_knows_every_key(path):
    (_, training, model, data), left = parse_supervised(path)
    assert left == []
    assert training.assistant_only_loss and training.max_length is None
    assert model.model_name_or_path and data.datasets[0].data_files
    assert training.lr_scheduler_type == "cosine" and training.warmup_steps < training.max_steps


@pytest.mark.parametrize("path", RL, ids=name)
def test_longvt_grpo_knows_every_key(path):
    arguments, training, _, of_recipe, of_command = grpo._parse(["--config", str(path), "--use_cpu", "true"])
    assert (of_recipe, of_command) == ([], [])
    grpo._bound_turns(arguments, training)
    if arguments.turn_tokens is not None:
        ledger = Ledger(None, training.max_completion_length, arguments.turn_tokens)
        left = ledger.reply_tokens(
            arguments.max_calls, max_turns=arguments.max_turns, calls_per_turn=arguments.calls_per_turn
        )
        # A crop of full length has room: of 64 tokens a frame, two marks, and a label such as "1234.5s".
        assert left >= arguments.crop.max_frames * 70


@pytest.mark.parametrize("stage", LONGVT)
def test_the_published_settings_are_those_of_the_paper(stage):
    path = RECIPES / "longvt_7b" / f"{stage}.yaml"
    if stage == "rl":
        arguments, training, *_ = grpo._parse(["--config", str(path), "--use_cpu", "true"])
        assert 8 * training.per_device_train_batch_size * training.gradient_accumulation_steps == 16 * 16
        assert (arguments.overview.max_frames, arguments.crop.max_frames, arguments.crop.max_pixels) == (
            512,
            128,
            50_176,
        )
        assert (arguments.max_calls, arguments.reward_preset) == (5, "longvt")
        assert training.vllm_max_model_length >= 36_000 + 16_384
    else:
        (_, training, *_), _ = parse_supervised(path)
    found = {key: getattr(training, key) for key in LONGVT[stage]}
    assert found == LONGVT[stage]


MACHINES = {
    **{path: 16 for path in (RECIPES / "accelerate").glob("*.yaml")},
    ROOT / "benchmarks/fsdp2_two_gpus.yaml": 2,
}


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_accelerate_knows_the_machines(path):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    told = yaml.safe_load(path.read_text())
    assert config.num_processes == MACHINES[path]
    if told["distributed_type"] == "FSDP":
        assert config.fsdp_config["fsdp_version"] == 2
    else:
        assert config.deepspeed_config["zero_stage"] == 3


def test_the_launcher_takes_a_cluster_recipe_with_its_machines(monkeypatch):
    import accelerate.commands.launch as launcher

    started = []
    monkeypatch.setattr(launcher, "launch_command", started.append)
    recipe, machines = RECIPES / "cluster" / "rl_colocated.yaml", RECIPES / "accelerate" / "fsdp2_nodes.yaml"
    flags = [
        "--machine_rank",
        "1",
        "--main_process_ip",
        "10.0.0.1",
        "--main_process_port",
        "29500",
        "--use_cpu",
        "true",
    ]
    grpo.launch(["--config", str(recipe), "--accelerate_config", str(machines), *flags])
    (args,) = started
    assert (args.config_file, args.machine_rank, args.main_process_ip) == (str(machines), 1, "10.0.0.1")
    assert args.training_script_args == ["--config", str(recipe), "--use_cpu", "true"]


@pytest.mark.parametrize("line", ["learning_rat: 1.0e-6", "max_prompt_length: 36000", "packing_length: 51200"])
def test_a_key_that_nobody_knows_is_refused(tmp_path, line):
    key = line.partition(":")[0]
    (tmp_path / "rl.yaml").write_text((RECIPES / "rl.yaml").read_text() + line + "\n")
    with pytest.raises(ConfigError, match=f"no key '{key}'"):
        grpo._parse(["--config", str(tmp_path / "rl.yaml"), "--use_cpu", "true"])
    (tmp_path / "sft.yaml").write_text((RECIPES / "rft.yaml").read_text() + line + "\n")
    with pytest.raises(ValueError, match=key):
        from trl.scripts.sft import make_parser

        make_parser().parse_args_and_config(["--config", str(tmp_path / "sft.yaml"), "--use_cpu", "true"])


def parity_keys() -> dict[str, str]:
    """Keys of the table and the section that they stand in."""
    found, section = {}, ""
    for line in (ROOT / "docs" / "parity.md").read_text().splitlines():
        section = line if line.startswith("## ") else section
        cells = line.split("|")
        if len(cells) == 5 and section:
            found |= dict.fromkeys(re.findall(r"`(\w+)`", cells[2]), section)
    return found


def test_the_parity_table_names_keys_that_exist_and_all_that_the_recipes_set():
    from accelerate.commands.launch import launch_command_parser
    from trl import DatasetMixtureConfig, GRPOConfig, ModelConfig, ScriptArguments, SFTConfig

    from trl_ext.arguments import EnvironmentArguments

    launcher = {action.dest for action in launch_command_parser()._actions} | {"accelerate_config"}
    known = {
        "## S": {f.name for c in (SFTConfig, ModelConfig, ScriptArguments, DatasetMixtureConfig) for f in fields(c)},
        "## R": {f.name for c in (GRPOConfig, ModelConfig, EnvironmentArguments) for f in fields(c)},
    }
    keys = parity_keys()
    assert len(keys) > 40
    assert [key for key, section in keys.items() if key not in known[section[:4]] | launcher] == []
    of_no_setting = {"output_dir", "logging_steps", "report_to", "resume_from_checkpoint"}
    for stage in LONGVT:
        told = yaml.safe_load((RECIPES / "longvt_7b" / f"{stage}.yaml").read_text())
        assert told.keys() - keys.keys() - of_no_setting == set()


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.sh")), ids=name)
def test_scripts_are_bash_that_parses(path):
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    assert path.stat().st_mode & 0o111
