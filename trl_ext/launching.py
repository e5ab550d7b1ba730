"""How our training commands start and end: TRL's parser with our keys, ``accelerate launch``, what is saved.

::

    parser = make_trl_parser("longvt grpo", EnvironmentArguments, "GRPOConfig", "ModelConfig")
    refuse_unknown(left, parser, program="longvt grpo", replaced={"dataset_name": "the key rows names a file"})
    launch_module("trl_ext.grpo", argv, of_recipe, of_command)

It trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from longvt_plugins.errors import ConfigError, MissingExtraError
from longvt_plugins.registry import did_you_mean


def make_trl_parser(program: str, ours: type, *kinds: str) -> Any:
    """TRL's parser of recipes and flags.

    Args:
        program: Named in its help.
        ours: Our keys, a dataclass.
        kinds: Dataclasses of TRL, by name.

    Raises:
        MissingExtraError: TRL is not installed.
    """
    try:
        import trl
    except ModuleNotFoundError as error:
        if error.name != "trl":
            raise
        raise MissingExtraError("trl", "train", "to train") from None

    # Without abbreviations: a mistyped key would otherwise set the one that it happens to begin.
    return trl.TrlParser((ours, *(getattr(trl, kind) for kind in kinds)), prog=program, allow_abbrev=False)


def set_loading(training: Any, model: Any) -> None:
    """Gives a trainer's configuration what TRL's scripts give it for loading the model.

    Args:
        training: Of TRL; its ``model_init_kwargs`` are added to, and what they hold already stays.
        model: TRL's ``ModelConfig``.
    """
    training.model_init_kwargs = {
        "revision": model.model_revision,
        "trust_remote_code": training.trust_remote_code,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **(training.model_init_kwargs or {}),
    }


def save_and_end(trainer: Any) -> None:
    """Saves what was trained, with its processor and templates, and ends the trainer."""
    trainer.save_model(trainer.args.output_dir)
    trainer.accelerator.print(f"Saved to {trainer.args.output_dir}")
    if trainer.args.push_to_hub:
        trainer.push_to_hub()
    if hasattr(trainer, "end"):  # from transformers 5.18 on: closes trackers and the process group
        trainer.end()


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
