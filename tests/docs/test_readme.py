"""``README.md``: its commands exist, and its Python runs."""

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import trl_ext
from longvt_plugins import ToolContext, ToolError, create_plugin_manager
from longvt_plugins.cli import COMMANDS
from longvt_plugins.synthetic.make import make_world
from longvt_plugins.synthetic.world import TINY
from longvt_plugins.types import ToolCall

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()
FENCES = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SHELL = "\n".join(code for language, code in FENCES if language == "bash")
TRAINING, TOOL = (code for language, code in FENCES if language == "python")


def test_every_command_it_names_exists():
    longvt = set(re.findall(r"\blongvt ([a-z]+)", SHELL)) | set(re.findall(r"`(?:\.venv/bin/)?longvt ([a-z]+)", TEXT))
    assert longvt == set(COMMANDS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "help"} == set(re.findall(r"\bmake ([a-z]+) ", TEXT)) | {"help"} & targets
    assert "write_sft" in trl_ext.__all__


def test_what_it_says_the_demo_leaves_is_what_the_demo_makes():
    stages = "".join(path.read_text() for path in (ROOT / "longvt_plugins" / "demo").glob("*.py"))
    assert "runs" in stages
    for name in set(re.findall(r"runs/demo/([\w.]+)", TEXT)):
        assert f'"{name}"' in stages, name
    for name in ("recipe.yaml", "checkpoint", "train.parquet"):
        assert f'"{name}"' in stages, name


def test_its_tool_shows_a_frame_and_explains_a_wrong_time(make_video, tmp_path):
    module = types.ModuleType("readme_tool")
    exec(compile(TOOL, "README.md", "exec"), module.__dict__)
    plugins = create_plugin_manager(entry_points=False, extra=[module])
    tool = plugins.tools.get("look_at")
    with ToolContext({"video_1.mp4": make_video(tmp_path / "talk.mp4", seconds=4)}) as ctx:
        call = {"video_path": "video_1.mp4", "timestamp": 2.5}
        (image,) = plugins.call_tool(tool, ctx, ToolCall("call_1", "look_at", call))
        assert (image["time"], image["image"].size) == (2.0, (64, 48))
        with pytest.raises(ToolError, match="timestamp 9 is outside the video, which lasts 4 seconds"):
            tool(ctx, call | {"timestamp": 9.0})


@pytest.mark.slow
def test_its_training_trains(tmp_path):
    make_world(tmp_path / "runs" / "demo" / "world", TINY, {"train": 8}, seed=5, families=("what",), processes=1)
    (tmp_path / "train.py").write_text(TRAINING)
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=tmp_path,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "rewards/time_iou_reward/mean" in done.stdout
