"""``longvt eval``: evaluates through lmms-eval and ends with an error where the numbers cannot be trusted.

::

    longvt eval --tasks videosiah_eval_tool --model_args base_url=http://localhost:8000/v1,model=longvt
    longvt eval list                                            # our tasks
    longvt eval compare runs/a runs/b --html compare.html       # the same questions, two models
    longvt eval doctor --tasks lvbench_tool --model_args ...    # what would end or spoil it; asks no question

It takes lmms-eval's own options and hands them on. What it adds: the doctor looks at it first, our scorers stand for
LongVT's tasks (``LONGVT_TASKS=ours``), samples are logged, and what lmms-eval left is checked, whose exit code is
always 0.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError, EvaluationError

if TYPE_CHECKING:
    from eval_ext.compare import Comparison, Paired
    from eval_ext.results import TaskResults
    from longvt_plugins.finding import Finding

OUTPUT_PATH = "runs/eval"

WIDTH_OF_FILES = 240
"""Letters of a table's line, where it is not written to a terminal."""


def run(argv: list[str]) -> int:
    """Runs one of the four; without a name, the evaluation."""
    actions = {"run": _run, "doctor": _doctor, "list": _list, "compare": _compare}
    if argv and argv[0] in actions:
        return actions[argv[0]](argv[1:])
    if argv and not argv[0].startswith("-"):
        raise ConfigError(f"longvt eval has no command {argv[0]!r}; there are: {', '.join(actions)}")
    return _run(argv)


def _run(argv: list[str]) -> int:
    from eval_ext.run import MAX_FAILED, Evaluation, run_evaluation, selected

    parser = argparse.ArgumentParser(
        prog="longvt eval",
        usage="longvt eval --tasks TASKS [options] [options of lmms-eval]",
        description="Evaluates through lmms-eval, whose options it takes, and checks what came of it.",
        epilog="longvt eval list lists our tasks; longvt eval compare A B compares two runs; longvt eval doctor looks "
        "for what would end or spoil a run.",
        allow_abbrev=False,
    )
    _add_subject(parser)
    parser.add_argument("--max-failed", type=float, default=MAX_FAILED, metavar="SHARE",
                        help="of a task's questions that may fail, from 0 to 1 (default %(default)s)")  # fmt: skip
    parser.add_argument("--processes", type=int, default=1, help="started by accelerate launch (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write numbers and faults")
    parser.add_argument("--no-doctor", action="store_true", help="start at once")
    args, rest = parser.parse_known_args(argv)
    if any(each == "--config" or each.startswith("--config=") for each in rest):
        raise ConfigError("longvt eval checks the tasks that it is given: name them with --tasks instead of --config")
    if "--log_samples" not in rest:
        rest = [*rest, "--log_samples"]
    evaluation = Evaluation(
        selected(args.tasks),
        args.output_path,
        ("--model", args.model, *(["--model_args", args.model_args] if args.model_args else []), *rest),
        processes=args.processes,
        max_failed=args.max_failed,
    )
    if not args.no_doctor:
        _stop_at_blockers(_examine(evaluation.tasks, args, rest))
    finished = run_evaluation(evaluation, os.environ)
    if finished.tasks:
        _print_results(finished.tasks)
    if args.json is not None:
        numbers = {name: task.numbers | {"questions": task.questions} for name, task in finished.tasks.items()}
        args.json.write_text(json.dumps({"tasks": numbers, "faults": finished.faults}, indent=1) + "\n", "utf-8")
    if finished.faults:
        raise EvaluationError(f"these numbers cannot be trusted: {'; '.join(finished.faults)}")
    return 0


