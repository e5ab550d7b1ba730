"""Runs lmms-eval and says whether its numbers can be trusted, which its exit code does not: that is always 0.

::

    evaluation = Evaluation(("videosiah_eval_tool",), Path("runs/eval"), ["--model", "longvt", ...])
    finished = run_evaluation(evaluation, os.environ)
    finished.tasks["videosiah_eval_tool"].numbers["accuracy"], finished.faults      # 0.42, []

A fault is: no results file, a task that is missing in it, a task without a single score, a value that is no number, or
more questions failed than was allowed. The results stay where lmms-eval wrote them, faults or not.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import itertools
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval_ext.asked import REPORT_VARIABLE, Asked, read_asked
from eval_ext.results import TaskResults, members, read_files, results_files
from longvt_plugins.errors import ConfigError, MissingExtraError

OWN_TASKS_VARIABLE = "LONGVT_TASKS"
"""``ours``: names of lmms-eval's own tasks of LongVT stand for ours."""

MAX_FAILED = 0.05
"""Share of a task's questions that may fail, where nothing else is said: what it can move an accuracy by."""


@dataclass(frozen=True)
class Evaluation:
    """One run of lmms-eval.

    Args:
        tasks: What is asked for, as ``--tasks`` has it.
        output_path: Where lmms-eval writes its results.
        arguments: All others of lmms-eval's.
        processes: More than one are started by ``accelerate launch``.
        max_failed: Share of the questions of a task that may fail.

    Raises:
        ConfigError: A value that makes no sense.
    """

    tasks: tuple[str, ...]
    output_path: Path
    arguments: tuple[str, ...] = ()
    processes: int = 1
    max_failed: float = MAX_FAILED

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("no task is named; `longvt eval list` lists them")
        if self.processes < 1:
            raise ConfigError(f"processes must be at least 1, not {self.processes}")
        if not 0 <= self.max_failed <= 1:
            raise ConfigError(f"the share that may fail must lie between 0 and 1, not {self.max_failed}")

    @property
    def asks_a_server(self) -> bool:
        """Whether the model is ``longvt``, so that nothing is computed here."""
        pairs = itertools.pairwise(self.arguments)
        return ("--model", "longvt") in pairs or "--model=longvt" in self.arguments

    def command(self) -> list[str]:
        """What is started."""
        # Without this flag accelerate starts one process where there are not several GPUs, and says nothing.
        launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(self.processes)]
        launcher += ["--main_process_port", "0"]
        return [
            sys.executable,
            *(launcher if self.processes > 1 else []),
            *("-m", "lmms_eval", "--tasks", ",".join(self.tasks), "--output_path", str(self.output_path)),
            *self.arguments,
        ]


@dataclass(frozen=True)
class Finished:
    """What a run left.

    Attributes:
        tasks: Results by name.
        asked: What the model told of each task, where it is one of ours.
        faults: Why the numbers cannot be trusted; none if all is well.
    """

    tasks: dict[str, TaskResults]
    asked: dict[str, Asked]
    faults: list[str]


def run_evaluation(evaluation: Evaluation, environ: Mapping[str, str]) -> Finished:
    """Runs lmms-eval to its end; what it writes goes to the terminal.

    Args:
        evaluation: What to run.
        environ: ``os.environ``, at the edge.

    Raises:
        MissingExtraError: lmms-eval is not installed.
    """
    if importlib.util.find_spec("lmms_eval") is None:
        raise MissingExtraError("lmms-eval", "eval", "to evaluate")
    before = results_files(evaluation.output_path)
    with tempfile.TemporaryDirectory(prefix="longvt-eval-") as folder:
        report = Path(folder, "asked.jsonl")
        env = {OWN_TASKS_VARIABLE: "ours", **environ, REPORT_VARIABLE: str(report)}
        if evaluation.asks_a_server:
            # Its processes only wait for a server: they need no GPU each.
            env.setdefault("ACCELERATE_USE_CPU", "true")
        code = subprocess.run(evaluation.command(), env=env, check=False).returncode
        asked = read_asked(report)
    after = results_files(evaluation.output_path)
    written = [file for file, time in after.items() if before.get(file) != time]
    if not written:
        return Finished({}, asked, [f"lmms-eval wrote no results and ended with {code}; its last lines say why"])
    tasks = read_files(written)
    known = {*tasks, *(name for file in written for name in members(file))}
    faults = [] if code == 0 else [f"lmms-eval ended with {code}"]
    faults += [f"{name}: not in the results" for name in evaluation.tasks if not fnmatch.filter(known, name)]
    for task in tasks.values():
        faults += task_faults(task, asked.get(task.task), evaluation.max_failed)
    return Finished(tasks, asked, faults)


