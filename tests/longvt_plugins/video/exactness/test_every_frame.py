"""Whatever the container, the codec and the way of asking: the frame returned is the one on screen at that moment."""

from __future__ import annotations

import itertools
import random

import pytest

from longvt_plugins import FrameSampling, TimeSpan, Video
from longvt_plugins.video import packets


def test_every_picture_is_found_at_its_time_and_until_the_next(stamped):
    times = stamped.times
    middles = [(earlier + later) / 2 for earlier, later in itertools.pairwise(times)]
    asked = [*times, *middles[::3]]

    with Video.open(stamped.path) as video:
        assert video.timetable.times == pytest.approx(times, abs=0.0011)
        frames = video.frames(asked)
        seen = (video.width, video.height, video.duration)

    assert not stamped.mistakes(asked, frames)
    assert all(frame.exact for frame in frames)
    assert {frame.image.size for frame in frames} == {stamped.size}
    assert seen[:2] == stamped.size
    assert times[-1] < seen[2] < times[-1] + 1


def test_an_open_video_may_be_asked_in_any_order(stamped, tmp_path):
    chance = random.Random(stamped.path.name)
    anywhere = [chance.uniform(0, stamped.seconds) for _ in range(8)]
    near = [time for time in stamped.times[20:24] for _ in range(2)]
    orders = [
        list(reversed(stamped.times[::9])),  # backwards
        [anywhere[0]] * 3,  # the same again
        near,
        list(reversed(near)),
        anywhere,
        [stamped.times[-1], 0.0, stamped.times[-1], stamped.times[1], stamped.times[-2]],  # from end to end
    ]

    Video.open(stamped.path, index_dir=tmp_path).close()
    # From here on with the index that was kept.
    with Video.open(stamped.path, index_dir=tmp_path) as video:
        for asked in orders:
            frames = [video.frame_at(time) for time in asked]
            assert not stamped.mistakes(asked, frames)
            assert all(frame.exact for frame in frames)
        # All at once, in the order asked.
        together = [time for asked in orders for time in asked]
        assert not stamped.mistakes(together, video.frames(together))


@pytest.mark.parametrize("scaling", ["exact", "fast"])
def test_overviews_and_clips_show_the_right_frames_at_every_scaling(stamped, scaling, monkeypatch):
    # Large files alone are opened by their own tables, if they have them; here all are.
    monkeypatch.setattr(packets, "_WORTH_A_TABLE", 0)
    chance = random.Random(f"{stamped.path.name} {scaling}")
    width, height = stamped.size

    with Video.open(stamped.path) as video:
        # Enlarged, about as large as it is, shrunk.
        for pixels in (4 * width * height, width * height, 56 * 56):
            start, end = sorted(chance.uniform(0, stamped.seconds) for _ in range(2))
            span = TimeSpan(start, end)
            fps, least = chance.choice([0.5, 2, 7]), min(pixels, 28 * 28)
            sampling = FrameSampling(fps=fps, max_frames=20, min_pixels=least, max_pixels=pixels, scaling=scaling)
            clip, overview = video.clip(span, sampling), video.overview(sampling)
            whole = sampling.times(TimeSpan(0, video.duration))

            assert not stamped.mistakes(sampling.times(span), clip)
            assert not stamped.mistakes(whole, overview)
            assert all(frame.exact for frame in [*clip, *overview])
            assert {frame.image.size for frame in [*clip, *overview]} == {sampling.size(width, height)}


def test_a_picture_that_is_refreshed_bit_by_bit_is_shown_when_it_is_whole(films):
    """Of these recovery points the last promises too much: decoding from it shows a picture of which a part is old."""
    options = {"preset": "ultrafast", "x264-params": "intra-refresh=1:bframes=0:keyint=20"}
    film = films.write("false-recovery", "a.mp4", seconds=9, options=options)
    asked = list(reversed(film.times))

    with Video.open(film.path) as video:
        assert not film.mistakes(asked, [video.frame_at(time) for time in asked])
