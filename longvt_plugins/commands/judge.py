"""``longvt judge``: how well a judge agrees with people, and whether it can be trusted at all.

::

    longvt judge calibrate                                    the exact judge on the labels of this project
    longvt judge calibrate --judge llm --base-url http://127.0.0.1:1234/v1 --model judge --rubric binary
    longvt judge calibrate --judge cascade --labels mine.jsonl --out runs/calibration --json
    longvt judge check --judge llm                            the three questions that a training asks first

What is not said is taken from ``LLM_AS_A_JUDGE_BASE``, or ``OPENAI_BASE_URL``, ``OPENAI_API_KEY`` and
``OPENAI_MODEL_NAME``. Any other setting of a judge is an ``--option NAME=VALUE``. With ``--out`` every verdict is
kept in parquet, and ``report.json`` beside them is what ``--json`` prints.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError, JudgeError

if TYPE_CHECKING:
    from rich.console import Console

    from longvt_plugins.judges import Judge, JudgeConfig
    from longvt_plugins.judges.calibration import Agreement, Report
    from longvt_plugins.progress import Tell


def add_parser(subparsers: Any) -> None:
    """Adds the options of this command."""
    parser = subparsers.add_parser("judge", description="Try a judge before it gives rewards.")
    actions = parser.add_subparsers(dest="action", metavar="calibrate|check", required=True)
    calibrate = actions.add_parser("calibrate", description="Ask a judge about answers whose labels are known.")
    _add_judge(calibrate)
    calibrate.add_argument("--labels", metavar="FILE", type=Path, help="your own, .jsonl (default: the project's)")
    calibrate.add_argument("--out", metavar="DIR", type=Path, help="keep report.json and every verdict here")
    calibrate.add_argument("--show", metavar="N", type=int, default=0, help="print the first N disagreements")
    calibrate.add_argument("--json", action="store_true", help="print JSON instead of tables")
    check = actions.add_parser("check", description="Ask three known questions; fail if the judge fails them.")
    _add_judge(check)


def _add_judge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--judge", metavar="NAME", default="exact", help="exact, llm, cascade or a plugin's")
    parser.add_argument("--base-url", metavar="URL", help="the server's address, ending in /v1")
    parser.add_argument("--model", metavar="NAME", help="the name that the server knows it by")
    parser.add_argument("--rubric", metavar="NAME", help="graded, binary, or a .yaml or .jinja file")
    parser.add_argument(
        "--option", metavar="NAME=VALUE", action="append", default=[], help="any other setting, such as maths=true"
    )


def run(args: argparse.Namespace) -> int:
    """Calibrates or checks."""
    config = _config(args)
    return _check(config) if args.action == "check" else _calibrate(args, config)


def _config(args: argparse.Namespace) -> JudgeConfig:
    import yaml

    from longvt_plugins.judges import JudgeConfig
    from longvt_plugins.judges.environment import judge_options_from_environment

    given = {"base_url": args.base_url, "model": args.model, "rubric": args.rubric}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for text in args.option:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"--option needs NAME=VALUE, such as max_tokens=1024, not {text!r}")
        try:
            options[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            options[name] = value
    return JudgeConfig(args.judge, judge_options_from_environment(os.environ, args.judge, options))


def _make(config: JudgeConfig) -> Judge:
    from longvt_plugins.plugins import create_plugin_manager

    return create_plugin_manager().judges.get(config.name)(config)


def _check(config: JudgeConfig) -> int:
    from longvt_plugins.judges import close_judge
    from longvt_plugins.judges.check import check_judge

    async def check() -> None:
        judge = _make(config)
        try:
            await check_judge(judge)
        finally:
            await close_judge(judge)

    asyncio.run(check())
    print(f"the judge {config.name} passes")
    return 0


def _calibrate(args: argparse.Namespace, config: JudgeConfig) -> int:
    from longvt_plugins.judges import close_judge
    from longvt_plugins.judges.audit import AuditedJudge, AuditLog
    from longvt_plugins.judges.calibration import calibrate, read_labels
    from longvt_plugins.progress import show_progress

    if args.show < 0:
        raise ConfigError(f"--show must not be negative, not {args.show}")
    labels = read_labels(args.labels)

    async def ask(tell: Tell) -> Report:
        judge = _make(config)
        if args.out is not None:
            judge = AuditedJudge(judge, AuditLog(args.out), config.name)
        try:
            return await calibrate(judge, labels, progress=lambda done, total: tell("verdicts", done, total))
        finally:
            await close_judge(judge)

    console = _console(stderr=args.json)
    with show_progress(console) as tell:
        report = asyncio.run(ask(tell))
    record = {"judge": config.record(), "labels": str(args.labels or "built-in"), **report.record()}
    if args.out is not None:
        (args.out / "report.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if args.json:
        print(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        _print_report(console, report, args.show)
    _refuse_if_mostly_missing(report, config)
    return 0


def _refuse_if_mostly_missing(report: Report, config: JudgeConfig) -> None:
    had = report.total.rows - report.total.missing
    if had < report.total.missing:
        reason = next(judgement.reason for _, judgement in report.found if judgement.score is None)
        raise JudgeError(f"the judge {config.name!r} had a verdict on {had} of {report.total.rows} answers: {reason}")


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False, stderr=stderr)
    # In a pipe there is no width to fit into.
    if not console.is_terminal:
        console.width = 200
    return console


def _print_report(console: Console, report: Report, shown: int) -> None:
    from rich import box
    from rich.table import Table

    from longvt_plugins.judges.calibration import CLASSES, NO_VERDICT

    columns = ("answers", "agree", "too kind", "too hard", "no verdict")
    table = Table("category", *columns, box=box.SIMPLE_HEAD)
    for name, agreement in sorted(report.by_category.items()):
        table.add_row(name, *_cells(agreement))
    table.add_section()
    table.add_row("all", *_cells(report.total))
    console.print(table)
    confusion = Table("label \\ verdict", *CLASSES, NO_VERDICT, box=box.SIMPLE_HEAD)
    for label in CLASSES:
        counts = [report.total.confusion[label, verdict] for verdict in (*CLASSES, NO_VERDICT)]
        if any(counts):
            confusion.add_row(label, *map(str, counts))
    console.print(confusion)
    if interval := report.total.interval():
        console.print(f"agreement {report.total.agreement:.3f} [{interval[0]:.3f}, {interval[1]:.3f}] (95 %)")
    console.print(
        f"{report.seconds:.1f} s, ${report.cost:.4f}, {report.cached} of {report.total.rows} from the cache\n"
        f"judge {report.fingerprint}, labels {report.labels_hash}"
    )
    for asked, judgement in report.disagreements()[:shown]:
        score = "none" if judgement.score is None else f"{judgement.score:g}"
        console.print(
            f"\n{asked.id}: {asked.label:g}, judged {score}\n  {asked.question}\n  reference: {asked.reference}\n"
            f"  answer:    {' '.join(asked.answer.split())[:200]}\n  reason:    {judgement.reason}"
        )


def _cells(agreement: Agreement) -> list[str]:
    share = "-" if agreement.agreement is None else f"{agreement.agreement:.3f}"
    return [str(agreement.rows), share, *map(str, (agreement.too_kind, agreement.too_hard, agreement.missing))]
