"""What the doctor finds: how bad it is, what it is, and what cures it.

>>> blocker("rows", "no rows file rl.parquet", "name one with --rows").level
'blocker'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["blocker", "warning", "ok"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What was looked at, in a word.
        level: ``blocker`` ends or spoils the run, ``warning`` may, ``ok`` is as it should be.
        what: One line.
        cure: What to do; empty where nothing is wrong.
    """

    check: str
    level: Level
    what: str
    cure: str = ""


def blocker(check: str, what: str, cure: str) -> Finding:
    """A finding with which the run would end, or train on something else than meant."""
    return Finding(check, "blocker", what, cure)


def warning(check: str, what: str, cure: str) -> Finding:
    """A finding that the run may survive."""
    return Finding(check, "warning", what, cure)


def ok(check: str, what: str) -> Finding:
    """What is as it should be, said so that one knows that it was looked at."""
    return Finding(check, "ok", what)
