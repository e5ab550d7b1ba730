"""``docs/plugins.md``: every hook with its exact signature, and examples that run."""

import asyncio
import inspect
import logging
import re
import sys
import types
from pathlib import Path

import pytest
from PIL import Image

from datapipe import Dropped, Kept, VideoRecord
from longvt_plugins import ToolContext, ToolError, VideoConfig, VideoLibrary, create_plugin_manager, hookspecs
from longvt_plugins.judges import JudgeConfig
from longvt_plugins.plugins import hook_names
from longvt_plugins.types import ToolCall

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "plugins.md").read_text()
FENCES = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SIGNATURES = [code.strip() for language, code in FENCES if language == ""]
EXAMPLES = [code for language, code in FENCES if language == "python"]


def example(hook: str) -> types.ModuleType:
    (code,) = [code for code in EXAMPLES if f"def {hook}(" in code]
    module = types.ModuleType(f"example_of_{hook}")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(code, "docs/plugins.md", "exec"), module.__dict__)
    return module


@pytest.fixture
def plugins():
    modules = [example(hook) for hook in hook_names()]
    yield create_plugin_manager(entry_points=False, extra=modules)
    for module in modules:
        del sys.modules[module.__name__]


def test_every_hook_is_documented_with_its_exact_signature_and_nothing_else_is():
    real = [f"{hook}{inspect.signature(getattr(hookspecs, hook))}".replace("'", "") for hook in hook_names()]
    assert sorted(SIGNATURES) == real


def test_every_hook_has_one_example():
    assert len(EXAMPLES) == len(hook_names())


def test_the_tool_of_the_docs_shows_a_frame_and_explains_a_wrong_time(plugins, make_video, tmp_path):
    video = make_video(tmp_path / "talk.mp4", seconds=4)
    tool = plugins.tools.get("look_once")
    with ToolContext({"video_1.mp4": video}) as ctx:
        call = {"video_path": "video_1.mp4", "timestamp": 2.5}
        (image,) = plugins.call_tool(tool, ctx, ToolCall("call_1", "look_once", call))
        assert (image["time"], image["video"], image["image"].size) == (2.0, "video_1.mp4", (64, 48))
        with pytest.raises(ToolError, match="timestamp 9 is outside the video, which lasts 4 seconds"):
            tool(ctx, call | {"timestamp": 9.0})


def test_the_reader_of_the_docs_reads(plugins, tmp_path):
    Image.new("RGB", (32, 24), (10, 200, 30)).save(tmp_path / "photo.png")
    library = VideoLibrary(VideoConfig(reader="still"), plugins)
    with library, ToolContext({"photo": tmp_path / "photo.png"}, library=library) as ctx:
        assert ctx.open("photo").frame_at(0.5).image.getpixel((5, 5)) == (10, 200, 30)


def test_the_judge_of_the_docs_judges(plugins):
    judge = plugins.judges.get("same_text")(JudgeConfig("same_text"))
    assert asyncio.run(judge("Which colour?", "red", " red ")).score == 1.0
    assert asyncio.run(judge("Which colour?", "red", "blue")).score == 0.0


def test_the_step_of_the_docs_drops(plugins):
    step = plugins.steps.get("drop_short").from_config({"min_seconds": 5})
    short, long = (VideoRecord("a", "/a.mp4", seconds, 64, 48, 1) for seconds in (4.0, 6.0))
    assert list(step([short, long])) == [Dropped("shorter than min_seconds"), Kept(long)]


def test_the_observer_of_the_docs_watches(plugins, make_video, tmp_path, caplog):
    with ToolContext({"v": make_video(tmp_path / "v.mp4")}) as ctx, caplog.at_level(logging.INFO, "my_lab"):
        tool = plugins.tools.get("look_once")
        plugins.call_tool(tool, ctx, ToolCall("call_1", "look_once", {"video_path": "v", "timestamp": 1.0}))
    assert re.search(r"look_once took \d+\.\d s", caplog.text)


def test_the_messages_that_the_table_explains_are_the_real_ones():
    source = inspect.getsource(sys.modules["longvt_plugins.plugins"])
    for words in ("implements no hook", "cannot be a wrapper", "is given by both", "failed to import"):
        assert words in TEXT
        assert words in source