def task_faults(task: TaskResults, asked: Asked | None, max_failed: float) -> list[str]:
    """Why the numbers of one task cannot be trusted.

    Args:
        task: Its results.
        asked: What the model told, if it is one of ours.
        max_failed: Share of its questions that may fail.
    """
    if not task.questions:
        return [f"{task.task}: no question was asked"]
    if task.counts_failures and not task.number("scored"):
        return [f"{task.task}: not one question has a score{_because(asked)}"]
    share = task.failed_share
    if not task.counts_failures and asked is not None:
        share = asked.failed / task.questions
    faults = []
    if share > max_failed:
        counted = "" if task.counts_failures else ", which its scorer took for wrong answers"
        allowed = f"{max_failed:.1%} may"
        faults.append(f"{task.task}: {share:.1%} of its questions failed{counted}, {allowed}{_because(asked)}")
    if not task.counts_failures:
        # Ours write null where there is nothing to say; lmms-eval itself writes an empty list, or not-a-number.
        faults += [f"{task.task}: {name} has no value" for name, value in task.numbers.items() if _is_hole(value)]
    return faults


def _is_hole(value: object) -> bool:
    return value == [] or (isinstance(value, float) and math.isnan(value))


def _because(asked: Asked | None) -> str:
    return f": {asked.reason}" if asked is not None and asked.reason else ""


def task_rows(tasks: Mapping[str, TaskResults]) -> tuple[list[str], list[list[str]]]:
    """A table of results: its heading and its rows, columns without a single value left out.

    Args:
        tasks: Results by name.
    """
    columns: dict[str, Callable[[TaskResults], str]] = {
        "questions": lambda task: str(task.questions),
        "accuracy": lambda task: _with_interval(task, "accuracy"),
        "judged": lambda task: _with_interval(task, "judged_accuracy"),
        **{name: _reader(name) for name in ("format", "iou", "hit", "miou", "used_tools", "turns", "seconds")},
        "failed": lambda task: "" if not task.counts_failures else f"{task.number('failed') or 0:g}",
        "no verdict": lambda task: f"{missing:g}" if (missing := task.number("no_verdict")) else "",
        "other": _others,
    }
    table = {name: [column(task) for task in tasks.values()] for name, column in columns.items()}
    table = {name: cells for name, cells in table.items() if any(cells)}
    return ["task", *table], [[name, *cells] for name, *cells in zip(tasks, *table.values(), strict=True)]


def _reader(metric: str) -> Callable[[TaskResults], str]:
    def read(task: TaskResults) -> str:
        value = task.number(metric)
        return "" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"

    return read


def _with_interval(task: TaskResults, metric: str) -> str:
    value, low, high = (task.number(f"{metric}{end}") for end in ("", "_ci_low", "_ci_high"))
    if value is None:
        return ""
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def _others(task: TaskResults) -> str:
    """The numbers of a scorer that is not ours."""
    if task.counts_failures:
        return ""
    return ", ".join(f"{name} {task.number(name):.4g}" for name in task.numbers if task.number(name) is not None)


def selected(names: Sequence[str]) -> tuple[str, ...]:
    """Names of tasks as ``--tasks`` has them: parted by commas."""
    return tuple(name.strip() for text in names for name in text.split(",") if name.strip())
