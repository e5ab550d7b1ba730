"""The pages that tell how to extend the project show code of the example plugin, which tests install and use."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from longvt_plugins.testing import call_tool, images, write_stamped_video
from longvt_plugins.testing_server import ScriptedChatServer, assistant

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "tests" / "example_plugin"
TASK = EXAMPLE / "tasks" / "corner_lamps_tool.yaml"


def fences(page, language):
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("page", "shown"), [("add_tool.md", 2), ("add_judge.md", 2), ("add_step.md", 2)])
def test_the_code_is_that_of_the_example_plugin(page, shown):
    plugin = (EXAMPLE / "longvt_zoom.py").read_text()
    found = [code for code in fences(page, "python") if code in plugin]
    assert len(found) == shown


def test_the_entry_point_is_that_of_the_example_plugin():
    (entry_point,) = fences("add_tool.md", "toml")
    assert entry_point in (EXAMPLE / "pyproject.toml").read_text()


def test_the_test_of_the_tool_runs(tmp_path, monkeypatch, example_plugin):
    monkeypatch.syspath_prepend(str(example_plugin))
    monkeypatch.chdir(tmp_path)
    from longvt_zoom import zoom_pixels

    shown = {"zoom_pixels": zoom_pixels, "write_stamped_video": write_stamped_video}
    exec(fences("add_tool.md", "python")[-1], shown | {"call_tool": call_tool, "images": images})


def test_the_task_is_that_of_the_example_plugin():
    (task,) = fences("add_benchmark.md", "yaml")
    assert task == TASK.read_text()
    from longvt_plugins.rows import parse_row

    (row,) = fences("add_benchmark.md", "json")
    assert parse_row(json.loads(row))["video_segment"] == [12.0, 14.0]


@pytest.mark.slow
def test_the_benchmark_is_answered_by_lmms_eval(tmp_path):
    write_stamped_video(tmp_path / "lamp.mp4", seconds=20, fps=4)
    (tmp_path / "lamps.jsonl").write_text(fences("add_benchmark.md", "json")[0])
    call = ("c1", "crop_video", {"video_path": "video_1.mp4", "start_time": 12, "end_time": 14})
    turns = [assistant("<think>Look.</think>", [call]), assistant("<think>Red.</think><answer>red</answer>")]
    with ScriptedChatServer(turns) as server:
        command = [sys.executable, "-m", "lmms_eval", "--include_path", EXAMPLE / "tasks"]
        command += [
            "--tasks",
            "corner_lamps_tool",
            "--model",
            "longvt",
            "--model_args",
            f"base_url={server.base_url},model=m,preset=tiny",
        ]
        done = subprocess.run(
            [*command, "--output_path", tmp_path / "out"],
            env=os.environ | {"CORNER_LAMPS": str(tmp_path / "lamps.jsonl"), "CUDA_VISIBLE_DEVICES": ""},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    found = list((tmp_path / "out").rglob("*_results.json"))
    assert found, done.stderr[-3000:]
    results = json.loads(found[0].read_text())["results"]["corner_lamps_tool"]
    assert (results["accuracy,none"], results["iou,none"]) == (1.0, 1.0)
