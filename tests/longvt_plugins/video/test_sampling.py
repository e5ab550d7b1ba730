"""Sampling: which moments, how many, and how large."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import TimeSpan
from longvt_plugins.video import CROP, OVERVIEW, FrameSampling, format_seconds

# No deadline where transformers is imported: its first import takes seconds.
untimed = settings(deadline=None)

seconds = st.floats(0, 100_000, allow_nan=False)


@st.composite
def samplings(draw):
    fewest = draw(st.integers(1, 20))
    return FrameSampling(
        fps=draw(st.floats(0.01, 60)), min_frames=fewest, max_frames=fewest + draw(st.integers(0, 600))
    )


@given(samplings(), seconds, st.floats(0.001, 20_000))
def test_times_rise_inside_the_span_and_are_as_many_as_counted(sampling, start, length):
    span = TimeSpan(start, start + length)
    times = sampling.times(span)

    assert sampling.min_frames <= len(times) == sampling.count(span) <= sampling.max_frames
    assert times[0] == span.start
    assert all(earlier < later for earlier, later in itertools.pairwise(times))
    assert all(time in span for time in times)


@given(samplings(), seconds, st.floats(0.001, 20_000), st.integers(1, 700))
@example(FrameSampling(fps=0.01, min_frames=1, max_frames=108), 0.0, 10801.0, 108)
def test_a_smaller_budget_thins_the_frames_over_the_whole_span(sampling, start, length, granted):
    span = TimeSpan(start, start + length)
    assume(granted <= sampling.count(span))
    times = sampling.times(span, granted)

    assert len(times) == granted
    assert all(time in span for time in times)
    tail, spread = span.end - times[-1], span.seconds / granted
    if granted < sampling.count(span):
        assert tail == pytest.approx(spread, rel=1e-3, abs=1e-6 * span.end)
    else:  # Whole steps of 1 / fps, after which up to one more is left over.
        assert tail <= max(spread, 2 / sampling.fps) + 1e-6 * span.end


def test_one_frame_a_second_never_touches_the_end():
    assert OVERVIEW.times(TimeSpan(10, 13)) == [10, 11, 12]
    assert CROP.times(TimeSpan(0, 2.9)) == [0, 1]


def test_a_long_span_is_sampled_evenly():
    assert FrameSampling(max_frames=4).times(TimeSpan(10, 20)) == [10, 12.5, 15, 17.5]


def test_a_short_span_still_gets_its_fewest_frames():
    assert FrameSampling(min_frames=4).times(TimeSpan(1, 2)) == [1, 1.25, 1.5, 1.75]
    assert CROP.times(TimeSpan(5, 5)) == [5]


def test_binary_fractions_lose_no_frame():
    """0.1 times 30 is a hair more than 3, and 30 times 0.1 the same; 2.9999999 must not become 2."""
    assert FrameSampling(fps=0.1).count(TimeSpan(0, 30)) == 3
    assert FrameSampling(fps=10).count(TimeSpan(0.1, 0.4)) == 3


@untimed
@given(
    st.integers(28, 4000),
    st.integers(28, 4000),
    st.sampled_from([28, 32]),
    st.integers(1, 60),
    st.integers(0, 400),
)
def test_the_size_is_the_one_that_the_image_processor_would_choose(width, height, factor, fewest, more):
    smart_resize = pytest.importorskip("transformers.models.qwen2_vl.image_processing_qwen2_vl").smart_resize
    assume(max(width, height) / min(width, height) < 200)
    low, high = fewest * factor**2, (fewest + more) * factor**2
    sampling = FrameSampling(min_pixels=low, max_pixels=high, factor=factor)

    expected_height, expected_width = smart_resize(height, width, factor=factor, min_pixels=low, max_pixels=high)
    assert sampling.size(width, height) == (expected_width, expected_height)


@untimed
@given(st.integers(16, 4000), st.integers(16, 4000), st.sampled_from([28, 32]))
def test_the_image_processor_changes_the_size_no_more(width, height, factor):
    smart_resize = pytest.importorskip("transformers.models.qwen2_vl.image_processing_qwen2_vl").smart_resize
    assume(max(width, height) / min(width, height) < 30)
    sampling = FrameSampling(min_pixels=4 * factor**2, max_pixels=64 * factor**2, factor=factor)

    width, height = sampling.size(width, height)
    assert smart_resize(height, width, factor=factor, min_pixels=4 * factor**2, max_pixels=64 * factor**2) == (
        height,
        width,
    )


def test_the_presets_are_those_of_the_published_training():
    assert (OVERVIEW.fps, OVERVIEW.max_frames, OVERVIEW.max_pixels) == (1.0, 512, 50_176)
    assert (CROP.fps, CROP.min_frames, CROP.max_frames, CROP.max_pixels) == (1.0, 1, 128, 50_176)
    assert OVERVIEW.size(1920, 1080) == (280, 168)


@pytest.mark.parametrize(
    "values",
    [
        {"fps": 0},
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"min_frames": 0},
        {"min_frames": 9, "max_frames": 8},
        {"min_pixels": 0},
        {"min_pixels": 100, "max_pixels": 99},
        {"mode": "linspace"},
        {"labels": "minutes"},
        {"scaling": "slow"},
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(values):
    with pytest.raises(ConfigError) as told:
        FrameSampling(**values)
    assert str(next(iter(values))) in str(told.value)


@pytest.mark.parametrize(("time", "text"), [(0, "0"), (12.0, "12"), (12.54, "12.5"), (3599.96, "3600"), (0.04, "0")])
def test_seconds_are_written_in_tenths(time, text):
    assert format_seconds(time) == text
