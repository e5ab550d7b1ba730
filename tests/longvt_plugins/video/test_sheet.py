"""The contact sheet: frames in order, readable, within bounds."""

from __future__ import annotations

import pytest
from PIL import Image

from longvt_plugins import Frame, TimeSpan, Video
from longvt_plugins.errors import ConfigError, OutsideVideoError
from longvt_plugins.testing import read_stamp, write_stamped_video
from longvt_plugins.video.sheet import MAX_SIDE, _draw, contact_sheet


@pytest.fixture
def video(tmp_path):
    write_stamped_video(tmp_path / "a.mp4", 20, size=(160, 90))
    with Video.open(tmp_path / "a.mp4") as opened:
        yield opened


def tiles(sheet, columns, width=160, height=90):
    """The frames on a sheet, cut out: 4 pixels lie beside each, and 22 below."""
    rows = sheet.height // (height + 22)
    places = [(column * (width + 4), row * (height + 22)) for row in range(rows) for column in range(columns)]
    return [sheet.crop((left, top, left + width, top + height)) for left, top in places]


def test_frames_are_spread_evenly_and_drawn_row_by_row(video):
    sheet = contact_sheet(video, frames=8, columns=4)
    assert sheet.size == (4 * 164, 2 * 112)
    assert [read_stamp(tile) for tile in tiles(sheet, 4)] == [0, 10, 20, 30, 40, 50, 60, 70]


def test_a_part_of_the_video_can_be_drawn(video):
    sheet = contact_sheet(video, TimeSpan(10, 12), frames=4, columns=2)
    assert [read_stamp(tile) for tile in tiles(sheet, 2)] == [40, 42, 44, 46]


def test_a_frame_is_drawn_once_where_the_span_has_fewer(video):
    sheet = contact_sheet(video, TimeSpan(0, 1), frames=16, columns=8)
    assert [read_stamp(tile) for tile in tiles(sheet, 4)] == [0, 1, 2, 3]


def test_every_frame_has_its_own_second_below(video):
    """The line below each frame is drawn, and no two are alike."""
    sheet = contact_sheet(video, frames=4, columns=4)
    lines = [sheet.crop((164 * column, 90, 164 * column + 160, 108)) for column in range(4)]
    assert all(line.getextrema() != ((0, 0),) * 3 for line in lines)
    assert len({line.tobytes() for line in lines}) == 4


def test_a_frame_that_damage_has_touched_is_marked():
    picture = Image.new("RGB", (160, 90))
    whole, damaged = (_draw([Frame(picture, 1.0, exact)], 1) for exact in (True, False))
    assert max(whole.getdata()) == (255, 255, 255)
    orange = (255, 165, 0)
    assert orange in damaged.getdata()
    assert orange not in whole.getdata()


@pytest.mark.parametrize(("size", "frames", "columns"), [((640, 360), 256, None), ((360, 640), 60, 60)])
def test_a_sheet_stays_within_its_bounds(tmp_path, size, frames, columns):
    write_stamped_video(tmp_path / "large.mp4", 70, size=size, gop=300)
    with Video.open(tmp_path / "large.mp4") as video:
        sheet = contact_sheet(video, frames=frames, columns=columns)
    assert max(sheet.size) <= MAX_SIDE
    assert min(sheet.size) > 80


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"frames": 0}, "a sheet has 1 to 256 frames, not 0"),
        ({"frames": 257}, "a sheet has 1 to 256 frames, not 257"),
        ({"frames": 4, "columns": 5}, "a sheet of 4 frames has 1 to 4 columns, not 5"),
        ({"frames": 256, "columns": 1}, "256 frames of 160x90 in 1 columns do not fit on a sheet of 8192x8192"),
    ],
)
def test_what_does_not_fit_is_refused(video, wanted, told):
    with pytest.raises(ConfigError, match=told):
        contact_sheet(video, **wanted)


def test_a_part_outside_the_video_is_refused(video):
    with pytest.raises(OutsideVideoError, match="outside the video"):
        contact_sheet(video, TimeSpan(10, 40), frames=4)
