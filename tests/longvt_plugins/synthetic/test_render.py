"""Scripts as pixels and as files."""

from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest

from longvt_plugins.synthetic.make import plan_split
from longvt_plugins.synthetic.render import HINT_BORDER, Renderer, shape_distances, write_video
from longvt_plugins.synthetic.world import COLOURS, TINY
from longvt_plugins.video.video import Video


@pytest.fixture
def item():
    return plan_split(replace(TINY, durations=(64,)), "train", 1, seed=4)[0]


def middle(pixels):
    height, width = pixels.shape[:2]
    return pixels[height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4].mean(axis=(0, 1))


def test_the_flash_fills_the_shape_with_its_colour(item):
    (event,) = item.script.events
    (flash,) = event.flashes
    pixels = Renderer(item.script).frame(flash.span.start)
    assert np.abs(middle(pixels) - COLOURS[flash.colour]).max() < 5


def test_the_flash_is_gone_one_frame_before_and_one_frame_after(item):
    (event,) = item.script.events
    span, renderer = event.flashes[0].span, Renderer(item.script)
    for moment in (span.start - 1 / TINY.fps, span.end):
        assert np.ptp(middle(renderer.frame(moment))) < 60


def test_the_hint_is_brighter_than_its_surroundings_and_has_a_dark_border(item):
    (event,) = item.script.events
    renderer = Renderer(item.script)
    far = shape_distances(item.script.size, item.script.size)["square"]
    pixels = renderer.frame(event.hint.start).astype(float)
    assert pixels[far < 0.9].mean() > pixels[(far > 1.05) & (far < 1.3)].mean() + 15
    assert abs(pixels[(far >= 0.92) & (far < 1)].mean() - HINT_BORDER) < 3


def test_backgrounds_have_little_colour(item):
    renderer = Renderer(item.script)
    for moment in range(0, 64, 7):
        corner = renderer.frame(float(moment))[:10, :10].mean(axis=(0, 1))
        assert np.ptp(corner) < 45


def test_the_picture_jumps_at_a_cut_and_only_there(item):
    renderer = Renderer(item.script)
    cut = item.script.cuts[1]
    corners = [renderer.frame(cut + number / TINY.fps)[:, :12].astype(float) for number in (-2, -1, 0, 1)]
    jumps = [np.abs(b - a).mean() for a, b in pairwise(corners)]
    assert jumps[1] > max(jumps[0], jumps[2])


def test_a_script_gives_the_same_pixels_and_the_same_bytes_each_time(item, tmp_path):
    assert np.array_equal(Renderer(item.script).frame(13.25), Renderer(item.script).frame(13.25))
    for name in ("a.mp4", "b.mp4"):
        write_video(item.script, tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_shapes_keep_their_form_in_pictures_of_other_proportions():
    wide = shape_distances((640, 360), (280, 168))["square"]
    inside = wide < 1
    assert inside.any(axis=0).sum() == pytest.approx(0.6 * 360 / 640 * 280, abs=1)
    assert inside.any(axis=1).sum() == pytest.approx(0.6 * 168, abs=1)


def test_the_file_is_h264_with_the_exact_duration_and_frame_rate(item, tmp_path):
    path = tmp_path / "new" / "video.mp4"
    write_video(item.script, path)
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert stream.codec_context.name == "h264"
        assert stream.average_rate == TINY.fps
        assert (stream.width, stream.height) == TINY.size
        times = [float(frame.pts * stream.time_base) for frame in container.decode(stream)]
    assert times == [number / TINY.fps for number in range(round(item.script.duration * TINY.fps))]
    with Video.open(path) as video:
        assert video.duration == pytest.approx(item.script.duration)
    assert [found.name for found in path.parent.iterdir()] == ["video.mp4"]
