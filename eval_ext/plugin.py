"""What lmms-eval loads when it starts: the names of our models, and the folder of our tasks.

lmms-eval reads the entry-point group ``lmms_eval.models`` and stops at the first one that raises, which would
hide every other plugin: :func:`manifests` never does. It has no such door for tasks, so our folder is added
behind all others that are searched; a name that exists already is never taken over.
``LONGVT_LMMS_EVAL_TASKS=0`` leaves the folder out. No plugin of ours is loaded here.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

TASKS_FOLDER = Path(__file__).parent / "tasks"
TASKS_VARIABLE = "LONGVT_LMMS_EVAL_TASKS"

MODELS = {"longvt": "eval_ext.model.LongvtServer", "longvt_hf": "eval_ext.model.LongvtLocal"}
"""Names for ``--model`` and their classes."""

logger = logging.getLogger(__name__)


def manifests() -> list[Any]:
    """The models, as lmms-eval wants them; none if this lmms-eval is not one that we know."""
    try:
        if os.environ.get(TASKS_VARIABLE, "1") != "0":
            add_tasks_folder()
        from lmms_eval.models.registry_v2 import ModelManifest

        return [ModelManifest(model_id=name, chat_class_path=path) for name, path in MODELS.items()]
    except Exception:
        logger.exception("longvt-plugins could not enter lmms-eval; its models and tasks are missing")
        return []


def add_tasks_folder() -> None:
    """Makes every ``TaskManager`` search our folder, last. A second time does nothing."""
    from lmms_eval.tasks import TaskManager

    if not hasattr(TaskManager.initialize_tasks, "longvt_tasks_folder"):
        TaskManager.initialize_tasks = _searching_ours_last(TaskManager.initialize_tasks)


def _searching_ours_last(initialize_tasks: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(initialize_tasks)
    def initialize(self: Any, include_path: str | list[str] | None = None, *args: Any, **kwargs: Any) -> Any:
        given = [include_path] if isinstance(include_path, str) else list(include_path or [])
        return initialize_tasks(self, [*given, str(TASKS_FOLDER)], *args, **kwargs)

    initialize.longvt_tasks_folder = TASKS_FOLDER  # type: ignore[attr-defined]
    return initialize
