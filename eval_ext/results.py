"""What lmms-eval left in an output folder: the newest results of every task, and its log of samples.

::

    results = read_results("runs/eval")["videosiah_eval_tool"]
    results.numbers["accuracy"], results.failed_share      # 0.42, 0.01
    results.samples()                                      # one dict for each question, with --log_samples

lmms-eval writes ``<output_path>/<model>/<date>_results.json`` and ``<date>_samples_<task>.jsonl`` beside it. Nothing is
scored here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError

_RESULTS = "_results.json"


@dataclass(frozen=True)
class TaskResults:
    """One task of one run.

    Attributes:
        task: Its name.
        file: The results file.
        model: As lmms-eval names it.
        numbers: By metric; those of the first filter, where there are several.
        questions: How many were asked.
        fingerprint: Of the questions, where the task is one of ours that says so.
    """

    task: str
    file: Path
    model: str
    numbers: dict[str, Any]
    questions: int
    fingerprint: str | None

    @property
    def counts_failures(self) -> bool:
        """The task tells questions that failed from wrong answers, as ours do."""
        return "failed" in self.numbers and "scored" in self.numbers

    @property
    def failed_share(self) -> float:
        """Share of the questions that have no score, 0 where the task does not say."""
        failed, scored = self.number("failed") or 0.0, self.number("scored") or 0.0
        return failed / (failed + scored) if failed else 0.0

    def number(self, metric: str) -> float | None:
        """One metric; None where there is none, or where it is no finite number."""
        value = self.numbers.get(metric)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return float(value)

    def samples(self) -> list[dict[str, Any]]:
        """What was logged of each question.

        Raises:
            ConfigError: It was not logged, or the log is damaged.
        """
        date = self.file.name.removesuffix(_RESULTS)
        path = self.file.with_name(f"{date}_samples_{self.task}.jsonl")
        if not path.is_file():
            raise ConfigError(f"{self.file.parent} has no {path.name}: evaluate with --log_samples")
        lines = path.read_text(encoding="utf-8").splitlines()
        try:
            samples = [json.loads(line) for line in lines if line.strip()]
        except ValueError as error:
            raise ConfigError(f"{path} is not a log of samples: {error}") from None
        if not all(isinstance(sample, dict) and "doc_id" in sample for sample in samples):
            raise ConfigError(f"{path} is not a log of samples: a line has no doc_id")
        return samples


def results_files(folder: Path) -> dict[Path, int]:
    """Every results file under a folder, and when it was written: nanoseconds since 1970."""
    return {file: file.stat().st_mtime_ns for file in folder.rglob(f"*{_RESULTS}")}


def read_results(path: Path) -> dict[str, TaskResults]:
    """The newest results of every task.

    Args:
        path: An output folder, or one results file.

    Raises:
        ConfigError: No results there, results of several models, or a file that holds none.
    """
    if path.is_file():
        return read_files([path])
    files = results_files(path)
    if not files:
        raise ConfigError(f"no results of lmms-eval in {path}: expected *{_RESULTS}, which --output_path asks for")
    folders = sorted({str(file.parent) for file in files})
    if len(folders) > 1:
        raise ConfigError(f"{path} holds results of several models; name one of {', '.join(folders)}")
    return read_files(files)


def read_files(files: Iterable[Path]) -> dict[str, TaskResults]:
    """The tasks of these files; of one that is in several, the newest.

    Raises:
        ConfigError: A file that holds no results.
    """
    tasks: dict[str, TaskResults] = {}
    # Names begin with the date.
    for file in sorted(files, key=lambda file: file.name):
        tasks |= {task.task: task for task in _read_file(file)}
    return tasks


def members(file: Path) -> dict[str, list[str]]:
    """The groups of a results file, and the tasks in them."""
    groups = _load(file).get("group_subtasks") or {}
    return {name: list(tasks) for name, tasks in groups.items()}


def _read_file(file: Path) -> list[TaskResults]:
    report = _load(file)
    configs, counts = report.get("configs") or {}, report.get("n-samples") or {}
    model = str(report.get("model_name") or report.get("model_source") or "")
    found = []
    for name, values in report["results"].items():
        if name not in configs:
            continue  # a group, which repeats its tasks
        metadata = configs[name].get("metadata")
        fingerprint = metadata.get("longvt_data_fingerprint") if isinstance(metadata, dict) else None
        questions = int((counts.get(name) or {}).get("effective") or 0)
        found.append(TaskResults(name, file, model, _numbers(values), questions, fingerprint))
    return found


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for key, value in values.items():
        metric, comma, _ = key.partition(",")
        if comma and not metric.endswith(("_stderr", "_stderr_clt", "_stderr_clustered")):
            numbers.setdefault(metric, value)
    return numbers


def _load(file: Path) -> dict[str, Any]:
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as results of lmms-eval: {error}") from None
    if not isinstance(report, dict) or not isinstance(report.get("results"), dict):
        raise ConfigError(f"{file} holds no results of lmms-eval")
    return report
