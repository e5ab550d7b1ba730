"""How our training commands start: keys that nobody knows are refused, the rest goes through ``accelerate launch``.

::

    refuse_unknown(left, parser, program="longvt grpo", replaced={"dataset_name": "the key rows names a file"})
    launch_module("trl_ext.sft", argv, of_recipe, of_command)

It parses no recipe: TRL's parser does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.registry import did_you_mean


def launch_module(module: str, argv: Sequence[str], of_recipe: list[str], of_command: list[str]) -> None:
    """Starts a module in the processes that the launcher's keys ask for, as the ``trl`` command does.

    Args:
        module: Run as ``python -m`` would.
        argv: Of the command.
        of_recipe: What the parser left over of the recipe: keys of the launcher.
        of_command: The same of ``argv``.
    """
    from accelerate.commands.launch import launch_command, launch_command_parser
    from trl.cli.accelerate_config import resolve_accelerate_config_argument

    # --quiet: the process of the training tells its own error; the launcher's traceback would bury it.
    options = ["--quiet", *resolve_accelerate_config_argument(of_recipe + of_command), "--module", module]
    launch_command(launch_command_parser().parse_args([*options, *_without(list(argv), of_command)]))


def refuse_unknown(left: Iterable[str], parser: Any, *, program: str, replaced: Mapping[str, str]) -> None:
    """Refuses a key that is neither the parser's nor the launcher's.

    Args:
        left: What the parser left over.
        parser: Of our keys and TRL's.
        program: Named in messages.
        replaced: Keys of TRL's own command that are not here, and what to do instead.

    Raises:
        ConfigError: Such a key, with the one that was probably meant.
    """
    from accelerate.commands.launch import launch_command_parser

    known = [action.dest for action in parser._actions]
    launcher = {action.dest for action in launch_command_parser()._actions} | {"accelerate_config", "config_file"}
    for name in (text.removeprefix("--").partition("=")[0].replace("-", "_") for text in left if text.startswith("--")):
        if name in replaced:
            raise ConfigError(f"{name} is a key of `{program.replace('longvt', 'trl')}`; here {replaced[name]}")
        if name not in launcher:
            raise ConfigError(
                f"no key {name!r}.{did_you_mean(name, [*known, *launcher])} `{program} --help` lists them all."
            )


def _without(items: list[str], left_out: list[str]) -> list[str]:
    """The items without those that were left over, which stand among them in the same order."""
    rest, kept = list(left_out), []
    for item in items:
        if rest and item == rest[0]:
            rest.pop(0)
        else:
            kept.append(item)
    return kept
