"""Nothing grows with use: not memory, not open files, not the peak of one call."""

from __future__ import annotations

import pytest

from longvt_plugins.testing import write_stamped_video


def check_crops(run, shelf, tmp_path, through, crops, files):
    told = run("crops.py", through=through, crops=crops, files=shelf(files), cache=tmp_path / "cache")

    assert not told["wrong"]
    before, after = told["files_open"]
    assert after <= before
    # A container that is not closed keeps 0.3 MB.
    grown = told["megabytes"][1] - told["megabytes"][0]
    assert grown < 8


@pytest.mark.parametrize("through", ["open", "kept", "library"])
def test_200_crops_from_10_files_leave_nothing_behind(run, shelf, tmp_path, through):
    check_crops(run, shelf, tmp_path, through, 200, 10)


@pytest.mark.slow
@pytest.mark.parametrize("through", ["open", "kept", "library"])
def test_2000_crops_from_50_files_leave_nothing_behind(run, shelf, tmp_path, through):
    check_crops(run, shelf, tmp_path, through, 2000, 50)


@pytest.mark.parametrize("scaling", ["fast", "exact"])
def test_the_peak_of_memory_depends_neither_on_the_number_of_frames_nor_on_the_length(run, tmp_path, scaling):
    """Full-size frames of this overview would take 46 MB."""
    short, long = tmp_path / "short.mp4", tmp_path / "long.mp4"
    write_stamped_video(short, 10, fps=2, size=(320, 240), gop=250)
    write_stamped_video(long, 200, fps=2, size=(320, 240), gop=250)

    few = run("peak.py", file=short, frames=8, scaling=scaling)
    many = run("peak.py", file=long, frames=200, scaling=scaling)

    assert (few["frames"], many["frames"]) == (8, 200)
    assert many["peak"] - few["peak"] < 10
