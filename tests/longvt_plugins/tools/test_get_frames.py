"""get_frames: the moments that are named, whatever lies between them."""

from __future__ import annotations

import pytest

from longvt_plugins import FrameSampling, ToolError
from longvt_plugins.budget import Budget
from longvt_plugins.testing import call_tool, images, read_stamp, seconds_shown
from longvt_plugins.tools.get_frames import get_frames


def test_each_named_moment_is_shown_in_order_of_time(stamped):
    blocks = call_tool(get_frames, stamped, timestamps=[17.6, 3, 10.25, 3])

    assert blocks[0]["text"] == "3 frames:"
    assert [block["text"] for block in blocks[1:] if block["type"] == "text"] == ["3s", "10.2s", "17.5s"]
    assert [read_stamp(block["image"]) for block in images(blocks)] == [12, 41, 70]


def test_labels_can_be_left_out(stamped):
    blocks = call_tool(get_frames, stamped, timestamps=[1], crop=FrameSampling(labels="none"))
    assert [block["type"] for block in blocks] == ["text", "image"]


def test_a_short_budget_shows_the_first_and_says_so(stamped):
    budget = Budget(max_frames=2)
    blocks = call_tool(get_frames, stamped, timestamps=[1, 5, 9], budget=budget)

    assert blocks[0]["text"] == "2 frames (of 3: 2 frames left of the budget):"
    assert seconds_shown(blocks) == [1, 5]
    with pytest.raises(ToolError, match="all 2 frames are used: answer now"):
        call_tool(get_frames, stamped, timestamps=[1], budget=budget)


def test_the_tokens_of_the_reply_are_asked_for(stamped):
    budget = Budget(max_calls=2, max_tokens=128 * 3 + 30, count_tokens=lambda reply: 10 * len(images(reply)))
    assert seconds_shown(call_tool(get_frames, stamped, timestamps=[1, 2, 3, 4, 5], budget=budget))[0] == 1
    assert budget.frames <= 15


@pytest.mark.parametrize(
    ("timestamps", "said"),
    [
        ([], "timestamps is empty: name at least one time"),
        ([1, 20], "timestamp 20 is outside the video, which lasts from 0 to 20 seconds"),
        ([-0.5], "timestamp -0.5 is outside the video"),
        ([1e300], "timestamp 1e+300 is outside"),
        ([float("nan")], "'timestamps.0': input should be a finite number"),
        (["3"], "'timestamps.0': input should be a valid number, not '3'"),
        (3, "'timestamps': input should be a valid list"),
        ([1] * 129, "timestamps has 129 times, and at most 128 are shown at once"),
        (None, "'timestamps': input should be a valid list"),
    ],
)
def test_a_mistake_of_the_model_is_told_to_it(stamped, timestamps, said):
    with pytest.raises(ToolError) as told:
        call_tool(get_frames, stamped, timestamps=timestamps)
    assert said in str(told.value)
    assert "\n" not in str(told.value)
