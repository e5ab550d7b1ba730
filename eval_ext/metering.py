"""What each rollout took of its model: turns, tokens, waits. The loop's own rollouts keep only what was written.

::

    backend = MeteredBackend(client)
    told = lambda done, total, rollout: print(rollout.id, backend.take().turns)
    await run_agents(backend, rows, config, plugins, progress=told)

A rollout is one asyncio task, in which its turns are asked for and its end is told: that is how turns of
rollouts that run at the same time are kept apart. A turn that was not had leaves nothing here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longvt_plugins.chat import ChatBackend, Completion
from longvt_plugins.types import Message


@dataclass
class Effort:
    """What one rollout took.

    Attributes:
        turns: That the model wrote.
        truncated_turns: Those of them that were cut off at the longest allowed.
        prompt_tokens: Read, all turns together; 0 where a server does not count.
        cached_turns: Turns for which nobody was asked.
        retries: Requests that were sent again.
        model_seconds: Spent waiting for the model.
        cost: US dollars.
    """

    turns: int = 0
    truncated_turns: int = 0
    prompt_tokens: int = 0
    cached_turns: int = 0
    retries: int = 0
    model_seconds: float = 0.0
    cost: float = 0.0

    def add(self, completion: Completion) -> None:
        """Counts a turn."""
        self.turns += 1
        self.truncated_turns += completion.stop_reason == "length"
        self.prompt_tokens += completion.prompt_tokens
        self.cached_turns += completion.cached
        self.retries += completion.retries
        self.model_seconds += completion.seconds
        self.cost += completion.cost


class MeteredBackend:
    """A :class:`~longvt_plugins.chat.ChatBackend` that counts for each rollout.

    Args:
        backend: Who is asked.
    """

    def __init__(self, backend: ChatBackend) -> None:
        self.backend = backend
        self._efforts: dict[asyncio.Task[Any] | None, Effort] = {}

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        max_tokens: int,
        temperature: float,
    ) -> Completion:
        """Writes the next turn.

        Raises:
            ChatError: As the backend.
        """
        completion = await self.backend.complete(messages, tools, max_tokens=max_tokens, temperature=temperature)
        self._efforts.setdefault(asyncio.current_task(), Effort()).add(completion)
        return completion

    def take(self) -> Effort:
        """What the rollout of this task took so far; it is then forgotten."""
        return self._efforts.pop(asyncio.current_task(), None) or Effort()
