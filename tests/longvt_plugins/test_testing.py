"""The helpers for tests can be trusted: a stamp is read rightly or not at all."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longvt_plugins import ToolContext, ToolError, Video, hookimpl
from longvt_plugins.testing import (
    call_tool,
    images,
    plugin_manager,
    read_stamp,
    seconds_shown,
    write_stamped_video,
)
from longvt_plugins.types import Block


def look(ctx: ToolContext, video_path: str, second: float) -> list[Block]:
    """Look at one moment.

    Args:
        video_path: Name of the video.
        second: Which moment.
    """
    return [ctx.text("look:"), *ctx.frames([ctx.open(video_path).frame_at(second)], video=video_path)]


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "a.mp4"
    write_stamped_video(path, 25, fps=20, size=(160, 120))
    with Video.open(path) as video:
        return video.frames(number / 20 for number in range(500))


def test_every_frame_shows_its_number(frames):
    assert [read_stamp(frame.image) for frame in frames] == list(range(500))


@settings(deadline=None)
@given(st.integers(0, 499), st.integers(24, 700), st.integers(24, 700))
def test_a_stamp_is_read_at_any_size(frames, number, width, height):
    assert read_stamp(frames[number].resized((width, height)).image) == number


def test_what_shows_no_stamp_is_refused(frames):
    from PIL import Image

    turned = [frame.image.transpose(Image.Transpose.ROTATE_90) for frame in frames[:20]]
    misread = 0
    for picture in turned:
        try:
            read_stamp(picture)
        except ValueError:
            continue
        misread += 1
    assert misread <= 2  # six bits of checksum let one in 64 pass
    for colour in ("black", "white", "gray"):
        with pytest.raises(ValueError, match="no stamp"):
            read_stamp(Image.new("RGB", (96, 96), colour))


def test_uneven_videos_are_the_same_on_every_run(tmp_path):
    first = write_stamped_video(tmp_path / "a.mp4", 10, variable=True)
    again = write_stamped_video(tmp_path / "b.mp4", 10, variable=True)

    assert first == again
    assert first[0] == 0
    assert all(earlier < later for earlier, later in itertools.pairwise(first))
    assert len({round(later - earlier, 3) for earlier, later in itertools.pairwise(first)}) > 10


def test_a_file_may_start_late_and_carry_sound_and_grain(tmp_path):
    import av

    times = write_stamped_video(tmp_path / "plain.mkv", 5)
    late = write_stamped_video(tmp_path / "late.mkv", 5, start=7, sound=True, grain=20)

    with av.open(str(tmp_path / "late.mkv")) as container:
        packets = [(found.stream.type, found.pts * found.time_base) for found in container.demux() if found.size]
    starts = {kind: float(time) for kind, time in reversed(packets)}
    assert starts == {"video": 7, "audio": pytest.approx(0, abs=0.1)}
    assert sum(kind == "audio" for kind, _ in packets) > 11.5 * 16000 / 1024
    with Video.open(tmp_path / "late.mkv") as video:
        assert [read_stamp(frame.image) for frame in video.frames(late)] == list(range(20))
    assert late == times
    assert (tmp_path / "late.mkv").stat().st_size > 3 * (tmp_path / "plain.mkv").stat().st_size


@pytest.mark.parametrize(
    ("seconds", "settings", "said"),
    [(0, {}, "1 to"), (1e6, {}, "1 to"), (2, {"rotation": 90}, "only .mp4 and .mov hold a rotation, not .mkv")],
)
def test_what_cannot_be_written_is_refused(tmp_path, seconds, settings, said):
    with pytest.raises(ValueError, match=said):
        write_stamped_video(tmp_path / "a.mkv", seconds, **settings)
    assert not (tmp_path / "a.mkv").exists()


def test_a_tool_is_called_as_a_model_calls_it(tmp_path):
    write_stamped_video(tmp_path / "a.mp4", 5)
    blocks = call_tool(look, tmp_path / "a.mp4", second=3)

    assert seconds_shown(blocks) == [3]
    assert [read_stamp(block["image"]) for block in images(blocks)] == [12]
    with pytest.raises(ToolError, match="'second': input should be a valid number"):
        call_tool(look, tmp_path / "a.mp4", second="three")


def test_a_plugin_under_test_is_loaded_beside_the_built_in_ones():
    class Plugin:
        @hookimpl
        def register_tools(self, register):
            register(look)

    plugins = plugin_manager(Plugin())

    assert "given by the caller" in plugins.tools.provider("look")
    assert "crop_video" in plugins.tools
    assert "look" not in plugin_manager().tools
