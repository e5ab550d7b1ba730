"""``longvt``: finds the sub-command and hands over to its module, which nothing imports before.

::

    longvt plugins                     longvt_plugins/commands/plugins.py
    longvt tool crop_video a.mp4 ...   longvt_plugins/commands/tool.py

To add a command, write its module as :mod:`longvt_plugins.commands` says and name it in ``COMMANDS``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import NamedTuple

import longvt_plugins
from longvt_plugins.console import run_command
from longvt_plugins.errors import ConfigError
from longvt_plugins.registry import did_you_mean


class Command(NamedTuple):
    """One sub-command.

    Attributes:
        module: Imported when the command is used, not before.
        help: One line for ``longvt --help``.
    """

    module: str
    help: str


COMMANDS = {
    "ask": Command("longvt_plugins.commands.ask", "ask about a video, and watch the model look for the answer"),
    "data": Command("longvt_plugins.commands.data", "look at training data, write it for `trl sft`"),
    "demo": Command("longvt_plugins.commands.demo", "train and evaluate a tiny model from made videos, on a CPU"),
    "doctor": Command("trl_ext.doctor", "look for what would end or spoil a training, before it starts"),
    "eval": Command(
        "longvt_plugins.commands.eval", "evaluate through lmms-eval, check what came of it, compare two runs"
    ),
    "grpo": Command("trl_ext.grpo", "train with TRL's GRPO, the tools as its environment"),
    "judge": Command("longvt_plugins.commands.judge", "try a judge before it gives rewards"),
    "mcp": Command("longvt_plugins.commands.mcp", "serve the tools to any MCP client, over some folders of videos"),
    "plugins": Command("longvt_plugins.commands.plugins", "list the plugins and what they give"),
    "rewards": Command("longvt_plugins.commands.rewards", "list the rewards, score saved rollouts with others"),
    "rollouts": Command("longvt_plugins.commands.rollouts", "look at saved rollouts, select what to train on next"),
    "sft": Command("trl_ext.sft", "train with TRL's SFT, frames decoded as it goes"),
    "synth": Command("longvt_plugins.commands.synth", "make a synthetic long-video world with known answers"),
    "template": Command("longvt_plugins.commands.template", "print the chat template of a model family"),
    "tool": Command("longvt_plugins.commands.tool", "run one tool on a video file, as a model would call it"),
    "ui": Command("longvt_plugins.commands.ui", "serve a page to ask about videos on this machine"),
    "video": Command("longvt_plugins.commands.video", "look at a video file, or at the cache of decoded frames"),
}


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script.

    Args:
        argv: Without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    arguments = sys.argv[1:] if argv is None else argv
    return run_command("longvt", lambda: _dispatch(arguments))


def _dispatch(argv: list[str]) -> int | None:
    chosen = argv[0] if argv else "--help"
    if chosen not in COMMANDS:
        if not chosen.startswith("-"):
            raise ConfigError(
                f"no command {chosen!r}.{did_you_mean(chosen, COMMANDS)} There are: {', '.join(COMMANDS)}"
            )
        _parser().parse_args([chosen])  # --help and --version end here, an unknown option too
        return 2
    module = importlib.import_module(COMMANDS[chosen].module)
    if not hasattr(module, "add_parser"):
        result: int | None = module.run(argv[1:])
        return result
    parser = argparse.ArgumentParser(prog="longvt")
    module.add_parser(parser.add_subparsers(dest="command"))
    result = module.run(parser.parse_args(argv))
    return result


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="longvt",
        usage="longvt COMMAND [options]",
        description="Agents that think with long videos, as plugins of TRL and lmms-eval.",
        epilog=f"commands:\n{listing}\n\n`longvt COMMAND --help` tells the options of one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"longvt-plugins {longvt_plugins.__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
