"""What several commands need: flags that are the same everywhere, the console, and the end of a run.

>>> setting("min_seconds=60")
('min_seconds', 60)
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from longvt_plugins.console import one_line
from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from datapipe.runner import RunResult
    from datapipe.source import Shard

STOPPED = 3
"""Exit code of a run that ended before the end, with all that was done saved."""


def add_shard_flags(parser: argparse.ArgumentParser) -> None:
    """``--num-shards`` and ``--shard-idx``."""
    parser.add_argument("--num-shards", type=int, default=1, metavar="N", help="split the videos into N shares")
    parser.add_argument("--shard-idx", type=int, default=0, metavar="I", help="work on this one, from 0")


def shard_of(args: argparse.Namespace) -> Shard:
    """The share that the flags name.

    Raises:
        ConfigError: There is no such share.
    """
    from datapipe.source import Shard

    return Shard(args.shard_idx, args.num_shards)


def setting(text: str) -> tuple[str, Any]:
    """A field and its value, as ``--set`` takes them.

    Raises:
        ConfigError: It is not KEY=VALUE, or the value is not YAML.
    """
    import yaml

    key, value = key_value(text, "--set")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: the value is not YAML: {one_line(error)}") from None


def key_value(text: str, flag: str) -> tuple[str, str]:
    """The two sides of KEY=VALUE.

    Raises:
        ConfigError: There are not two.
    """
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigError(f"{flag} takes KEY=VALUE, not {text!r}")
    return key, value


def console() -> Console:
    """Standard error, where progress is shown: standard output is for results."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)


def tell_end(result: RunResult, program: str = "datapipe") -> int | None:
    """Says why a run ended early.

    Returns:
        The exit code then, None when everything is done.
    """
    if result.stopped is None:
        return None
    sys.stderr.write(f"{program}: {result.message}\n")
    return STOPPED
