"""Progress of long work: bars in a terminal, elsewhere a line at every tenth of the way.

>>> with show_progress(console) as tell:
...     tell("videos", 12, 240)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Tell = Callable[[str, int, int], None]
"""Told what is being done, and how many of how many steps of it are done."""


@contextmanager
def show_progress(console: Console) -> Iterator[Tell]:
    """Gives a function to tell progress to, for as long as the block runs.

    Args:
        console: Where it is shown.
    """
    if not console.is_terminal:
        yield _lines(console)
        return
    from rich.progress import Progress, TaskID, TimeElapsedColumn

    with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def bar(title: str, done: int, total: int) -> None:
            if title not in tasks:
                tasks[title] = bars.add_task(title, total=None)
            bars.update(tasks[title], completed=done, total=total)

        yield bar


def _lines(console: Console) -> Tell:
    last: dict[str, int] = {}

    def line(title: str, done: int, total: int) -> None:
        tenth = 10 * done // max(1, total)
        if tenth != last.get(title):
            last[title] = tenth
            console.print(f"{title}: {done}/{total}")

    return line
