"""The sampling mode ``qwen`` against the real qwen-vl-utils: the same frames at the same size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from longvt_plugins.errors import ConfigError
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.testing import read_stamp, write_stamped_video
from longvt_plugins.types import TimeSpan
from longvt_plugins.video import FrameSampling, Video
from longvt_plugins.video.sampling import Timetable

INSTALL = "pip install 'longvt-plugins[readers]'"

process = pytest.importorskip("qwen_vl_utils.vision_process", reason=INSTALL)

# No deadline: the first call imports torch.
untimed = settings(deadline=None)


class Numbered:
    """A video that is only its timetable: the time of frame n is n / fps."""

    def __init__(self, frames, fps):
        self.timetable = Timetable([number / fps for number in range(frames)], fps, frames / fps)

    def numbers(self, times):
        found = {time: number for number, time in enumerate(self.timetable.times)}
        return [found[time] for time in times]


def numbers_of_qwen(sampling, frames, fps, span=None):
    """What each of qwen-vl-utils' backends does between opening a file and reading it."""
    import torch

    asked = {"fps": sampling.fps, "min_frames": sampling.min_frames, "max_frames": sampling.max_frames}
    if span is not None:
        asked |= {"video_start": span.start, "video_end": span.end}
    first, last, total = process.calculate_video_frame_range(asked, frames, fps)
    count = process.smart_nframes(asked, total_frames=total, video_fps=fps)
    return torch.linspace(first, last, count).round().long().tolist()


rates = st.sampled_from([30000 / 1001, 24000 / 1001, 25.0, 29.97, 59.94, 10.014353907267083]) | st.floats(1, 120)


@st.composite
def samplings(draw):
    fewest = draw(st.integers(1, 20))
    most = max(2, fewest) + draw(st.integers(0, 800))
    fps = draw(st.sampled_from([0.1, 0.5, 1.0, 2.0, 4.0]) | st.floats(0.01, 60))
    return FrameSampling(fps=fps, min_frames=fewest, max_frames=most, mode="qwen")


@untimed
@given(samplings(), st.integers(2, 200_000), rates)
def test_an_overview_takes_the_frame_numbers_of_qwen_vl_utils(sampling, frames, fps):
    video = Numbered(frames, fps)
    span = TimeSpan(0, video.timetable.duration)

    times = sampling.times(span, video=video)
    assert video.numbers(times) == numbers_of_qwen(sampling, frames, fps)
    assert sampling.count(span, video=video) == len(times)


@untimed
@given(samplings(), st.integers(2, 200_000), rates, st.floats(0, 1), st.floats(0, 1.2))
def test_a_crop_takes_the_frame_numbers_of_qwen_vl_utils(sampling, frames, fps, start, end):
    video = Numbered(frames, fps)
    length = video.timetable.duration
    assume(start < end and (start, end) != (0, 1))
    span = TimeSpan(start * length, end * length)

    times = sampling.times(span, video=video)
    try:
        expected = numbers_of_qwen(sampling, frames, fps, span)
    except ValueError:  # It refuses spans of fewer than two frames.
        assert times == [span.start]
    else:
        assert video.numbers(times) == expected
        assert sampling.count(span, video=video) == len(times)


def test_a_budget_spreads_fewer_frames_over_the_same_span():
    video = Numbered(100, 10.0)
    sampling = FrameSampling(mode="qwen", max_frames=64)

    assert video.numbers(sampling.times(TimeSpan(0, 10), 3, video=video)) == [0, 50, 99]
    assert video.numbers(sampling.times(TimeSpan(2, 4), 1, video=video)) == [20]


