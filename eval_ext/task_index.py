"""Our tasks in lmms-eval's index: names from the catalogue, configurations made when they are asked for.

::

    add_ours(index)                           # {"lvbench_tool": {"type": "python_task", ...}, ...} beside the others
    config_of(index["lvbench_tool"])          # what lmms-eval would read from a YAML

A name that the index has already is never taken over, but for lmms-eval's own tasks of VideoSIAH-Eval where
``LONGVT_TASKS=ours`` wants them scored by us.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval_ext.tasks.catalogue import BUILT_IN_LONGVT, Entry, entries
from longvt_plugins.errors import ConfigError

SCORER_VARIABLE = "LONGVT_TASKS"
OURS = "ours"

_KEY = "longvt_entry"


def scores_ours(environ: Mapping[str, str]) -> bool:
    """Whether ``longvt`` and the tasks of its family are to be ours.

    Args:
        environ: ``os.environ``, at the edge.

    Raises:
        ConfigError: The variable has another value.
    """
    value = environ.get(SCORER_VARIABLE, "")
    if value not in ("", OURS):
        raise ConfigError(f"{SCORER_VARIABLE} can only be {OURS!r}, not {value!r}")
    return value == OURS


def add_ours(index: dict[str, Any], *, over_built_in: bool) -> None:
    """Adds every name that lmms-eval does not have.

    Args:
        index: Of a ``TaskManager``.
        over_built_in: ``longvt`` and the tasks of its family become ours.
    """
    for name, entry in entries().items():
        index.setdefault(name, _indexed(name, entry))
    if over_built_in:
        for name, ours in BUILT_IN_LONGVT.items():
            index[name] = _indexed(name, entries()[ours])


def config_of(indexed: Mapping[str, Any]) -> dict[str, Any] | None:
    """The configuration of a name that :func:`add_ours` added; None for any other.

    Args:
        indexed: From the index.
    """
    if _KEY not in indexed:
        return None
    name, entry = indexed[_KEY]
    if entry.members:
        return {"group": name, "task": list(entry.members)}
    from eval_ext.tasks.benchmark_task import task_config

    return task_config(name, entry.benchmark, entry.form, None if entry.control == "no_tool" else entry.control)


def _indexed(name: str, entry: Entry) -> dict[str, Any]:
    # -1 is lmms-eval's word for: there is no file, no list of tasks.
    kind = {"type": "group", "task": -1} if entry.members else {"type": "python_task"}
    return {**kind, "yaml_path": -1, _KEY: (name, entry)}
