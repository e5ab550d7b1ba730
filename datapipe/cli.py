"""``datapipe``: runs recipes of steps over collections of long videos, and looks at what they made.

::

    datapipe run recipes/curate.yaml --work-dir runs/demo
    datapipe status runs/demo
    datapipe show runs/demo caption --dropped
    datapipe step probe_video --input videos --output runs/probe --set min_seconds=60

Each command is a module of :mod:`datapipe.commands`.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from longvt_plugins.console import run_command

COMMANDS = ("run", "status", "show", "diff", "retry", "export", "review", "report", "step")
"""Modules of ``datapipe.commands``, in the order of the help."""


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script.

    Args:
        argv: Without the program's name; None takes the process's own.

    Returns:
        The exit code, see :mod:`datapipe.commands`.
    """
    return run_command("datapipe", lambda: _run(argv))


def _run(argv: list[str] | None) -> int:
    args = _parser().parse_args(argv)
    code: int = args.run(args)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="datapipe", description="The data pipeline for long-video agents.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"datapipe.commands.{name}").add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