def _doctor(argv: list[str]) -> int:
    from eval_ext.run import Evaluation, selected
    from longvt_plugins.finding import findings_report, print_findings

    parser = argparse.ArgumentParser(
        prog="longvt eval doctor",
        description="Looks for what would end or spoil an evaluation. Exit code 1: there is a blocker.",
        epilog="Other options of lmms-eval are taken and not looked at.",
        allow_abbrev=False,
    )
    _add_subject(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args, rest = parser.parse_known_args(argv)
    findings = _examine(Evaluation(selected(args.tasks), args.output_path).tasks, args, rest)
    if args.json:
        print(json.dumps(findings_report(findings), indent=2, ensure_ascii=False))
    else:
        print_findings(findings)
    return int(any(finding.level == "blocker" for finding in findings))


def _add_subject(parser: argparse.ArgumentParser) -> None:
    """What is evaluated, as lmms-eval names it."""
    parser.add_argument("--tasks", action="append", default=[], metavar="TASKS", help="names, parted by commas")
    parser.add_argument("--model", default="longvt", help="longvt asks a server, longvt_hf runs a checkpoint")
    parser.add_argument(
        "--model_args", default="", metavar="KEY=VALUE,...", help="of the model, see docs/evaluation.md"
    )
    parser.add_argument("--output_path", type=Path, default=Path(OUTPUT_PATH), help="folder (default %(default)s)")


def _examine(tasks: tuple[str, ...], args: argparse.Namespace, rest: list[str]) -> list[Finding]:
    from eval_ext.doctor import examine
    from trl_ext.doctor.versions import check_together, installed

    # A training's versions, some of them; here nothing ends with one that TRL does not know.
    versions = [replace(finding, level="warning") for finding in check_together(installed())]
    own_tasks = any(each.split("=")[0] == "--include_path" for each in rest)
    return [
        *versions,
        *examine(tasks, args.model, args.model_args, args.output_path, os.environ, own_tasks=own_tasks),
    ]


def _stop_at_blockers(findings: list[Finding]) -> None:
    """Tells every warning; a blocker ends the command."""
    for finding in findings:
        if finding.level == "warning":
            sys.stderr.write(f"longvt eval: {finding.what}; cure: {finding.cure}\n")
    blockers = [f"{finding.what}; cure: {finding.cure}" for finding in findings if finding.level == "blocker"]
    if blockers:
        raise ConfigError(f"{' | '.join(blockers)} (--no-doctor starts all the same)")


def _print_results(tasks: dict[str, TaskResults]) -> None:
    from eval_ext.run import task_rows

    heading, rows = task_rows(tasks)
    _print_table(heading, rows)
    folders = sorted({str(task.file.parent) for task in tasks.values()})
    print(f"results: {', '.join(folders)}")


def _print_table(heading: list[str], rows: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for number, name in enumerate(heading):
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=not number)
    for row in rows:
        table.add_row(*map(Text, row))
    # In a file a line is as long as it has to be.
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_FILES)
    console.print(table)


def _list(argv: list[str]) -> int:
    from eval_ext.tasks.catalogue import catalogue

    parser = argparse.ArgumentParser(
        prog="longvt eval list", description="Lists the tasks that this package adds to lmms-eval."
    )
    parser.add_argument("pattern", nargs="?", default="*", help="names like this, such as 'lvbench*'")
    args = parser.parse_args(argv)
    entries = [entry for entry in catalogue() if fnmatch.fnmatchcase(entry.name, args.pattern)]
    if not entries:
        raise ConfigError(f"no task of ours is named {args.pattern!r}; `longvt eval list` shows all of them")
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        what = [entry.benchmark or "all benchmarks", entry.form or "all forms", *filter(None, [entry.control])]
        if entry.alias_of:
            what.append(f"another name of {entry.alias_of}")
        elif entry.members:
            what.append(f"{len(entry.members)} tasks")
        print(f"{entry.name:<{width}}  {', '.join(what)}")
    return 0


