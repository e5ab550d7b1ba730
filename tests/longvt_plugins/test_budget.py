"""The ledger of one rollout: it grants what is left, and says so to the model when nothing is."""

import pytest

from longvt_plugins.budget import Budget
from longvt_plugins.errors import ToolError


def test_frames_are_granted_until_none_is_left():
    budget = Budget(max_frames=10)
    assert [budget.grant_frames(4), budget.grant_frames(4), budget.grant_frames(4)] == [4, 4, 2]
    with pytest.raises(ToolError, match="all 10 frames are used: answer now with what you have seen"):
        budget.grant_frames(1)
    assert budget.frames == 10


def test_calls_are_counted_and_end():
    budget = Budget(max_calls=2)
    budget.start_call()
    budget.start_call()
    with pytest.raises(ToolError, match="all 2 tool calls are used: answer now"):
        budget.start_call()
    assert budget.calls == 2, "a refused call is not a call"


def test_without_limits_everything_is_granted_and_still_counted():
    budget = Budget()
    assert budget.grant_frames(100_000) == 100_000
    budget.start_call()
    assert (budget.frames, budget.calls) == (100_000, 1)


def test_two_rollouts_do_not_share_a_ledger():
    first, second = Budget(max_frames=1), Budget(max_frames=1)
    first.grant_frames(1)
    assert second.grant_frames(1) == 1


@pytest.mark.parametrize("limit", [{"max_frames": 0}, {"max_calls": 0}])
def test_a_limit_of_none_at_all_refuses_at_once(limit):
    budget = Budget(**limit)
    with pytest.raises(ToolError, match="answer now"):
        budget.grant_frames(1) if "max_frames" in limit else budget.start_call()
