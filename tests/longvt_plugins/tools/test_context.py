"""The context of a tool call: the videos of this rollout and no others, opened once, closed with it."""

from __future__ import annotations

import pytest

from longvt_plugins import Frame, ToolContext, ToolError, Video, VideoConfig, VideoLibrary, hookimpl
from longvt_plugins.errors import VideoError, VideoNotFoundError
from longvt_plugins.testing import plugin_manager, read_stamp, write_stamped_video
from longvt_plugins.tools import frame_blocks
from longvt_plugins.video.readers.pyav import PyavReader


@pytest.fixture
def video(tmp_path):
    write_stamped_video(tmp_path / "a.mp4", 5)
    return tmp_path / "a.mp4"


def test_a_video_is_opened_by_its_name_once(video):
    with ToolContext({"video_1.mp4": video}) as ctx:
        opened = ctx.open("video_1.mp4")
        assert ctx.open("video_1.mp4") is opened
        assert read_stamp(opened.frame_at(1).image) == 4


def test_names_that_the_rollout_does_not_have_are_refused_with_those_it_has(video, tmp_path):
    other = tmp_path / "other.mp4"
    other.write_bytes(video.read_bytes())
    with ToolContext({"video_2.mp4": video, "video_1.mp4": video}) as ctx:
        for name in (str(other), str(video), "", "VIDEO_1.MP4", "video_1.mp4 ", "http://127.0.0.1/a.mp4"):
            with pytest.raises(ToolError, match=r"the videos are: video_1\.mp4, video_2\.mp4"):
                ctx.open(name)
    with ToolContext({}) as ctx, pytest.raises(ToolError, match="the videos are: none"):
        ctx.open("video_1.mp4")


def test_videos_are_closed_with_the_context(video):
    with ToolContext({"video_1.mp4": video}) as ctx:
        opened = ctx.open("video_1.mp4")
    with pytest.raises(VideoError, match="closed"):
        opened.frame_at(0)
    # It may be opened anew: environments are pooled and used again.
    with ctx:
        assert ctx.open("video_1.mp4") is not opened


def test_a_missing_file_is_our_error_and_is_not_kept(tmp_path):
    with ToolContext({"video_1.mp4": tmp_path / "late.mp4"}) as ctx:
        with pytest.raises(VideoNotFoundError):
            ctx.open("video_1.mp4")
        write_stamped_video(tmp_path / "late.mp4", 2)
        assert ctx.open("video_1.mp4").duration == 2


def test_the_reader_can_be_chosen(video):
    class Counting(PyavReader):
        made = 0

        def __init__(self, path):
            type(self).made += 1
            super().__init__(path)

    class Plugin:
        @hookimpl
        def register_video_readers(self, register):
            register("counting", Counting)

    with VideoLibrary(VideoConfig(reader="counting"), plugin_manager(Plugin())) as library:
        for _ in range(2):
            with ToolContext({"video_1.mp4": video}, library=library) as ctx:
                ctx.open("video_1.mp4")
        assert library.stats().open_files == 1
    assert Counting.made == 1


def test_images_for_the_model_carry_where_they_come_from(video):
    with Video.open(video) as opened:
        frame = opened.frame_at(1.3)
    with ToolContext({"video_1.mp4": video}) as ctx:
        assert ctx.image(frame, video="video_1.mp4") == {
            "type": "image",
            "image": frame.image,
            "time": 1.25,
            "video": "video_1.mp4",
        }
        assert ctx.image(frame) == {"type": "image", "image": frame.image, "time": 1.25}
        assert ctx.image(frame.image) == {"type": "image", "image": frame.image}
        assert ctx.text("here") == {"type": "text", "text": "here"}
        assert ctx.frames([frame], video="video_1.mp4") == frame_blocks([frame], video="video_1.mp4")


def test_frames_are_labelled_with_their_own_second():
    from PIL import Image

    picture = Image.new("RGB", (28, 28))
    frames = [Frame(picture, 0.0), Frame(picture, 12.54)]
    labelled = frame_blocks(frames, video="video_1.mp4")

    assert [block.get("text") for block in labelled] == ["0s", None, "12.5s", None]
    assert [block["type"] for block in frame_blocks(frames, video="v", labels="none")] == ["image", "image"]
