"""The shapes of docs/contracts.md, as far as they are those of frames, sampling, readers and tools.

Other packages, and other people's plugins, are written against these names. They may grow; nothing is renamed.
"""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from longvt_plugins import Frame, FrameSampling, TimeSpan, ToolContext, Video, create_plugin_manager
from longvt_plugins.testing import plugin_manager, write_stamped_video
from longvt_plugins.tools import Tool
from longvt_plugins.video import CROP, OVERVIEW, VideoReader


def parameters(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def fields(kind) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def test_frame_sampling():
    assert fields(FrameSampling) == [
        "fps",
        "min_frames",
        "max_frames",
        "min_pixels",
        "max_pixels",
        "mode",
        "labels",
        "factor",
        "scaling",
    ]
    assert parameters(FrameSampling.times) == ["span", "count", "video"]
    assert parameters(FrameSampling.count) == ["span", "video"]
    assert parameters(FrameSampling.size) == ["width", "height", "frames"]


def test_the_presets_take_one_frame_a_second_of_at_most_224_by_224_pixels():
    assert (OVERVIEW.fps, OVERVIEW.max_frames, OVERVIEW.max_pixels) == (1.0, 512, 224 * 224)
    assert (CROP.fps, CROP.max_frames, CROP.max_pixels) == (1.0, 128, 224 * 224)


def test_frame():
    assert fields(Frame) == ["image", "time", "exact", "region"]
    assert Frame.__dataclass_params__.frozen
    assert {field.name: field.default for field in dataclasses.fields(Frame)}["exact"] is True


def test_time_span():
    assert fields(TimeSpan) == ["start", "end"]
    assert 2 in TimeSpan(1, 3)
    assert 3 not in TimeSpan(1, 3)
    for start, end in [(2, 1), (0, float("nan")), (float("-inf"), 0)]:
        with pytest.raises(ValueError, match="time span"):
            TimeSpan(start, end)


def test_video(tmp_path):
    write_stamped_video(tmp_path / "a.mp4", 5)
    assert parameters(Video.open) == ["path", "reader", "index_dir", "time_limit"]
    assert parameters(Video.frames) == ["times", "sampling"]
    assert parameters(Video.clip) == ["span", "sampling"]
    assert inspect.signature(Video.clip).parameters["sampling"].default is CROP
    assert inspect.signature(Video.overview).parameters["sampling"].default is OVERVIEW
    with Video.open(tmp_path / "a.mp4") as video:
        assert (video.duration, video.width, video.height) == (5, 96, 96)
        assert isinstance(video.frame_at(1), Frame)
        assert isinstance(video.frames([1]), list)


def test_a_reader_needs_five_names(tmp_path):
    """A third party's reader is opened with a path and answers for rising times; nothing else is asked of it."""
    from PIL import Image

    class Colours:
        def __init__(self, path):
            self.closed = False

        duration, width, height = 10.0, 280, 280

        def frames(self, times):
            for time in times:
                yield Frame(Image.new("RGB", (280, 280), (int(time) * 20, 0, 0)), float(int(time)))

        def close(self):
            self.closed = True

    (tmp_path / "a.mp4").write_bytes(b"anything")
    with Video.open(tmp_path / "a.mp4", reader=Colours) as video:
        frames = video.overview()
        reader = video._reader

    assert [frame.time for frame in frames] == list(range(10))
    assert {frame.image.size for frame in frames} == {(224, 224)}
    assert reader.closed
    wanted = {name for name in vars(VideoReader) if not name.startswith("_")}
    assert wanted == {"duration", "width", "height", "frames", "close"}


def test_the_built_in_reader_comes_through_the_door_of_the_plugins(tmp_path):
    write_stamped_video(tmp_path / "a.mp4", 5)
    plugins = plugin_manager()

    assert plugins.video_readers.provider("pyav") == "built-in"
    with Video.open(tmp_path / "a.mp4", reader=plugins.video_readers.get("pyav")) as video:
        assert video.duration == 5
    assert "pyav" in create_plugin_manager().video_readers


def test_tool_and_context(tmp_path):
    write_stamped_video(tmp_path / "a.mp4", 5)
    tool = plugin_manager().tools.get("crop_video")

    assert isinstance(tool, Tool)
    assert set(tool.schema) == {"type", "function"}
    assert set(tool.schema["function"]) == {"name", "description", "parameters"}
    assert list(tool.schema["function"]["parameters"]["properties"]) == ["video_path", "start_time", "end_time"]
    assert parameters(ToolContext) == ["videos", "budget", "crop", "library", "progress"]
    with ToolContext({"video_1.mp4": tmp_path / "a.mp4"}) as ctx:
        assert ctx.crop is CROP
        blocks = tool(ctx, {"video_path": "video_1.mp4", "start_time": 1, "end_time": 3})
    assert [block["type"] for block in blocks] == ["text", "text", "image", "text", "image"]
    assert set(blocks[2]) == {"type", "image", "time", "video"}