def _compare(argv: list[str]) -> int:
    from eval_ext.compare import compare
    from eval_ext.compare_plot import comparison_page, comparison_svg

    parser = argparse.ArgumentParser(
        prog="longvt eval compare",
        description="Compares two evaluations of the same questions. Needs the log of samples of both.",
    )
    parser.add_argument("a", type=Path, help="output folder of lmms-eval, or a results file")
    parser.add_argument("b", type=Path, help="another one; differences are b minus a")
    parser.add_argument("--task", metavar="TASK[:TASK]",
                        help="compare this task; A:B compares A of the first with B of the second")  # fmt: skip
    parser.add_argument("--metric", default="accuracy", help="score of each question (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the differences and their intervals")
    parser.add_argument("--html", type=Path, metavar="FILE", help="a page with the picture and the numbers")
    args = parser.parse_args(argv)
    pairs = _pairs(args.a, args.b, args.task)
    if len(pairs) > 1 and (args.svg or args.html):
        raise ConfigError(
            f"one picture shows one task: name it with --task, one of {', '.join(a.task for a, _ in pairs)}"
        )
    report = {}
    for a, b in pairs:
        found = compare(a, b, args.metric)
        names = _names(args.a, args.b, a, b)
        report[a.task if a.task == b.task else f"{a.task}:{b.task}"] = _record(found)
        _print_comparison(found, a, b)
        if args.svg is not None:
            args.svg.write_text(comparison_svg(found, names=names), encoding="utf-8")
        if args.html is not None:
            args.html.write_text(comparison_page(found, names=names), encoding="utf-8")
    if args.json is not None:
        written = {"a": str(args.a), "b": str(args.b), "metric": args.metric, "tasks": report}
        args.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return 0


def _pairs(first: Path, second: Path, named: str | None) -> list[tuple[TaskResults, TaskResults]]:
    from eval_ext.results import read_results

    a, b = read_results(first), read_results(second)
    if named is not None:
        one, _, other = named.partition(":")
        chosen = (one, other or one)
        for name, tasks, path in zip(chosen, (a, b), (first, second), strict=True):
            if name not in tasks:
                raise ConfigError(f"{path} has no results of task {name!r}; it has {', '.join(sorted(tasks))}")
        return [(a[chosen[0]], b[chosen[1]])]
    if len(a) == len(b) == 1:
        return [(*a.values(), *b.values())]  # type: ignore[list-item]
    shared = sorted(a.keys() & b.keys())
    if not shared:
        raise ConfigError(
            f"no task is in both: {first} has {', '.join(sorted(a))}, {second} has {', '.join(sorted(b))}; "
            "--task A:B compares two forms of one benchmark"
        )
    return [(a[name], b[name]) for name in shared]


def _names(first: Path, second: Path, a: TaskResults, b: TaskResults) -> tuple[str, str]:
    """What tells the two apart: their tasks, their models, or else their folders."""
    for names in ((a.task, b.task), (a.model, b.model)):
        if names[0] != names[1]:
            return names
    return str(first), str(second)


def _print_comparison(found: Comparison, a: TaskResults, b: TaskResults) -> None:
    print(f"{found.metric} of {a.task} ({a.model}) and {b.task} ({b.model})")
    heading = ["questions of", "n", "a", "b", "b - a", "95 %", "only a", "only b", "p"]
    _print_table(heading, [_cells(line) for line in (found.overall, *found.categories)])
    test = {"mcnemar": "McNemar's exact test", "bootstrap": "paired bootstrap"}[found.overall.test]
    print(f"p: {test}; intervals: paired bootstrap over the questions; categories are not corrected for being many")
    if found.unscored or found.unpaired:
        print(f"left out: {found.unscored} without a score in one of them, {found.unpaired} in one of them alone")


def _cells(line: Paired) -> list[str]:
    low, high = line.ci
    return [
        line.category or "all",
        str(line.questions),
        f"{line.a:.3f}",
        f"{line.b:.3f}",
        f"{line.difference:+.3f}",
        f"[{low:+.3f}, {high:+.3f}]",
        str(line.only_a),
        str(line.only_b),
        f"{line.p:.3g}",
    ]


def _record(found: Comparison) -> dict[str, Any]:
    def one(line: Paired) -> dict[str, Any]:
        return {**asdict(line), "difference": line.difference}

    return {
        "overall": one(found.overall),
        "categories": {line.category: one(line) for line in found.categories},
        "unpaired": found.unpaired,
        "unscored": found.unscored,
    }
