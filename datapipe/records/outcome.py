"""What a step makes of a record: it keeps it, drops it, or fails on it. All three are results, counted and saved.

>>> Dropped("shorter than 10 s")
Dropped(reason='shorter than 10 s', record=None)

Nothing else stands for a failure: no None, no -1, no caption that reads "Error: ...".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Kept(Generic[T_co]):
    """The step made this of the record."""

    record: T_co


@dataclass(frozen=True)
class Dropped:
    """The step decided against the record.

    Attributes:
        reason: Equal causes have equal reasons, so that they can be counted.
        record: What was decided against, where a step gives several outcomes at once; None: what it was given.
    """

    reason: str
    record: Any = None


@dataclass(frozen=True)
class Failed:
    """The step could not do its work on this record.

    Attributes:
        error: Type and message of the error.
        record: What it was about, where a step gives several outcomes at once; None: what it was given.
    """

    error: str
    record: Any = None


Outcome: TypeAlias = Kept[T] | Dropped | Failed
"""What a step makes of one record."""
