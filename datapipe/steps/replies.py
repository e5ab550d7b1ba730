"""Types of what models reply, checked when it is read: texts that say something, shares from 0 to 1.

>>> read_reply('{"caption": " "}', CaptionReply)
ValueError: caption: value error, it must not be empty

Every reply is a dataclass of its own beside the step that asks for it; each forbids further fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

LONGEST_TEXT = 8000
"""Characters of one text; a caption has about 500."""


@dataclass(frozen=True)
class Reply:
    """Base of all replies."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "allow_inf_nan": False}


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("it must not be empty")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"it is longer than {LONGEST_TEXT} characters")
    return value.strip()


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError("it must lie between 0 and 1")
    return value


# Checked after reading, not as JSON Schema: strict modes of servers refuse a minLength or a maximum.
Text = Annotated[str, AfterValidator(_text)]
"""Not empty, white space taken off its ends."""

Share = Annotated[float, AfterValidator(_share)]
"""From 0 to 1."""
