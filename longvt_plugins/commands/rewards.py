r"""``longvt rewards``: which rewards there are, and what saved rollouts would score with others.

::

    longvt rewards list
    longvt rewards score runs/rl/rollouts --rewards longvt
    longvt rewards score runs/rl/rollouts --rewards longvt_recall --against longvt --plot compare.svg
    longvt rewards score runs/rl/rollouts --rewards answer_reward,format_reward --weights 0.8,0.2 \
        --judge llm --base-url http://127.0.0.1:1234/v1 --model judge --against saved --out rescored.parquet

``--rewards`` and ``--against`` take the name of a preset, or functions by name or dotted path with commas between;
``saved`` are the rewards that the rollouts were saved with. Both are asked of one judge unless ``--against-judge``
names another. What is not said of a judge's server is taken from ``LLM_AS_A_JUDGE_BASE``, or ``OPENAI_BASE_URL``,
``OPENAI_API_KEY`` and ``OPENAI_MODEL_NAME``.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from longvt_plugins.judges import Judge
    from trl_ext.rescoring import Comparison, Rescored, Setting


def add_parser(subparsers: Any) -> None:
    """Adds the options of this command."""
    parser = subparsers.add_parser("rewards", description="Which rewards there are, and what rollouts would score.")
    actions = parser.add_subparsers(dest="action", metavar="list|score", required=True)
    actions.add_parser("list", description="The reward functions and the presets.")
    score = actions.add_parser("score", description="Score saved rollouts again, and compare two settings.")
    score.add_argument("rollouts", type=Path, help="folder of rollouts-*.parquet, or one such file")
    score.add_argument("--rewards", required=True, metavar="A,B|PRESET", help="reward functions, or a preset")
    score.add_argument("--weights", metavar="X,Y", help="of the functions, in order (default: the preset's, or 1)")
    score.add_argument("--judge", metavar="NAME", default="exact", help="exact, llm, cascade or a plugin's")
    score.add_argument("--base-url", metavar="URL", help="address of the judge's server, ending in /v1")
    score.add_argument("--model", metavar="NAME", help="the name that the server knows it by")
    score.add_argument("--option", metavar="NAME=VALUE", action="append", default=[], help="any other setting of it")
    score.add_argument("--patience", metavar="SECONDS", type=float, default=60.0, help="that it may stay down")
    score.add_argument("--against", metavar="A,B|PRESET|saved", help="another setting, compared with the first")
    score.add_argument("--against-weights", metavar="X,Y")
    score.add_argument("--against-judge", metavar="NAME", help="(default: the same)")
    score.add_argument("--against-option", metavar="NAME=VALUE", action="append", default=[])
    score.add_argument("--out", metavar="FILE", type=Path, help="write the rollouts with their new rewards, .parquet")
    score.add_argument("--plot", metavar="FILE", type=Path, help="draw the comparison, .svg")
    score.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Lists or scores."""
    return _list() if args.action == "list" else _score(args)


def _list() -> int:
    import inspect

    from rich import box
    from rich.table import Table

    from trl_ext.rewards import REWARDS
    from trl_ext.rewards.presets import PRESETS

    console = _console()
    functions = Table("reward", "what it is", box=box.SIMPLE_HEAD)
    for name, function in REWARDS.items():
        functions.add_row(name, (inspect.getdoc(function) or "").partition("\n")[0].replace("``", ""))
    console.print(functions)
    presets = Table("preset", "sum", "source", box=box.SIMPLE_HEAD)
    for name, preset in PRESETS.items():
        terms = " + ".join(f"{weight:g} {reward}" for reward, weight in preset.weights.items())
        presets.add_row(name, terms, preset.source)
    console.print(presets)
    return 0


def _score(args: argparse.Namespace) -> int:
    from longvt_plugins.progress import show_progress
    from longvt_plugins.rollouts import read_rollouts, write_rollouts
    from trl_ext.rescoring import compare, rescore
    from trl_ext.rescoring_plot import comparison_svg

    _check(args)
    setting = _setting(args.rewards, args.weights, args.judge, args.option, args)
    against = None
    if args.against is not None:
        same = args.against_judge in (None, args.judge)
        options = [*(args.option if same else []), *args.against_option]
        judge = args.judge if same else args.against_judge
        against = _setting(args.against, args.against_weights, judge, options, args)
    rollouts = read_rollouts(args.rollouts)
    with show_progress(_console(stderr=True)) as tell:
        new = rescore(rollouts, setting, patience=args.patience, tell=functools.partial(tell, args.rewards))
        if against is None:
            old = None
        else:
            telling = functools.partial(tell, f"against {args.against}")
            old = rescore(rollouts, against, patience=args.patience, tell=telling)
    if args.out is not None:
        write_rollouts(new.rewarded(), args.out)
    found = compare(new, old) if old is not None else None
    if args.plot is not None and old is not None and found is not None:
        picture = comparison_svg(new, old, found, names=(args.rewards, args.against))
        args.plot.write_text(picture, encoding="utf-8")
    if args.json:
        record: dict[str, Any] = {"rewards": args.rewards, **_record(new)}
        if old is not None and found is not None:
            record |= {"against": {"rewards": args.against, **_record(old)}, "comparison": found.record()}
        print(json.dumps(record, indent=2))
    else:
        _print(args, new, old, found)
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.against is None and (args.plot or args.against_weights or args.against_judge or args.against_option):
        raise ConfigError("longvt rewards score compares, and draws, only with --against another setting")
    for path, suffix in ((args.out, ".parquet"), (args.plot, ".svg")):
        if path is not None and path.suffix != suffix:
            raise ConfigError(f"{path} must end in {suffix}")
        if path is not None and not path.parent.is_dir():
            raise ConfigError(f"no folder {path.parent} for {path.name}")


