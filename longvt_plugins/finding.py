"""What a doctor finds, of a training or an evaluation: how bad it is, what it is, and what cures it.

>>> blocker("rows", "no rows file rl.parquet", "name one with --rows").level
'blocker'
"""

from __future__ import annotations

from collections.abc import Sequence
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


def print_findings(findings: Sequence[Finding]) -> None:
    """Prints them, the worst last, and how many are blockers.

    Args:
        findings: In the order in which they were found.
    """
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    styles = {"blocker": "bold red", "warning": "yellow", "ok": "green"}
    for level in ("ok", "warning", "blocker"):
        for finding in (found for found in findings if found.level == level):
            console.print(f"{level:<8}{finding.check:<10}", style=styles[level], end="")
            console.print(finding.what, soft_wrap=True)
            if finding.cure:
                console.print(f"{'':<18}cure: {finding.cure}", soft_wrap=True)
    blockers = sum(finding.level == "blocker" for finding in findings)
    console.print(f"{blockers} blockers" if blockers != 1 else "1 blocker")


def findings_report(findings: Sequence[Finding]) -> dict[str, object]:
    """What is printed, for programs: how many of each level, and all of them."""
    levels = [finding.level for finding in findings]
    counts = {level: levels.count(level) for level in ("blocker", "warning", "ok")}
    return {**counts, "findings": [vars(finding) for finding in findings]}
