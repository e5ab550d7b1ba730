"""The main job, whole: `longvt demo --quick` with the real trl, longvt grpo and lmms-eval programs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.demo
@pytest.mark.timeout(1500)
def test_the_quick_demo_shows_a_model_that_learnt_to_crop(tmp_path):
    longvt = Path(sys.executable).with_name("longvt")
    command = [longvt, "demo", "--quick", "--seed", "3", "--work-dir", tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(results) == {"base", "no_tool_sft", "sft", "rl", "rft", "oracle_window"}
    assert results["sft"]["accuracy"] >= results["no_tool_sft"]["accuracy"] + 0.10
    assert results["sft"]["format"] >= 0.9
    assert results["no_tool_sft"]["format"] is None and results["no_tool_sft"]["calls"] is None
    assert all(results[stage]["questions"] == 64 and results[stage]["failed"] == 0 for stage in results)

    page = (tmp_path / "run" / "report.html").read_text()
    assert "data:image/jpeg;base64," in page and page.count("<polyline") >= 5

    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "videos:" not in again.stdout  # everything was done: only the table is printed again
