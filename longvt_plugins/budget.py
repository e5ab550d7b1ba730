"""What one rollout may still spend on looking: frames, tool calls, and tokens of the tools' replies.

>>> budget = Budget(max_frames=10, max_calls=5)
>>> budget.grant_frames(8), budget.grant_frames(8)
(8, 2)

The budget is kept by the environment, not by the model, and a tool asks it before it decodes. Tokens are counted
by whoever knows the model's template; without a counter they have no limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from longvt_plugins.errors import ToolError
from longvt_plugins.types import Block

REFUSAL_TOKENS = 128
"""Kept for each call that may still come, so that even the last one can be told to answer."""

ANSWER_NOW = "answer now with what you have seen"

NO_TURN_LEFT = f"no turn is left to look closer: {ANSWER_NOW}"
"""Said of every call of the last turn but one: the last turn is there to answer."""


@dataclass
class Budget:
    """A ledger for one rollout; None means no limit.

    Args:
        max_frames: Frames that the tools of one rollout may return together.
        max_calls: Tool calls of one rollout, failed ones included.
        max_tokens: Tokens that all replies of one rollout may have together; needs ``max_calls`` and ``count_tokens``.
        count_tokens: How many tokens a reply adds to the conversation.
    """

    max_frames: int | None = None
    max_calls: int | None = None
    max_tokens: int | None = None
    count_tokens: Callable[[Sequence[Block]], int] | None = None
    frames: int = 0
    calls: int = 0
    tokens: int = 0

    @property
    def may_call(self) -> bool:
        """A further call would not be refused for the number of calls."""
        return self.max_calls is None or self.calls < self.max_calls

    def start_call(self) -> None:
        """Counts a call.

        Raises:
            ToolError: The calls are used up, or no reply has room any more.
        """
        if not self.may_call:
            raise ToolError(f"all {self.max_calls} tool calls are used: {ANSWER_NOW}")
        self.calls += 1
        if self.room() < REFUSAL_TOKENS:
            raise ToolError(f"the conversation has no room for another reply: {ANSWER_NOW}")

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
                raise ToolError(f"all {self.max_frames} frames are used: {ANSWER_NOW}")
        self.frames += granted
        return granted

    def return_frames(self, count: int) -> None:
        """Takes granted frames back that were not shown."""
        self.frames -= count

    def room(self) -> float:
        """Tokens that the reply to the present call may have."""
        if self.max_tokens is None or self.max_calls is None:
            return math.inf
        return self.max_tokens - self.tokens - REFUSAL_TOKENS * (self.max_calls + 1 - self.calls)

    def excess(self, reply: Sequence[Block]) -> int:
        """By how many tokens a reply is too long; 0 if it fits."""
        if self.count_tokens is None or math.isinf(room := self.room()):
            return 0
        return max(0, self.count_tokens(reply) - int(room))

    def spend(self, reply: Sequence[Block]) -> None:
        """Counts a reply that goes to the model."""
        if self.count_tokens is not None:
            self.tokens += self.count_tokens(reply)
