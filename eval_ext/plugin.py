"""What lmms-eval loads when it starts: the names of our models, and the folder of our tasks.

lmms-eval reads the entry-point group ``lmms_eval.models`` and stops at the first one that raises, which would
hide every other plugin: :func:`manifests` never does. It has no such door for tasks, so our folder and the names of
:mod:`eval_ext.task_index` are added behind all others that are searched; a name that exists already is never taken
over. ``LONGVT_LMMS_EVAL_TASKS=0`` leaves all of them out. No plugin of ours is loaded here.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval_ext.task_index import add_ours, config_of, scores_ours

TASKS_FOLDER = Path(__file__).parent / "tasks"
TASKS_VARIABLE = "LONGVT_LMMS_EVAL_TASKS"

MODELS = {"longvt": "eval_ext.model.LongvtServer", "longvt_hf": "eval_ext.model.LongvtLocal"}
"""Names for ``--model`` and their classes."""

logger = logging.getLogger(__name__)


def manifests() -> list[Any]:
    """The models, as lmms-eval wants them; none if this lmms-eval is not one that we know."""
    try:
        if os.environ.get(TASKS_VARIABLE, "1") != "0":
            add_tasks()
        from lmms_eval.models.registry_v2 import ModelManifest

        return [ModelManifest(model_id=name, chat_class_path=path) for name, path in MODELS.items()]
    except Exception:
        logger.exception("longvt-plugins could not enter lmms-eval; its models and tasks are missing")
        return []


def add_tasks() -> None:
    """Makes every ``TaskManager`` know our tasks, behind all others. A second time does nothing."""
    from lmms_eval.tasks import TaskManager

    if not hasattr(TaskManager.initialize_tasks, "longvt_tasks_folder"):
        TaskManager.initialize_tasks = _searching_ours_last(TaskManager.initialize_tasks)
        TaskManager._get_config = _knowing_ours(TaskManager._get_config)


def _searching_ours_last(initialize_tasks: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(initialize_tasks)
    def initialize(self: Any, include_path: str | list[str] | None = None, *args: Any, **kwargs: Any) -> Any:
        given = [include_path] if isinstance(include_path, str) else list(include_path or [])
        index = initialize_tasks(self, [*given, str(TASKS_FOLDER)], *args, **kwargs)
        add_ours(index, over_built_in=scores_ours(os.environ))
        return index

    initialize.longvt_tasks_folder = TASKS_FOLDER  # type: ignore[attr-defined]
    return initialize


def _knowing_ours(get_config: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(get_config)
    def config(self: Any, name: str) -> Any:
        ours = config_of(self.task_index.get(name, {}))
        return get_config(self, name) if ours is None else ours

    return config
