"""What happens in a rollout, told while it happens: for a terminal, a page, or whoever else watches.

::

    def watch(event: Event) -> None:
        if isinstance(event, Wrote):
            print(event.text, end="", flush=True)

    await run_agent(backend, row, config, plugins, watch=watch)

In order: :class:`Opened`; then for each turn :class:`Wrote` as often as text arrives, :class:`TurnEnded`, and
:class:`Called` and :class:`Replied` for each call. A watcher is called in the event loop of the rollout and must
return soon; what it raises ends the rollout. It sees the conversation and changes nothing in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from longvt_plugins.chat import Completion
from longvt_plugins.types import Block, FunctionCall, Message


@dataclass(frozen=True)
class Opened:
    """The videos were read; the model is about to be asked.

    Attributes:
        messages: System message and question, the overview's frames in memory.
        durations: Seconds of each video, by the name that the model knows it by.
    """

    messages: tuple[Message, ...]
    durations: Mapping[str, float]


@dataclass(frozen=True)
class Wrote:
    """The model wrote something.

    Attributes:
        text: A piece of its turn as it was written, tags included; calls only where the model writes them as text.
    """

    text: str


@dataclass(frozen=True)
class AskedAgain:
    """The turn broke off and is asked for again: what was written of it is void."""


@dataclass(frozen=True)
class TurnEnded:
    """A turn is complete.

    Attributes:
        message: As it stands in the conversation, its calls taken out of the text.
        completion: What it cost.
    """

    message: Message
    completion: Completion


@dataclass(frozen=True)
class Called:
    """A tool is about to be run.

    Attributes:
        call: As the model wrote it, not checked.
    """

    call: FunctionCall


@dataclass(frozen=True)
class Replied:
    """A tool has replied.

    Attributes:
        call: The call.
        content: What the model is shown; text for an error.
        seconds: That the tool took.
    """

    call: FunctionCall
    content: list[Block] | str
    seconds: float


Event = Opened | Wrote | AskedAgain | TurnEnded | Called | Replied

Watch = Callable[[Event], None]
"""Told each event."""
