"""Spans of time as data sets write them.

>>> span_of("00:15-00:19"), span_of([3, 4.5]), span_of("[3, 4.5]"), span_of("01:00:05-01:00:10")
((15.0, 19.0), (3.0, 4.5), (3.0, 4.5), (3605.0, 3610.0))
>>> span_of(None), span_of("at the end"), span_of([9, 2])
(None, None, None)
"""

from __future__ import annotations

import math
import re
from typing import Any

_CLOCK = r"(\d{1,6}(?:\.\d{1,6})?(?::\d{1,6}(?:\.\d{1,6})?){0,2})"
_SPAN = re.compile(rf"[\[(]?\s*{_CLOCK}\s*(?:,|-|–)\s*{_CLOCK}\s*[\])]?")
_LONGEST = 100


def span_of(value: Any) -> tuple[float, float] | None:
    """A span in seconds, start before end; None where the value is none or has no length.

    Args:
        value: Two numbers, or text with two numbers or two clock times.
    """
    if isinstance(value, str):
        # The bound keeps white space, which can be split in many ways, from costing time.
        found = _SPAN.fullmatch(value.strip()) if len(value) <= _LONGEST else None
        numbers: list[Any] = [seconds_of(found[1]), seconds_of(found[2])] if found else []
    else:
        numbers = list(value) if isinstance(value, list | tuple) else []
    if len(numbers) != 2 or not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        return None
    start, end = map(float, numbers)
    return (start, end) if 0 <= start < end else None


def seconds_of(clock: str) -> float:
    """Seconds of ``12.5``, ``1:30`` or ``1:00:05``."""
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds
