"""What one rollout may still spend on looking: frames and tool calls.

>>> budget = Budget(max_frames=10, max_calls=5)
>>> budget.grant_frames(8), budget.grant_frames(8)
(8, 2)

The budget is kept by the environment, not by the model, and a tool asks it before it decodes.
"""

from __future__ import annotations

from dataclasses import dataclass

from longvt_plugins.errors import ToolError


@dataclass
class Budget:
    """A ledger for one rollout; None means no limit.

    Args:
        max_frames: Frames that the tools of one rollout may return together.
        max_calls: Tool calls of one rollout, failed ones included.
    """

    max_frames: int | None = None
    max_calls: int | None = None
    frames: int = 0
    calls: int = 0

    def start_call(self) -> None:
        """Counts a call.

        Raises:
            ToolError: The calls are used up.
        """
        if self.max_calls is not None and self.calls >= self.max_calls:
            raise ToolError(f"all {self.max_calls} tool calls are used: answer now with what you have seen")
        self.calls += 1

    def grant_frames(self, wanted: int) -> int:
        """How many of the wanted frames may be returned; they count as spent.

        Raises:
            ToolError: No frame is left.
        """
        if self.max_frames is None:
            granted = wanted
        else:
            granted = min(wanted, self.max_frames - self.frames)
            if granted <= 0:
                raise ToolError(f"all {self.max_frames} frames are used: answer now with what you have seen")
        self.frames += granted
        return granted
