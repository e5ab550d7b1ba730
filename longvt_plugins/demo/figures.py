"""What was measured, read from the files that the programs wrote.

>>> read_figures(folder, "sft")["accuracy"]
0.73
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

from longvt_plugins.errors import ConfigError


class Figures(TypedDict):
    """Numbers of one evaluation; None where a number has no meaning, such as windows without tools."""

    accuracy: float | None
    accuracy_ci: list[float] | None
    format: float | None
    iou: float | None
    calls: float | None
    questions: int
    failed: int


def read_figures(folder: Path, name: str) -> Figures:
    """The figures of one evaluation.

    Args:
        folder: Work folder of the demo.
        name: Of the evaluation.

    Raises:
        ConfigError: It was not run.
    """
    path = folder / "evaluation" / name / "results.json"
    if not path.is_file():
        raise ConfigError(f"no results of {name!r} in {folder}")
    results: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["results"]
    (task,) = results.values()

    def number(metric: str) -> float | None:
        value = task.get(f"{metric},none")
        return round(float(value), 4) if isinstance(value, int | float) else None

    low, high = number("accuracy_ci_low"), number("accuracy_ci_high")
    return {
        "accuracy": number("accuracy"),
        "accuracy_ci": [low, high] if low is not None and high is not None else None,
        "format": number("format"),
        "iou": number("iou"),
        "calls": number("calls"),
        "questions": int(number("scored") or 0),
        "failed": int(number("failed") or 0),
    }


def read_curve(folder: Path, stage: str, keys: tuple[str, ...]) -> dict[str, list[tuple[int, float]]]:
    """A stage's learning curves, as the trainer logged them.

    Args:
        folder: Work folder of the demo.
        stage: Name of a training stage.
        keys: Of the trainer's log, ``"loss"`` or ``"rewards/answer_reward/mean"``.

    Returns:
        Step and value, by key; a key that was never logged is left out.

    Raises:
        ConfigError: The stage wrote no log.
    """
    states = sorted((folder / stage / "checkpoint").glob("checkpoint-*/trainer_state.json"))
    if not states:
        raise ConfigError(f"stage {stage!r} in {folder} left no trainer_state.json")
    history = json.loads(states[-1].read_text(encoding="utf-8"))["log_history"]
    curves = {key: [(int(entry["step"]), float(entry[key])) for entry in history if key in entry] for key in keys}
    return {key: points for key, points in curves.items() if points}
