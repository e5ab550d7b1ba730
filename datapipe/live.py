"""How a run goes, for people: a bar for each step in a terminal, elsewhere a line now and then.

::

    caption  ━━━━━━━━━━╸━━━━━━━━━  412/1024  398 kept 12 dropped 2 failed  31.2/s  $1.24  0:00:19 left

It counts what is done in this run and what was done before; the rate and the time left are of this run alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from datapipe.records import Dropped, Failed, Kept

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from datapipe.store import UnitResult

LINE_SECONDS = 30.0
"""Without a terminal, a step tells of itself this often."""


@dataclass
class _StepState:
    """What a step has come to in this run."""

    total: int
    started: float
    worked: int = 0
    skipped: int = 0
    kept: int = 0
    dropped: int = 0
    failed: int = 0
    told: float = field(default=0.0)

    @property
    def done(self) -> int:
        return self.worked + self.skipped

    def text(self, spent: float, now: float) -> str:
        rate = self.worked / max(now - self.started, 1e-9)
        left = max(0, self.total - self.done)
        parts = [f"{self.kept} kept {self.dropped} dropped {self.failed} failed"]
        if self.skipped:
            parts.append(f"{self.skipped} done before")
        if self.worked:
            parts.append(f"{rate:.1f}/s")
        if spent:
            parts.append(f"${spent:.2f}")
        if left and rate:
            parts.append(f"{_clock(left / rate)} left")
        return ", ".join(parts)


class LiveView:
    """Shows a run; a context manager. See :class:`datapipe.runner.View`.

    Args:
        console: Where.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._steps: dict[str, _StepState] = {}

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[state]}"),
            )
            self._bars = Progress(*columns, console=self._console, refresh_per_second=4)
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def step_started(self, name: str, units: int) -> None:
        """A step begins."""
        now = time.monotonic()
        self._steps[name] = _StepState(units, now, told=now)
        if self._bars is not None:
            self._tasks[name] = self._bars.add_task(name, total=units, state="")

    def unit_done(self, name: str, result: UnitResult | None, spent: float) -> None:
        """A unit is saved, or was done before."""
        state, now = self._steps[name], time.monotonic()
        if result is None:
            state.skipped += 1
        else:
            state.worked += 1
            for outcome in result.outcomes:
                state.kept += isinstance(outcome, Kept)
                state.dropped += isinstance(outcome, Dropped)
                state.failed += isinstance(outcome, Failed)
        if self._bars is not None:
            # Not for every one of a million records: nobody reads so fast, and the text takes longer than the work.
            if now - state.told >= 0.1 or state.done == state.total:
                state.told = now
                self._bars.update(self._tasks[name], completed=state.done, state=state.text(spent, now))
        elif now - state.told >= LINE_SECONDS:
            state.told = now
            self._console.print(f"{name}: {state.done}/{state.total}, {state.text(spent, now)}", highlight=False)

    def step_ended(self, name: str) -> None:
        """A step is through, or stopped."""
        state = self._steps[name]
        text = state.text(0.0, time.monotonic())
        if self._bars is not None:
            self._bars.update(self._tasks[name], completed=state.done, state=text)
        else:
            self._console.print(f"{name}: {state.done}/{state.total}, {text}", highlight=False)

    def note(self, text: str) -> None:
        """Something that the user should know now."""
        self._console.print(text, highlight=False, markup=False)


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
