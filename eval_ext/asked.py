"""How many questions were asked and how many failed, told by the model to the command that started lmms-eval.

::

    tell_asked(path, Asked("longvt", asked=652, failed=3, reason="HTTP 500"))
    read_asked(path)["longvt"].failed                  # of all processes together

A task whose scorer is not ours has no way to say that a question failed, and lmms-eval ends with 0 whatever happened.
The file is one JSON object a line, which processes append to. It is no result: who runs lmms-eval without
``longvt eval`` gets the same numbers in the log alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

REPORT_VARIABLE = "LONGVT_EVAL_REPORT"
"""Names the file; without it nothing is told."""


@dataclass(frozen=True)
class Asked:
    """What became of the questions of one task.

    Attributes:
        task: Its name.
        asked: Questions that were not answered from lmms-eval's cache.
        failed: Those of them that have no answer.
        reason: Of the first that failed.
    """

    task: str
    asked: int
    failed: int
    reason: str = ""


def tell_asked(path: Path, asked: Asked) -> None:
    """Adds a task to the file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(asked)) + "\n")


def read_asked(path: Path) -> dict[str, Asked]:
    """What was told of each task, all processes together; nothing where there is no file."""
    tasks: dict[str, Asked] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        told = Asked(**json.loads(line))
        earlier = tasks.get(told.task, Asked(told.task, 0, 0))
        tasks[told.task] = Asked(
            told.task, earlier.asked + told.asked, earlier.failed + told.failed, earlier.reason or told.reason
        )
    return tasks
