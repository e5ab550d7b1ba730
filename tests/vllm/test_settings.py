"""Every ``vllm serve`` of documents and recipes, and every recipe's engine, as vLLM's own parsers read them."""

import ast
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from packaging.version import Version

from longvt_plugins.chat_templates import load_chat_template
from longvt_plugins.synthetic import checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {
    "eval/serve.sh": (["runs/rft", "8"], ["Qwen/Qwen3-VL-8B-Instruct", "2", "--dtype", "bfloat16"]),
    "judge/vllm.sh": ([], ["Qwen/Qwen3-8B", "1", "--reasoning-parser", "qwen3"]),
    "cluster/serve_rollouts.sh": (
        ["runs/sft", "8"],
        ["runs/sft", "16", "--data-parallel-size-local", "8", "--data-parallel-address", "10.0.0.1"],
    ),
}
PRINT = f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n"


def lines_of_texts() -> list[list[str]]:
    """What stands in documents and docstrings, without what is left open there."""
    found = []
    texts = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "longvt_plugins").rglob("*.py")]
    for path in texts:
        for told in re.findall(r"vllm (serve [^`\n]+)", path.read_text()):
            line = told.replace('"$(longvt template qwen2_5_vl --path)"', "qwen2_5_vl.jinja")
            found.append([word for word in shlex.split(line) if word != "..."])
    return found


def lines_of_scripts(folder: Path) -> list[list[str]]:
    (folder / "vllm").write_text(PRINT)
    (folder / "vllm").chmod(0o755)
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return [
        json.loads(
            subprocess.run(
                ["bash", ROOT / "recipes" / script, *words],
                env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True,
            ).stdout
        )
        for script, calls in SCRIPTS.items()
        for words in calls
    ]  # fmt: skip


def engines_of_recipes(folder: Path) -> list[dict]:
    """The engine that TRL would start for each recipe with a colocated vLLM, over a small model."""
    from trl.generation.vllm_generation import VLLMGeneration

    from trl_ext.doctor.recipe import read_recipe

    shutil.copytree(checkpoint("agent"), folder / "model")
    config = json.loads((folder / "model" / "config.json").read_text())
    for part in (config, config["text_config"]):
        part["max_position_embeddings"] = 128_000
    (folder / "model" / "config.json").write_text(json.dumps(config))
    # The names that TRL passes on, read from its own code: a name that vLLM has not would be an error at the start.
    call = next(
        node
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(VLLMGeneration._init_vllm))))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "LLM"
    )
    engines = []
    for path in sorted((ROOT / "recipes").rglob("rl*.yaml")):
        if path.stem == "rl_trl":
            continue
        training = read_recipe(["--config", str(path)]).training
        if not training.use_vllm or training.vllm_mode != "colocate":
            continue
        values = {
            "model": str(folder / "model"),
            "tensor_parallel_size": training.vllm_tensor_parallel_size,
            "gpu_memory_utilization": training.vllm_gpu_memory_utilization,
            "max_model_len": training.vllm_max_model_length,
            "max_num_seqs": training.per_device_train_batch_size * training.steps_per_generation,
            "enable_sleep_mode": training.vllm_enable_sleep_mode,
            "model_impl": training.vllm_model_impl,
            "distributed_executor_backend": "external_launcher",
            "seed": 0,
            "max_num_batched_tokens": 4096,
            "logprobs_mode": "processed_logprobs",
            "quantization": None,
            "trust_remote_code": training.trust_remote_code,
        }
        assert {keyword.arg for keyword in call.keywords} == set(values)
        engines.append(values)
    return engines


def test_vllm_takes_every_line_and_every_engine_that_we_name(in_vllm, tmp_path, monkeypatch):
    (tmp_path / "qwen2_5_vl.jinja").write_text(load_chat_template("qwen2_5_vl"))
    lines, engines = [*lines_of_texts(), *lines_of_scripts(tmp_path)], engines_of_recipes(tmp_path)
    assert len(lines) >= 4 + 6
    assert len(engines) >= 4
    monkeypatch.chdir(tmp_path)
    faults = in_vllm("parse_settings.py", {"model": engines[0]["model"], "lines": lines, "engines": engines})
    found = {shlex.join(line): fault for line, fault in zip(lines, faults["lines"], strict=True) if fault}
    if Version(faults["version"]) < Version("0.30"):
        # What the script says of itself: TRL's client asks for routes that came with 0.30.
        assert all("--enable-scale-out" in line and "--enable-scale-out" in fault for line, fault in found.items())
    else:
        assert found == {}
    assert [fault for fault in faults["engines"] if fault] == []


def test_the_parsers_do_refuse_what_is_wrong(in_vllm, tmp_path):
    engine = {"model": str(checkpoint("agent")), "max_model_len": 1024}
    told = {
        "model": engine["model"],
        "lines": [["serve", "m", "--tool-call-parsers", "hermes"], ["serve", "m", "--enable-auto-tool-choice"]],
        "engines": [engine, engine | {"max_model_len": 10_000_000}, engine | {"max_model_length": 1024}],
    }
    faults = in_vllm("parse_settings.py", told)
    assert all(faults["lines"])
    assert [bool(fault) for fault in faults["engines"]] == [False, True, True]
