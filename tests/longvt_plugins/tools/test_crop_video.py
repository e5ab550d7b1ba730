"""crop_video: what it shows, what it says, and what it refuses in one line that a model can act on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from longvt_plugins import FrameSampling, ToolContext, ToolError
from longvt_plugins.budget import Budget
from longvt_plugins.errors import VideoError
from longvt_plugins.testing import call_tool, images, read_stamp, seconds_shown, write_stamped_video
from longvt_plugins.tools import Tool
from longvt_plugins.tools.crop_video import crop_video

SCHEMA = Path(__file__).with_name("crop_video.schema.json")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "stamped.mp4"
    write_stamped_video(path, 20)
    return path


def labels(blocks):
    return [block["text"] for block in blocks[1:] if block["type"] == "text"]


def test_only_frames_inside_the_window_are_shown(video):
    blocks = call_tool(crop_video, video, start_time=10, end_time=12)

    assert seconds_shown(blocks) == [10, 11]
    assert [read_stamp(block["image"]) for block in images(blocks)] == [40, 44]


def test_the_reply_says_what_it_shows_and_labels_each_frame(video):
    said, *shown = call_tool(crop_video, video, start_time=10, end_time=12.5, crop=FrameSampling(fps=2))

    assert said == {"type": "text", "text": "5 frames from 10s to 12.5s:"}
    assert [block["type"] for block in shown] == ["text", "image"] * 5
    assert labels([said, *shown]) == ["10s", "10.5s", "11s", "11.5s", "12s"]
    assert {block["video"] for block in images(shown)} == {"video_1.mp4"}


def test_labels_can_be_left_out(video):
    blocks = call_tool(crop_video, video, start_time=10, end_time=12, crop=FrameSampling(labels="none"))
    assert [block["type"] for block in blocks] == ["text", "image", "image"]


def test_an_end_past_the_video_is_moved_to_its_end_and_said(video):
    blocks = call_tool(crop_video, video, start_time=18, end_time=50)

    assert blocks[0]["text"] == "2 frames from 18s to 20s (the video ends at 20s):"
    assert seconds_shown(blocks) == [18, 19]


def test_a_window_shorter_than_a_second_shows_its_first_moment(video):
    blocks = call_tool(crop_video, video, start_time=10.1, end_time=10.2)

    assert blocks[0]["text"] == "1 frame from 10.1s to 10.2s:"
    assert [read_stamp(block["image"]) for block in images(blocks)] == [40]  # on screen from 10.0 to 10.25


def test_the_last_moment_of_the_video_can_be_seen(video):
    assert seconds_shown(call_tool(crop_video, video, start_time=19.99, end_time=20)) == [19.75]


def test_a_long_window_is_thinned_to_the_most_frames_allowed(video):
    blocks = call_tool(crop_video, video, start_time=0, end_time=20, crop=FrameSampling(max_frames=4))
    assert seconds_shown(blocks) == [0, 5, 10, 15]


def test_frames_have_the_size_of_the_sampling(video):
    crop = FrameSampling(max_pixels=60 * 60)
    blocks = call_tool(crop_video, video, start_time=3, end_time=5, crop=crop)
    assert {block["image"].size for block in images(blocks)} == {(56, 56)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"start_time": 20, "end_time": 22}, "start_time 20 is outside the video, which lasts from 0 to 20 seconds"),
        ({"start_time": -1, "end_time": 4}, "start_time -1 is outside the video"),
        ({"start_time": 1e300, "end_time": 4}, "start_time 1e+300 is outside the video"),
        ({"start_time": 5, "end_time": 4}, "end_time 4 must be later than start_time 5"),
        ({"start_time": 5, "end_time": 5}, "end_time 5 must be later than start_time 5"),
        ({"start_time": float("nan"), "end_time": 4}, "'start_time': input should be a finite number"),
        ({"start_time": 1, "end_time": float("inf")}, "'end_time': input should be a finite number"),
        ({"start_time": "5", "end_time": 8}, "'start_time': input should be a valid number, not '5'"),
        ({"start_time": "00:05", "end_time": 8}, "'start_time': input should be a valid number"),
        ({"start_time": True, "end_time": 8}, "'start_time': input should be a valid number"),
        ({"start_time": None, "end_time": 8}, "'start_time': input should be a valid number"),
        ({"start_time": [1, 2], "end_time": 8}, "'start_time': input should be a valid number"),
        ({"start_time": 10**400, "end_time": 8}, "'start_time'"),
        ({"start_time": 5}, "'end_time' is missing"),
        ({"start_time": 5, "end_time": 8, "fps": 2}, "unknown argument 'fps'"),
        ({"start_time": 5, "end_time": 8, "video_path": "video_2.mp4"}, "the videos are: video_1.mp4"),
        ({"start_time": 5, "end_time": 8, "video_path": "/etc/passwd"}, "no video named '/etc/passwd'"),
        ({"start_time": 5, "end_time": 8, "video_path": "../video_1.mp4"}, "no video named"),
        ({"start_time": 5, "end_time": 8, "video_path": "a\nb" * 5000}, "no video named"),
        (
            {"start_time": 5, "end_time": 8, "video_path": ["video_1.mp4"]},
            "'video_path': input should be a valid string",
        ),
    ],
)
def test_a_mistake_of_the_model_is_told_to_it_in_one_short_line(video, arguments, said):
    with pytest.raises(ToolError) as told:
        call_tool(crop_video, video, **arguments)

    message = str(told.value)
    assert said in message
    assert "\n" not in message
    assert len(message) < 300


def test_a_flood_of_faults_is_cut_short(video):
    flood = {f"argument_{number}" * 100: number for number in range(1000)}
    with pytest.raises(ToolError, match="and 996 more faults") as told:
        call_tool(crop_video, video, start_time="1", **flood | {"end_time": 2})
    assert len(str(told.value)) < 1200


def test_the_path_of_the_file_is_no_name_for_it(video):
    with pytest.raises(ToolError, match=r"the videos are: video_1\.mp4"):
        call_tool(crop_video, video, video_path=str(video), start_time=1, end_time=2)


@pytest.mark.parametrize("arguments", [None, [], "{}", 5])
def test_arguments_that_are_no_object_are_refused(video, arguments):
    with ToolContext({"video_1.mp4": video}) as ctx, pytest.raises(ToolError, match="must be a JSON object"):
        Tool.from_function(crop_video)(ctx, arguments)


def test_a_small_budget_thins_the_window_and_says_so(video):
    blocks = call_tool(crop_video, video, start_time=0, end_time=20, budget=Budget(max_frames=4))

    assert seconds_shown(blocks) == [0, 5, 10, 15]
    assert blocks[0]["text"] == "4 frames from 0s to 20s (thinned: 4 frames left of the budget):"


def test_frames_are_spent_until_none_is_left(video):
    budget = Budget(max_frames=5)
    assert len(images(call_tool(crop_video, video, start_time=0, end_time=4, budget=budget))) == 4
    blocks = call_tool(crop_video, video, start_time=0, end_time=4, budget=budget)
    assert blocks[0]["text"] == "1 frame from 0s to 4s (thinned: 1 frame left of the budget):"
    with pytest.raises(ToolError, match="all 5 frames are used: answer now"):
        call_tool(crop_video, video, start_time=0, end_time=4, budget=budget)


def test_a_refused_call_spends_a_call_but_no_frames(video):
    budget = Budget(max_frames=5, max_calls=2)
    with pytest.raises(ToolError, match="outside"):
        call_tool(crop_video, video, start_time=30, end_time=40, budget=budget)
    assert (budget.calls, budget.frames) == (1, 0)
    call_tool(crop_video, video, start_time=0, end_time=1, budget=budget)
    with pytest.raises(ToolError, match="all 2 tool calls are used"):
        call_tool(crop_video, video, start_time=0, end_time=1, budget=budget)


def test_a_broken_file_is_not_the_models_mistake(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"")
    with pytest.raises(VideoError) as told:
        call_tool(crop_video, tmp_path / "broken.mp4", start_time=0, end_time=1)
    assert not isinstance(told.value, ToolError)


def test_the_model_is_told_of_the_tool_as_ever():
    """Checkpoints were trained on these names; a change here is a change of the format, and needs a new checkpoint."""
    assert Tool.from_function(crop_video).schema == json.loads(SCHEMA.read_text(encoding="utf-8"))
