"""Each recipe's command, run to its end on a tiny model: the real entry points, sizes overridden by flags."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes"
PROGRAMS = Path(sys.executable).parent

SUPERVISED = ["sft", "rft", *(f"{folder}/{stage}" for folder in ("longvt_7b", "qwen3_vl_8b", "qwen3_vl_4b_lora")
                              for stage in ("sft", "rft"))]  # fmt: skip
RL = ["rl", "longvt_7b/rl", "qwen3_vl_8b/rl", "qwen3_vl_4b_lora/rl", "cluster/rl_colocated", "cluster/rl_servers"]
CHEAPEST = "rft"
TWO_PROCESSES = ["--num_processes", "2", "--multi_gpu"]

SMALL = {"use_cpu": True, "bf16": False, "dtype": "float32", "gradient_checkpointing": False, "max_steps": 1,
         "gradient_accumulation_steps": 1, "warmup_steps": 0, "save_steps": 1}  # fmt: skip
SMALL_SFT = {**SMALL, "use_liger_kernel": False, "dataloader_num_workers": 0}
SMALL_RL = {**SMALL, "use_vllm": False, "judge": "exact", "per_device_train_batch_size": 2, "num_generations": 2,
            "turn_tokens": 12, "max_calls": 1, "max_completion_length": 600, "overview_max_frames": 2,
            "crop_max_frames": 2}  # fmt: skip


def flags(settings: dict) -> list[str]:
    return [word for name, value in settings.items() for word in (f"--{name}", str(value))]


def train(run, workplace: Path, name: str, processes: int) -> tuple[dict, Path]:
    """Runs the recipe; gives what its one step logged, and the folder of the checkpoint."""
    stage = name.rpartition("/")[2]
    family = "qwen3_vl" if name.startswith("qwen3") else "qwen2_5_vl"
    out = workplace / "runs" / f"{name.replace('/', '-')}-{processes}"
    own = {"model_name_or_path": workplace / family, "output_dir": out}
    if stage in ("sft", "rft"):
        command, small = [PROGRAMS / "trl", "sft"], SMALL_SFT
    else:
        command, small = [PROGRAMS / "longvt", "grpo"], {**SMALL_RL, "rollouts_dir": out / "rollouts"}
        # A frame of 64x64 pixels, whatever the size of a token.
        size = 64 * 64 if family == "qwen3_vl" else 56 * 56
        own |= {f"{part}_{end}_pixels": size for part in ("overview", "crop") for end in ("min", "max")}
    launcher = TWO_PROCESSES if processes == 2 else ["--num_processes", "1"]
    run(*command, "--config", RECIPES / f"{name}.yaml", *flags({**small, **own}), *launcher)
    state = json.loads((out / "checkpoint-1" / "trainer_state.json").read_text())
    return state["log_history"][0], out


def check(log: dict, out: Path, name: str, processes: int) -> None:
    assert log["loss"] == log["loss"] and log["grad_norm"] >= 0
    weights = "adapter_model.safetensors" if "lora" in name else "model.safetensors"
    for saved in (out, out / "checkpoint-1"):
        assert (saved / weights).is_file()
        template = (saved / "chat_template.jinja").read_text()
        assert "<tool_response>" in template and "generation" in template
        record = json.loads((saved / "longvt_run.json").read_text())
        assert record["processes"] == processes and record["data"]["count"] == 4


def test_the_cheapest_recipe_runs(run, workplace):
    log, out = train(run, workplace, CHEAPEST, 1)
    check(log, out, CHEAPEST, 1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("name", SUPERVISED)
def test_a_supervised_recipe_runs(run, workplace, name, processes):
    log, out = train(run, workplace, name, processes)
    check(log, out, name, processes)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("name", RL)
def test_a_recipe_of_rl_runs(run, workplace, name, processes):
    log, out = train(run, workplace, name, processes)
    check(log, out, name, processes)
    assert {"reward", "rewards/time_iou_reward/mean", "tools/call_frequency"} <= log.keys()
    assert len(list((out / "rollouts").glob("*.parquet"))) == processes


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_adapter_is_merged_for_the_next_stage(run, workplace):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    _, out = train(run, workplace, "qwen3_vl_4b_lora/sft", 1)
    merged = out.with_name("merged")
    run(sys.executable, RECIPES / "merge_lora.py", out, merged)
    model = AutoModelForImageTextToText.from_pretrained(merged)
    assert not any("lora" in name for name, _ in model.named_parameters())
    assert "<tool_response>" in AutoProcessor.from_pretrained(merged).chat_template
