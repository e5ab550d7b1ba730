"""Blocks of messages: the walk over images, and copies that may be changed.

>>> [block["time"] for block in image_blocks(messages)]
[0.0, 4.0, 8.0]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from longvt_plugins.types import Message


def copied(message: Message) -> Message:
    """A message whose blocks may be changed without changing the given one's."""
    content = message["content"]
    return {**message, "content": [block.copy() for block in content] if isinstance(content, list) else content}


def image_blocks(messages: Iterable[Message]) -> Iterator[dict[str, Any]]:
    """The image blocks of a conversation, in order; what is set in them is set in the messages."""
    for message in messages:
        content = message["content"]
        for block in content if isinstance(content, list) else ():
            if block["type"] == "image":
                yield cast(dict[str, Any], block)
