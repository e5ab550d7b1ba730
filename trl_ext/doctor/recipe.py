"""A recipe as the training would understand it, read without a GPU and without starting anything.

::

    recipe = read_recipe(["--config", "recipes/rl.yaml", "--accelerate_config", "fsdp2"])
    recipe.kind, recipe.processes, recipe.sharded          # ("rl", 8, True)

A recipe with ``rows`` is one for ``longvt grpo``, one with a ``mixture`` for ``longvt sft``, any other for ``trl sft``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from longvt_plugins.errors import ConfigError
from longvt_plugins.synthetic import resolve_model
from trl_ext import grpo, sft
from trl_ext.environment import EnvironmentConfig
from trl_ext.launching import refuse_unknown

if TYPE_CHECKING:
    from trl_ext.arguments import EnvironmentArguments
    from trl_ext.sft import SftArguments


@dataclass(frozen=True)
class Recipe:
    """What a command would train.

    Attributes:
        kind: Of the command: ``rl`` or ``sft``.
        training: TRL's ``GRPOConfig`` or ``SFTConfig``.
        model: TRL's ``ModelConfig``.
        arguments: Ours; None for SFT.
        data: TRL's ``DatasetMixtureConfig``; None for RL.
        processes: That the launcher would start, on all machines.
        distributed: How accelerate would spread them: ``NO``, ``MULTI_GPU``, ``FSDP``, ``DEEPSPEED``.
        sharded: Whether no process would hold all weights.
        lazy: Our own arguments of ``longvt sft``; None for the others.
    """

    kind: Literal["rl", "sft"]
    training: Any
    model: Any
    arguments: EnvironmentArguments | None
    data: Any
    processes: int
    distributed: str
    sharded: bool
    lazy: SftArguments | None = None

    @property
    def checkpoint(self) -> str:
        """Folder or name of the model."""
        return resolve_model(self.model.model_name_or_path)

    @property
    def environment(self) -> EnvironmentConfig:
        """What a rollout sees; that of the defaults for SFT."""
        return self.arguments or self.lazy or EnvironmentConfig()


def read_recipe(argv: Sequence[str]) -> Recipe:
    """Reads a recipe with the flags that override it, those of the launcher among them.

    Raises:
        ConfigError: The real command would refuse it, and why.
    """
    path = Path(argv[argv.index("--config") + 1])
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(told, dict):
        raise ConfigError(f"{path} is no recipe: a mapping of keys is expected")
    # What a GPU is needed for is no matter here: the login node of a cluster has none.
    argv = [*argv, "--use_cpu", "true"]
    try:
        if "rows" in told or "--rows" in argv:
            arguments, training, model, *rest = grpo._parse(argv)
            arguments = grpo._bound_turns(arguments, training)
            launcher = _launcher(rest[0] + rest[1])
            return Recipe("rl", training, model, arguments, None, *launcher)
        if "mixture" in told or "--mixture" in argv:
            lazy, training, model, data, *rest = sft._parse(argv)
            return Recipe("sft", training, model, None, data, *_launcher(rest[0] + rest[1]), lazy=lazy)
        return _supervised(argv)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"TRL refuses {path}: {' '.join(str(error).split())}") from None
    except SystemExit:
        raise ConfigError(f"TRL refuses a flag of {' '.join(argv)}: see the line above") from None


def _supervised(argv: Sequence[str]) -> Recipe:
    from trl.scripts.sft import make_parser

    parser = make_parser()
    parsed: Any = parser.parse_args_and_config(
        list(argv), return_remaining_strings=True, separate_remaining_strings=True
    )
    *_, of_recipe, of_command = parsed
    script, training, model, data, *_ = parsed
    refuse_unknown([*of_recipe, *of_command], parser, program="trl sft", replaced={})
    if not model.model_name_or_path:
        raise ConfigError("the recipe needs the key model_name_or_path: a checkpoint's folder or its name on the Hub")
    if not data.datasets and not script.dataset_name:
        raise ConfigError("the recipe needs the key datasets (or, for `longvt grpo`, rows)")
    return Recipe("sft", training, model, None, data, *_launcher(of_recipe + of_command))


def _launcher(flags: list[str]) -> tuple[int, str, bool]:
    """Processes, how they are spread, and whether they share the weights out."""
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser
    from trl.cli.accelerate_config import resolve_accelerate_config_argument

    args = launch_command_parser().parse_args([*resolve_accelerate_config_argument(flags), "script"])
    config = load_config_from_file(args.config_file) if args.config_file else None
    processes = args.num_processes or (config.num_processes if config is not None else 1)
    distributed = getattr(config, "distributed_type", None) or ("MULTI_GPU" if processes > 1 else "NO")
    name = str(getattr(distributed, "value", distributed))
    deepspeed = getattr(config, "deepspeed_config", None) or {}
    sharded = name == "FSDP" or (name == "DEEPSPEED" and deepspeed.get("zero_stage") == 3)
    return int(processes), name, sharded
