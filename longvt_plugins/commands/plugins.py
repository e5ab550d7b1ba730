"""``longvt plugins``: what is installed, from where, which hooks it implements and which names it gives.

It loads every plugin, so it is also the check after installing one. ``--json`` gives the same as a list
of objects with ``name``, ``distribution``, ``enabled``, ``hooks`` and ``names``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longvt_plugins.plugins import PluginInfo


def add_parser(subparsers: Any) -> None:
    """Adds the options of this command."""
    parser = subparsers.add_parser("plugins", description="List the plugins and what they give.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Prints the list."""
    from longvt_plugins.plugins import create_plugin_manager

    manager = create_plugin_manager()
    if args.json:
        entries = [{**dataclasses.asdict(info), "enabled": True} for info in manager.plugins]
        entries += [{**dataclasses.asdict(info), "enabled": False} for info in manager.disabled]
        print(json.dumps(entries, indent=2))
    else:
        _print_table(manager.plugins, manager.disabled)
    return 0


def _print_table(loaded: list[PluginInfo], disabled: list[PluginInfo]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("plugin", "distribution", "hooks", "gives", box=box.SIMPLE_HEAD)
    for info in loaded:
        table.add_row(info.name, info.distribution, "\n".join(info.hooks), "\n".join(info.names))
    for info in disabled:
        table.add_row(info.name, info.distribution, "disabled", "")
    console = Console(markup=False, emoji=False)
    # In a pipe there is no width to fit into, and a name that is cut cannot be searched for.
    if not console.is_terminal:
        console.width = 200
    console.print(table)
