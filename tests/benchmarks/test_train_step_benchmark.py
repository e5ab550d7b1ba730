"""The benchmark of a training step, on a CPU with the tiny agent."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "train_step.py"


@pytest.mark.slow
def test_the_quick_run_times_every_part_of_a_step_with_its_tool_calls(tmp_path):
    figures = tmp_path / "step.json"
    ended = subprocess.run(
        [sys.executable, str(BENCHMARK), "--quick", "--json", str(figures)],
        check=False, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert found["grpo"]["tool_calls_per_rollout"] == 2
    assert all(found["grpo"]["parts"][part] > 0 for part in ("decoding", "tools", "generation", "rewards", "backward"))
    assert 0 < found["env_reward_share"] < 1
    assert found["sft"]["seconds"] > 0
