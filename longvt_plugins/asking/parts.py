"""A turn, split into thought, call and answer while it still arrives.

>>> parts = TurnParts()
>>> [*parts.feed("<think>It is r"), *parts.feed("ed.</thi"), *parts.feed("nk><answer>red</answer>")]
[('thought', 'It is r'), ('thought', 'ed.'), ('answer', 'red')]

For showing alone: what a turn *means* is read by :mod:`longvt_plugins.transcript`, once it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

Kind = Literal["thought", "answer", "call", "text"]

_KINDS: dict[str, Kind] = {"think": "thought", "answer": "answer", "tool_call": "call"}
_TAG = re.compile(r"<(/?)(think|answer|tool_call)>")
_TAGS = tuple(f"<{slash}{name}>" for slash in ("", "/") for name in _KINDS)


class TurnParts:
    """Splits one turn; a new one for each."""

    def __init__(self) -> None:
        self._rest = ""
        self._kind: Kind = "text"

    def feed(self, piece: str) -> Iterator[tuple[Kind, str]]:
        """What is certain of the text so far: kind and text, tags left out.

        Args:
            piece: What was written next, cut anywhere.
        """
        text = self._rest + piece
        position = 0
        for tag in _TAG.finditer(text):
            if tag.start() > position:
                yield self._kind, text[position : tag.start()]
            self._kind = "text" if tag[1] else _KINDS[tag[2]]
            position = tag.end()
        # The end may be the beginning of a tag.
        opening = text.rfind("<", position)
        held = opening if opening >= 0 and any(tag.startswith(text[opening:]) for tag in _TAGS) else len(text)
        self._rest = text[held:]
        if held > position:
            yield self._kind, text[position:held]

    def end(self) -> Iterator[tuple[Kind, str]]:
        """What was held back, once nothing more comes."""
        rest, self._rest = self._rest, ""
        if rest:
            yield self._kind, rest
