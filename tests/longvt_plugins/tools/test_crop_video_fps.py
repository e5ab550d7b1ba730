"""crop_video where the model chooses how densely it looks."""

from __future__ import annotations

import pytest

from longvt_plugins import FrameSampling, ToolContext, ToolError
from longvt_plugins.budget import Budget
from longvt_plugins.testing import images, plugin_manager, read_stamp, seconds_shown

NAME = "video_1.mp4"


def crop(stamped, *, sampling=None, budget=None, **arguments):
    (tool,) = plugin_manager().select_tools(["crop_video:fps"])
    with ToolContext({NAME: stamped}, crop=sampling or FrameSampling(), budget=budget) as ctx:
        return tool(ctx, {"video_path": NAME, **arguments})


def test_the_model_chooses_the_frames_of_a_second(stamped):
    blocks = crop(stamped, start_time=10, end_time=12, fps=4)

    assert blocks[0]["text"] == "8 frames from 10s to 12s:"
    assert [read_stamp(block["image"]) for block in images(blocks)] == list(range(40, 48))


def test_it_may_look_more_thinly_too(stamped):
    assert seconds_shown(crop(stamped, start_time=0, end_time=20, fps=0.25)) == [0, 4, 8, 12, 16]


def test_without_a_choice_it_is_the_plain_tool(stamped):
    assert seconds_shown(crop(stamped, start_time=10, end_time=12)) == [10, 11]
    assert seconds_shown(crop(stamped, start_time=10, end_time=12, fps=None)) == [10, 11]


def test_more_than_a_reply_may_hold_is_thinned_and_said(stamped):
    blocks = crop(stamped, start_time=0, end_time=10, fps=4, sampling=FrameSampling(max_frames=5))

    assert blocks[0]["text"] == "5 frames from 0s to 10s (thinned: 5 frames at most):"
    assert seconds_shown(blocks) == [0, 2, 4, 6, 8]


def test_the_budget_comes_before_the_choice(stamped):
    blocks = crop(stamped, start_time=0, end_time=10, fps=4, budget=Budget(max_frames=2))
    assert blocks[0]["text"] == "2 frames from 0s to 10s (thinned: 2 frames left of the budget):"


@pytest.mark.parametrize(
    ("fps", "said"),
    [
        (0, "fps 0 must be more than 0 and at most 60 frames per second"),
        (-1, "fps -1 must be more than 0"),
        (1e9, "fps 1e+09 must be more than 0 and at most 60"),
        (float("nan"), "'fps': input should be a finite number"),
        ("4", "'fps': input should be a valid number, not '4'"),
    ],
)
def test_a_rate_that_makes_no_sense_is_refused(stamped, fps, said):
    with pytest.raises(ToolError) as told:
        crop(stamped, start_time=1, end_time=2, fps=fps)
    assert said in str(told.value)
