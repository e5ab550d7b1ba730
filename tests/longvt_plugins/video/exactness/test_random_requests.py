"""Whatever window and sampling are asked for: as many frames as promised, in order, inside the window, all right."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longvt_plugins import FrameSampling, TimeSpan, Video

KEYS = [
    "h264-b-pyramid-mp4",
    "h264-open-gop-ts",
    "h264-b-pyramid-avi",
    "hevc-open-gop-mkv",
    "vp9-hidden-frames-webm",
    "av1-svt-mp4",
    "uneven-hevc-mp4",
    "uneven-ts",
    "turned-90-hevc-mov",
    "edit-cut-both-ends-mov",
    "late-fragments-mp4",
    "odd-h264-mp4",
]

# The same few on every run; other and more ones in the slow run. The films stay open from one example to the next.
few = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
many = settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))

shares = st.floats(0, 1, exclude_max=True, allow_subnormal=False)  # within the smallest of all, no moments differ


@pytest.fixture(scope="module")
def opened(films):
    videos = {key: Video.open(films[key].path) for key in KEYS}
    yield videos
    for video in videos.values():
        video.close()


@st.composite
def samplings(draw):
    fewest = draw(st.integers(1, 6))
    factor = draw(st.sampled_from([4, 28, 32]))
    low = draw(st.integers(1, 4)) * factor**2
    return FrameSampling(
        fps=draw(st.floats(0.2, 40)),
        min_frames=fewest,
        max_frames=fewest + draw(st.integers(0, 20)),
        min_pixels=low,
        max_pixels=low + draw(st.integers(0, 150)) ** 2,
        factor=factor,
        scaling=draw(st.sampled_from(["fast", "exact"])),
    )


def check_a_window(opened, films, key, sampling, first, second):
    video, film = opened[key], films[key]
    start, end = sorted(share * video.duration for share in (first, second))
    span = TimeSpan(start, end)

    frames = video.clip(span, sampling)
    asked = sampling.times(span)

    assert len(frames) == len(asked) == sampling.count(span)
    assert all(time in span or time == start for time in asked)
    assert all(earlier <= later for earlier, later in itertools.pairwise(asked))
    assert all(earlier.time <= later.time for earlier, later in itertools.pairwise(frames))
    assert {frame.image.size for frame in frames} == {sampling.size(*film.size)}
    assert all(frame.exact for frame in frames)
    if min(sampling.size(*film.size)) >= 28:  # Smaller ones no stamp can be read from.
        assert not film.mistakes(asked, frames)


def check_moments(opened, films, key, moments):
    video, film = opened[key], films[key]
    asked = [share * video.duration for share in moments]

    frames = video.frames(asked)

    assert all(frame.exact for frame in frames)
    assert not film.mistakes(asked, frames)


windows = given(key=st.sampled_from(KEYS), sampling=samplings(), first=shares, second=shares)
moments = given(key=st.sampled_from(KEYS), moments=st.lists(shares, max_size=12))


@few
@windows
def test_a_window_is_sampled_as_it_was_asked(opened, films, key, sampling, first, second):
    check_a_window(opened, films, key, sampling, first, second)


@few
@moments
def test_moments_are_shown_in_whatever_order(opened, films, key, moments):
    check_moments(opened, films, key, moments)


@pytest.mark.slow
@many
@windows
def test_many_windows_are_sampled_as_they_were_asked(opened, films, key, sampling, first, second):
    check_a_window(opened, films, key, sampling, first, second)


@pytest.mark.slow
@many
@moments
def test_many_moments_are_shown_in_whatever_order(opened, films, key, moments):
    check_moments(opened, films, key, moments)
