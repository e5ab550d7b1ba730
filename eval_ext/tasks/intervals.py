"""The interval that a sentence names: answers to grounding questions are often more than two numbers.

>>> interval_in("The event happens in the 24.3 - 30.4 seconds.")
'[24.3, 30.4]'
>>> interval_in("It starts at 0:05 and ends at 0:09.5.")
'[5, 9.5]'
>>> interval_in("Either 1 - 2 or 5 - 6.") is None
True
"""

from __future__ import annotations

import re

from eval_ext.tasks.benchmarks.windows import seconds_of

LONGEST = 1000
"""Characters of an answer; a longer one is none (LongVT's reward has the same bound)."""

_CLOCK = r"(\d{1,6}(?:\.\d{1,6})?|\d{1,3}:\d{2}(?::\d{2})?(?:\.\d{1,6})?)"
_UNIT = r"(?: ?(?:seconds|second|secs|sec|s))?"
_BETWEEN = r"(?: ?[,–—-] ?| to | and | until | till )(?:(?:it )?(?:ends|stops|finishes)? ?(?:at )?)"
_INTERVAL = re.compile(rf"(?<![\d.:]){_CLOCK}{_UNIT}{_BETWEEN}{_CLOCK}(?![\d:])", re.IGNORECASE)


def interval_in(answer: str) -> str | None:
    """The one interval in an answer, as ``[start, end]`` in seconds; None if there is none, or more than one."""
    if len(answer) > LONGEST:
        return None
    found = {match.groups() for match in _INTERVAL.finditer(" ".join(answer.split()))}
    if len(found) != 1:
        return None
    start, end = map(seconds_of, found.pop())
    return f"[{start:g}, {end:g}]"