# Grids of a few pixels, so that the bounds on the whole video are met by small ones.
@untimed
@given(
    st.integers(20, 300),
    st.integers(20, 300),
    st.sampled_from([1, 2, 14]),
    st.integers(1, 30),
    st.integers(0, 1500),
    st.integers(1, 384),
)
def test_the_size_is_that_of_qwen_vl_utils(width, height, patch, fewest, more, pairs):
    import torch

    token = (2 * patch) ** 2
    low, high = fewest * token, (fewest + more) * token
    sampling = FrameSampling(min_pixels=low, max_pixels=high, factor=2 * patch, mode="qwen")
    frames = torch.zeros(1, 1, height, width).expand(2 * pairs, 1, height, width)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(process, "get_video_reader_backend", lambda: "given")
        patched.setitem(process.VIDEO_READER_BACKENDS, "given", lambda asked: (frames, {}, 1.0))
        patched.setattr(process.transforms.functional, "resize", lambda video, size, **_: torch.zeros(*size))
        resized = process.fetch_video({"video": "", "min_pixels": low, "max_pixels": high}, image_patch_size=patch)

    expected_height, expected_width = resized.shape
    assume(min(expected_height, expected_width) > 0)  # It shrinks very long pictures to nothing.
    assert sampling.size(width, height, frames=2 * pairs) == (expected_width, expected_height)


@pytest.fixture(params=["decord", "torchcodec"])
def backend(request):
    pytest.importorskip(request.param, reason=INSTALL, exc_type=ImportError)
    return request.param


@pytest.fixture
def fetch_video(backend, monkeypatch):
    """qwen-vl-utils' own function on one of its backends; its fallback would hide their errors."""
    monkeypatch.setattr(process, "get_video_reader_backend", lambda: backend)
    monkeypatch.setitem(process.VIDEO_READER_BACKENDS, "torchvision", _refuse)

    def fetch(path, sampling, span=None):
        names = ("fps", "min_frames", "max_frames", "min_pixels", "max_pixels")
        asked = {"video": str(path), **{name: getattr(sampling, name) for name in names}}
        if span is not None:
            asked |= {"video_start": span.start, "video_end": span.end}
        pixels = process.fetch_video(asked, image_patch_size=sampling.factor // 2)
        return [one.permute(1, 2, 0).numpy().round().clip(0, 255).astype(np.uint8) for one in pixels]

    return fetch


def _refuse(asked):
    raise AssertionError(f"qwen-vl-utils could not read {asked}")


VIDEOS = {
    "ntsc": {"seconds": 21, "fps": 30000 / 1001, "gop": 250},
    "film": {"seconds": 13.3, "fps": 24000 / 1001, "size": (320, 180), "grain": 8},
    "short": {"seconds": 1, "fps": 5},
    "uneven": {"seconds": 60, "fps": 10, "variable": True},
}


@pytest.fixture(scope="module", params=VIDEOS)
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("qwen") / f"{request.param}.mp4"
    write_stamped_video(path, **VIDEOS[request.param])
    return path


@pytest.mark.parametrize("built_in", [True, False], ids=["built-in", "same-library"])
def test_the_frames_of_a_video_are_those_of_qwen_vl_utils(path, built_in, backend, fetch_video):
    sampling = FrameSampling(mode="qwen", scaling="exact", min_frames=4, max_frames=15)
    spans = [None, TimeSpan(0.1, 0.9 * VIDEOS[path.stem]["seconds"])]
    if built_in and path.stem == "uneven":
        # The libraries disagree on the mean frame rate, by which a span's frames are counted: only the same one agrees.
        spans = [None]

    with Video.open(path, reader=None if built_in else create_plugin_manager().video_readers.get(backend)) as video:
        for span in spans:
            expected = fetch_video(path, sampling, span)
            frames = video.overview(sampling) if span is None else video.clip(span, sampling)
            assert stamps(frame.image for frame in frames) == stamps(map(Image.fromarray, expected))
            for frame, other in zip(frames, expected, strict=True):
                assert frame.image.size == other.shape[1::-1]
                assert decibels(np.asarray(frame.image), other) > 45


def stamps(images):
    return [read_stamp(image) for image in images]


def decibels(one, other):
    """Signal to noise; where nothing differs, 100."""
    error = np.square(one.astype(np.float64) - other).mean()
    return 10 * np.log10(255**2 / error) if error else 100.0


def test_without_a_video_the_mode_cannot_count():
    with pytest.raises(ConfigError, match="'qwen' counts the frames of a video"):
        FrameSampling(mode="qwen").times(TimeSpan(0, 10))


def test_a_single_frame_is_less_than_the_mode_can_give():
    with pytest.raises(ConfigError, match="max_frames must be at least 2"):
        FrameSampling(mode="qwen", max_frames=1)
