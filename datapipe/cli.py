"""``datapipe``: lists the installed steps and runs one of them.

::

    datapipe steps
    datapipe step probe_video --input videos --output runs/probe --set min_seconds=60
    probe_video: 41 kept, 3 dropped, 1 failed of 45

A run writes ``kept.jsonl`` (records, the input of the next step), ``dropped.jsonl`` and ``failed.jsonl``
(each record with its reason or error), line by line as it goes, and ``step.json`` (what was run, with
which configuration). It exits with 1 when every record failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from longvt_plugins.console import one_line, run_command
from longvt_plugins.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from datapipe.step import Step
    from longvt_plugins.registry import Registry


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script.

    Args:
        argv: Without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    return run_command("datapipe", lambda: _run(argv))


def _run(argv: list[str] | None) -> int:
    args = _parser().parse_args(argv)
    return _list_steps() if args.command == "steps" else _run_step(args)


def _list_steps() -> int:
    steps = _installed_steps()
    for name in steps:
        step = steps.get(name)
        print(f"{name} {step.version} ({steps.provider(name)}): {(step.__doc__ or '').strip().splitlines()[0]}")
        for field in dataclasses.fields(step):
            kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
            print(f"  {field.name}: {kind}{_default(field)}")
    return 0


def _installed_steps() -> Registry[type[Step[Any, Any]]]:
    from datapipe.step import Step
    from longvt_plugins.plugins import create_plugin_manager

    steps = create_plugin_manager().steps
    for name in steps:
        if not issubclass(steps.get(name), Step):
            raise PluginError(f"step {name!r} ({steps.provider(name)}) is not a subclass of datapipe.Step")
    return steps


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f" = {field.default!r}"
    return "" if field.default_factory is dataclasses.MISSING else f" = {field.default_factory()!r}"


def _run_step(args: argparse.Namespace) -> int:
    from datapipe.run_step import run_step

    step = _installed_steps().get(args.name).from_config(dict(map(_setting, args.set)))
    counts = run_step(step, args.input, args.output)
    total = counts.total()
    print(f"{step.name}: {', '.join(f'{count} {name}' for name, count in counts.items())} of {total}")
    return 1 if counts["failed"] == total else 0


def _setting(text: str) -> tuple[str, Any]:
    import yaml

    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigError(f"--set takes KEY=VALUE, not {text!r}")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: the value is not YAML: {one_line(error)}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="datapipe", description="The data pipeline for long-video agents.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("steps", help="list the installed steps and their fields")
    step = commands.add_parser("step", help="run one step")
    step.add_argument("name", metavar="NAME", help="a step that `datapipe steps` lists")
    step.add_argument("--input", required=True, metavar="IN", help="folder of videos, text file of paths, or .jsonl")
    step.add_argument("--output", required=True, metavar="OUT", help="folder for the results")
    step.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="sets a field of the step (YAML)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
