"""zoom_region: part of a frame at the resolution of the file, named in thousandths of its sides."""

from __future__ import annotations

import numpy as np
import pytest

from longvt_plugins import FrameSampling, ToolContext, ToolError
from longvt_plugins.budget import Budget
from longvt_plugins.testing import call_tool, images, plugin_manager
from longvt_plugins.tools.zoom_region import MAX_PIXELS, zoom_region

WIDTH, HEIGHT = 640, 360
LETTER = (480, 90, 536, 118)
"""Left, top, right and bottom of a pattern whose lines are 2 pixels wide: nothing of it is left in a small frame."""


@pytest.fixture(scope="module")
def detailed(tmp_path_factory):
    """Gray, with a fine pattern at one place, from second 2 to 3."""
    import av

    path = tmp_path_factory.mktemp("videos") / "detailed.mp4"
    left, top, right, bottom = LETTER
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(10):
            pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
            if 2 <= number / 2 < 3:
                pixels[top:bottom, left:right] = np.where(np.arange(left, right) // 2 % 2, 220, 40)[None, :, None]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def thousandths(box):
    return [box[0] * 1000 / WIDTH, box[1] * 1000 / HEIGHT, box[2] * 1000 / WIDTH, box[3] * 1000 / HEIGHT]


def contrast(image):
    return float(np.asarray(image.convert("L"), float).std())


def test_a_region_is_shown_at_the_resolution_of_the_file(detailed):
    said, label, shown = call_tool(zoom_region, detailed, timestamp=2.5, bbox=thousandths(LETTER))

    assert said["text"] == "the region [750, 250, 837.5, 327.778] at 2.5s, 56x28 of 640x360 pixels:"
    assert label["text"] == "2.5s"
    assert shown["image"].size == (56, 28)
    assert (shown["time"], shown["video"]) == (2.5, "video_1.mp4")
    assert contrast(shown["image"]) > 60


def test_the_detail_cannot_be_seen_in_the_frames_of_a_crop(detailed):
    (crop,) = plugin_manager().select_tools(["crop_video"])
    with ToolContext({"video_1.mp4": detailed}) as ctx:
        reply = crop(ctx, {"video_path": "video_1.mp4", "start_time": 2, "end_time": 3})
    frame = images(reply)[0]["image"]
    place = [edge * side / 1000 for edge, side in zip(thousandths(LETTER), frame.size * 2, strict=True)]
    assert contrast(frame.crop([round(edge) for edge in place])) < 30


def test_the_whole_frame_can_be_seen_in_its_own_size(detailed):
    (block,) = images(call_tool(zoom_region, detailed, timestamp=0, bbox=[0, 0, 1000, 1000]))
    assert block["image"].size == (644, 364)  # 640x360 on the grid of 28 pixels


def test_a_larger_region_is_shrunk_to_the_bound(detailed):
    (tool,) = plugin_manager().select_tools(["zoom_region:max_pixels=50176"])
    with ToolContext({"video_1.mp4": detailed}) as ctx:
        reply = tool(ctx, {"video_path": "video_1.mp4", "timestamp": 0, "bbox": [0, 0, 1000, 1000]})
    width, height = images(reply)[0]["image"].size
    assert width * height <= 50176 < MAX_PIXELS


def test_a_region_thinner_than_a_pixel_shows_that_pixel(detailed):
    blocks = call_tool(zoom_region, detailed, timestamp=0, bbox=[500, 500, 500.001, 500.001])
    assert "1x1 of 640x360 pixels" in blocks[0]["text"]
    assert images(blocks)[0]["image"].size == (28, 28)


def test_where_tokens_are_short_the_picture_is_smaller(detailed):
    def count(reply):
        return sum(block["image"].width * block["image"].height // 784 for block in images(reply))

    budget = Budget(max_calls=1, max_tokens=128 + 150, count_tokens=count)
    (block,) = images(call_tool(zoom_region, detailed, timestamp=0, bbox=[0, 0, 1000, 1000], budget=budget))
    assert 75 <= count([block]) <= 150
    assert budget.frames == 1


def test_a_zoom_spends_a_frame(detailed):
    budget = Budget(max_frames=1)
    call_tool(zoom_region, detailed, timestamp=0, bbox=[0, 0, 10, 10], budget=budget)
    with pytest.raises(ToolError, match="all 1 frames are used"):
        call_tool(zoom_region, detailed, timestamp=0, bbox=[0, 0, 10, 10], budget=budget)


def test_labels_can_be_left_out(detailed):
    blocks = call_tool(zoom_region, detailed, timestamp=0, bbox=[0, 0, 500, 500], crop=FrameSampling(labels="none"))
    assert [block["type"] for block in blocks] == ["text", "image"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"bbox": [0, 0, 100]}, "bbox must be four numbers, [left, top, right, bottom], not 3"),
        ({"bbox": []}, "bbox must be four numbers"),
        ({"bbox": [0, 0, 1200, 500]}, "bbox [0, 0, 1200, 500] is no region of the frame: it must be"),
        ({"bbox": [-1, 0, 10, 10]}, "is no region of the frame"),
        ({"bbox": [10, 10, 10, 20]}, "is no region of the frame"),
        ({"bbox": [500, 0, 10, 10]}, "is no region of the frame"),
        ({"bbox": [0, 0, 1e308, 10]}, "is no region of the frame"),
        ({"bbox": [0, 0, float("nan"), 10]}, "'bbox.2': input should be a finite number"),
        ({"bbox": [0, 0, 10, 10], "timestamp": 5}, "timestamp 5 is outside the video, which lasts from 0 to 5 seconds"),
        ({"bbox": "0,0,10,10"}, "'bbox': input should be a valid list"),
        ({"bbox": [0, 0, 10, 10], "max_pixels": 10}, "unknown argument 'max_pixels'"),
        ({"bbox": [0] * 1000}, "bbox must be four numbers, [left, top, right, bottom], not 1000"),
    ],
)
def test_a_mistake_of_the_model_is_told_to_it(detailed, arguments, said):
    with pytest.raises(ToolError) as told:
        call_tool(zoom_region, detailed, **{"timestamp": 1, **arguments})
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


def test_what_was_seen_can_be_shown_again_from_a_stored_conversation(detailed):
    """A rollout keeps references; a zoomed part must not come back as the whole frame."""
    from longvt_plugins import Video
    from longvt_plugins.rollouts import to_references

    reply = call_tool(zoom_region, detailed, timestamp=2.5, bbox=[123, 77, 641, 533])
    (message,) = to_references([{"role": "tool", "content": reply}])
    reference = message["content"][-1]["image"]
    with Video.open(detailed) as video:
        again = video.frame_at(reference["time"]).cut(reference["region"])
    shown = images(reply)[0]["image"]
    assert np.array_equal(np.asarray(again.resized((reference["width"], reference["height"])).image), np.asarray(shown))


def test_a_part_of_a_part_knows_where_it_lies():
    from PIL import Image

    from longvt_plugins import Frame

    whole = Frame(Image.fromarray(np.arange(100 * 200, dtype=np.uint8).reshape(100, 200) % 251), 0.0)
    part = whole.crop([20, 10, 120, 60]).crop([10, 10, 40, 30])
    assert part.region == pytest.approx((150, 200, 300, 400))
    assert np.array_equal(np.asarray(whole.cut(part.region).image), np.asarray(part.image))
