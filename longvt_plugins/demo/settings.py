"""How much of everything the demo does.

>>> QUICK.sft_steps < FULL.sft_steps
True
"""

from __future__ import annotations

from dataclasses import dataclass

IOU_REWARD = "trl_ext.rewards.time_iou_reward"
REWARDS = ("trl_ext.rewards.answer_reward", "trl_ext.rewards.format_reward", IOU_REWARD)


@dataclass(frozen=True)
class DemoSettings:
    """Sizes of one run.

    Args:
        train_videos: Videos that traces and RL are made from.
        test_videos: Held-out videos, one question each.
        traces_per_row: Traces that the teacher tries for each training video.
        sloppiness: Share of the teacher's windows that are too wide, on each side.
        no_tool_steps: Steps of SFT on answers alone.
        sft_steps: Steps of SFT on traces.
        rl_steps: Steps of GRPO.
        rft_steps: Steps of SFT on the model's own good rollouts.
        rft_per_question: Most rollouts of one question among these.
    """

    train_videos: int = 256
    test_videos: int = 320
    traces_per_row: int = 8
    sloppiness: float = 0.75
    no_tool_steps: int = 60
    sft_steps: int = 240
    rl_steps: int = 40
    rft_steps: int = 40
    rft_per_question: int = 3


FULL = DemoSettings()
"""What the published table was made with; some 15 minutes on two cores."""

QUICK = DemoSettings(
    train_videos=112,
    test_videos=64,
    traces_per_row=6,
    sloppiness=0.5,
    no_tool_steps=20,
    sft_steps=140,
    rl_steps=2,
    rft_steps=5,
)
"""The shortest run that shows a model learning to crop; RL and RFT are only shown to run."""