def _setting(
    rewards: str, weights: str | None, judge: str, options: Sequence[str], args: argparse.Namespace
) -> Setting:
    from trl_ext.rescoring import SAVED, Setting

    numbers = _numbers(weights) if weights is not None else None
    setting = Setting.of(rewards, numbers)
    if rewards == SAVED:
        return setting
    return Setting(setting.functions, setting.weights, _judge(judge, options, args, setting))


def _judge(name: str, options: Sequence[str], args: argparse.Namespace, setting: Setting) -> Judge | None:
    import yaml

    from longvt_plugins.judges import JudgeConfig
    from longvt_plugins.judges.environment import ASKING_JUDGES, judge_options_from_environment
    from longvt_plugins.plugins import create_plugin_manager
    from trl_ext.reward_choice import choose_judge

    given: dict[str, Any] = {}
    if name in ASKING_JUDGES:
        given = {key: value for key in ("base_url", "model") if (value := getattr(args, key)) is not None}
    for text in options:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--option needs NAME=VALUE, such as rubric=binary, not {text!r}")
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            given[key] = value
    config = JudgeConfig(name, judge_options_from_environment(os.environ, name, given))
    return choose_judge(config, list(setting.functions.values()), create_plugin_manager())


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ConfigError(f"weights are numbers with commas between, such as 0.8,0.2, not {text!r}") from None


def _record(found: Rescored) -> dict[str, Any]:
    groups = [group for group in found.groups if len(group) > 1]
    judged = [judgement for verdicts in found.verdicts for judgement in verdicts.judgements if judgement is not None]
    return {
        "rollouts": len(found.rollouts),
        "abstained": len(found.abstained),
        "means": {name: _mean(values) for name, values in found.scores.items()},
        "sum": _mean(found.totals),
        "groups": len(groups),
        "groups_without_signal": sum(max(group) - min(group) < 1e-6 for group in groups),
        "judged": len(judged),
        "cost": sum(judgement.cost for judgement in {id(one): one for one in judged if not one.cached}.values()),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return statistics.fmean(given) if given else None


def _print(args: argparse.Namespace, new: Rescored, old: Rescored | None, found: Comparison | None) -> None:
    from rich import box
    from rich.table import Table

    console = _console()
    columns = [_record(new), *([_record(old)] if old is not None else [])]
    table = Table("", args.rewards, *([args.against] if old is not None else []), box=box.SIMPLE_HEAD)
    for name in dict.fromkeys(name for column in columns for name in column["means"]):
        table.add_row(f"mean {name}", *(_cell(column["means"].get(name)) for column in columns))
    table.add_row("mean sum", *(_cell(column["sum"]) for column in columns))
    table.add_section()
    for title, key in (
        ("rollouts", "rollouts"),
        ("of these not scored", "abstained"),
        ("groups of two or more", "groups"),
        ("of these without signal", "groups_without_signal"),
        ("verdicts of a judge", "judged"),
        ("their cost in dollars", "cost"),
    ):
        table.add_row(title, *(_cell(column[key]) for column in columns))
    console.print(table)
    if found is not None:
        console.print(_comparison(found, args.rewards, args.against))
    for path in (args.out, args.plot):
        if path is not None:
            console.print(f"wrote {path}")


def _comparison(found: Comparison, new: str, old: str) -> Any:
    from rich import box
    from rich.table import Table

    record = found.record()
    table = Table(f"{new} against {old}", "", "of", box=box.SIMPLE_HEAD)
    table.add_row("equal sums", _cell(found.same_sum), f"{found.rollouts} rollouts")
    table.add_row("on the same side of the group's mean", _cell(found.same_direction), f"{found.rollouts} rollouts")
    table.add_row("pairs ordered alike", _cell(found.same_order), f"{found.pairs} pairs within groups")
    table.add_row("Spearman's rank correlation", _cell(record["spearman"]), f"{len(found.spearman)} groups, mean")
    table.add_row("Kendall's tau-b", _cell(record["kendall"]), f"{len(found.kendall)} groups, mean")
    table.add_section()
    table.add_row(f"groups with signal under {new}", str(found.signal), f"{found.groups} groups")
    table.add_row(f"groups with signal under {old}", str(found.signal_before), f"{found.groups} groups")
    table.add_row("groups that lose their signal", str(found.lost), f"{found.signal_before} groups")
    table.add_row("groups that gain one", str(found.gained), f"{found.groups - found.signal_before} groups")
    return table


def _cell(value: float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.4f}"


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False, stderr=stderr)
    # In a pipe there is no width to fit into, and a name that is cut cannot be searched for.
    if not console.is_terminal:
        console.width = 200
    return console
