"""Keeps a rollout within its room, so that none ends unanswered because a reply was too long.

::

    ledger = Ledger(processor, max_completion_length=16_384, turn_tokens=1024)
    make_environment(config, ledger=ledger)                                    # in training
    await run_agent(backend, row, config, plugins, ledger=ledger)              # in evaluation, with the same replies

Tokens of tool replies count against TRL's ``max_completion_length``, and a reply that would exceed it is dropped with
its pictures: the rollout then ends where it is. An environment sees its own replies, which it can count, but not
what the model writes. So every turn is bounded, room for all of them is set aside, and what is left is for the
replies: ``crop_video`` shows fewer frames where the rest is short, and says so. The opening of a conversation, with
the overview, is not counted here.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from longvt_plugins.budget import ANSWER_NOW, REFUSAL_TOKENS, Budget
from longvt_plugins.errors import ConfigError, ToolError
from longvt_plugins.types import Block, text_block

CALLS_PER_TURN = 8
"""Calls of one turn that are read, unless a recipe says otherwise: a turn that repeats itself may hold dozens."""

REFUSED = "refused"
"""What a rollout is told that was told to answer already."""

REFUSED_TOKENS = 24
"""Most that this takes, the template's own tokens among them: 22 with the tiny tokenizers, whose words are short."""

_TRIES = 5
"""To find a number of tokens left that counts itself."""


@dataclass(frozen=True)
class Ledger:
    """What a conversation has room for.

    Args:
        processor: Of the model, with the chat template that TRL renders with.
        max_completion_length: TRL's: tokens of all turns and replies of a rollout.
        turn_tokens: Longest turn of the model.
        tell: Whether every reply ends with what is left, in calls and tokens.
    """

    processor: Any
    max_completion_length: int
    turn_tokens: int
    tell: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def reply_tokens(
        self, max_calls: int | None, *, max_turns: int | None = None, calls_per_turn: int = CALLS_PER_TURN
    ) -> int:
        """Tokens for the replies of a rollout, once room for its turns is set aside.

        A rollout of n calls has n turns that call, one more that may learn that the calls are used up, and one
        that answers, if it may have as many. Where a turn may hold several calls, they may be used up earlier, and
        tried in vain until the last turn.

        Raises:
            ConfigError: No limit of calls, or too little room for so many turns.
        """
        if max_calls is None:
            raise ConfigError("turn_tokens needs max_calls: without it the turns of a rollout have no bound")
        turns = max_calls + 2 if max_turns is None else min(max_turns, max_calls + 2)
        in_vain = (turns - 1) * calls_per_turn - max_calls
        # The first of them is told why, which the budget keeps room for.
        refusals = max(0, in_vain - 1) * REFUSED_TOKENS
        left = self.max_completion_length - self.turn_tokens * turns - refusals
        if left < REFUSAL_TOKENS * (max_calls + 2):
            raise ConfigError(
                f"max_completion_length {self.max_completion_length} is too short for {max_calls} calls: "
                f"{turns} turns of turn_tokens {self.turn_tokens}"
                + (f" and {refusals} tokens for refusals (calls_per_turn {calls_per_turn})" if refusals else "")
                + f" leave {left} tokens for the replies"
            )
        return left

    def generation_kwargs(self, *, use_vllm: bool) -> dict[str, int]:
        """What bounds a turn, for ``GRPOConfig``."""
        return {"max_tokens" if use_vllm else "max_new_tokens": self.turn_tokens}

    def count(self, reply: Sequence[Block]) -> int:
        """Tokens that a reply adds to a conversation, the template's own and the next turn's opening among them.

        Several replies in one turn add a little less than the sum, since they open one turn together.
        """
        opening = self._opening
        message = {"role": "tool", "name": "tool", "content": list(reply)}
        text = self._render([*_CONVERSATION, message], add_generation_prompt=True)
        if not text.startswith(opening):
            raise ConfigError(
                "the chat template does not keep its beginning when a reply is added: it cannot be counted"
            )
        # Rollouts of an evaluation count in threads, and a tokenizer that was saved to cut texts is changed by this.
        with self._lock:
            tokens = len(self.processor.tokenizer(text[len(opening) :], add_special_tokens=False)["input_ids"])
        images: list[Any] = [block["image"] for block in reply if block["type"] == "image"]
        return tokens + sum(self.image_tokens(*image.size) - 1 for image in images)

    def close(self, reply: list[Block], budget: Budget) -> list[Block]:
        """The reply as the model gets it.

        Raises:
            ToolError: A tool that does not ask the budget made a reply that is too long.
        """
        if budget.excess(reply):
            raise ToolError(f"the reply has no room in the conversation: ask for less, or {ANSWER_NOW}")
        if not self.tell or budget.max_calls is None:
            return reply
        calls = budget.max_calls - budget.calls
        # The number has to count the sentence that it stands in: a longer one may be a token more.
        left = 0
        for _ in range(_TRIES):
            note = text_block(f"({calls} calls and {left} tokens left)")
            found = max(0, int(budget.room()) + REFUSAL_TOKENS - self.count([*reply, note]))
            if found == left:
                break
            left = found
        return reply if budget.excess([*reply, note]) else [*reply, note]

    @functools.cached_property
    def _opening(self) -> str:
        """A conversation up to the end of the turn that calls: TRL's replies begin right behind it."""
        text = self._render(_CONVERSATION, add_generation_prompt=False)
        end = self.processor.tokenizer.eos_token
        place = text.rfind(end)
        return text[: place + len(end)] if place >= 0 else text

    def _render(self, messages: Sequence[Any], *, add_generation_prompt: bool) -> str:
        text: str = self.processor.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return text

    def image_tokens(self, width: int, height: int) -> int:
        """Tokens of a picture of this size in pixels, as the processor brings it into its bounds."""
        images = self.processor.image_processor
        patches: int = images.get_number_of_image_patches(height, width, {})
        return patches // int(images.merge_size) ** 2


_CONVERSATION = (
    {"role": "user", "content": [{"type": "text", "text": "?"}]},
    {
        "role": "assistant",
        "content": [{"type": "text", "text": ""}],
        "tool_calls": [{"type": "function", "function": {"name": "tool", "arguments": {}}}],
    },
)
