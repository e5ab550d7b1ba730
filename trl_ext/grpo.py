"""``longvt grpo --config rl.yaml``: TRL's GRPO with the tools as its environment.

::

    longvt grpo --config recipes/rl.yaml --learning_rate 2e-6 --num_processes 8
    python -m trl_ext.grpo --config recipes/rl.yaml          # one process, no launcher

Keys are TRL's (``GRPOConfig``, ``ModelConfig``), ours (:mod:`trl_ext.arguments`) and those of ``accelerate launch``.
One that nobody knows is refused. What is not here is TRL's ``dataset_name``: ``rows`` takes its place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from longvt_plugins.chat_templates import FAMILIES
from longvt_plugins.console import run_command
from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.environment import judge_options_from_environment
from longvt_plugins.ledger import Ledger
from longvt_plugins.synthetic import resolve_model
from longvt_plugins.video.config import CACHE_VARIABLE
from trl_ext.arguments import EnvironmentArguments
from trl_ext.launching import launch_module, make_trl_parser, refuse_unknown, save_and_end, set_loading
from trl_ext.model_setup import load_processor, suppress_media_tokens, warn_of_resizing
from trl_ext.resume import checkpoint_to_resume
from trl_ext.rollout_keeper import RolloutKeeper
from trl_ext.run_record import run_record
from trl_ext.spec import VideoToolSpec
from trl_ext.unequal_turns import generate_alone, refuse_waiting_processes
from trl_ext.vision_cache import share_vision

if TYPE_CHECKING:
    from trl import GRPOConfig, ModelConfig, TrlParser

PROGRAM = "longvt grpo"

_REPLACED = dict.fromkeys(("dataset_name", "datasets", "dataset_config"), "the key rows names a file of rows")


def make_parser() -> TrlParser:
    """The parser of TRL's GRPO script, its dataset keys replaced by ours.

    Raises:
        MissingExtraError: TRL is not installed.
    """
    return make_trl_parser(PROGRAM, EnvironmentArguments, "GRPOConfig", "ModelConfig")


def launch(argv: Sequence[str]) -> None:
    """Starts the training under ``accelerate launch``, as the ``trl`` command does.

    Args:
        argv: Keys of ours, of TRL and of ``accelerate launch``, which a recipe may hold too.

    Raises:
        ConfigError: An unknown key, or one that makes no sense; nothing has been started then.
    """
    *_, of_recipe, of_command = _parse(list(argv))
    launch_module("trl_ext.grpo", argv, of_recipe, of_command)


def run(argv: Sequence[str]) -> int:
    """The sub-command ``longvt grpo``, see :mod:`longvt_plugins.commands`: :func:`launch`."""
    launch(argv)
    return 0


def main(argv: Sequence[str]) -> None:
    """Trains in this process, which may be one of many.

    Args:
        argv: As for :func:`launch`; keys of the launcher are left to it.

    Raises:
        ConfigError: A recipe, rows or a plugin that cannot be used as they stand.
    """
    arguments, training, model, *_ = _parse(list(argv))
    # The command's edge: nothing below reads the environment.
    if arguments.video_cache_dir is None and os.environ.get(CACHE_VARIABLE):
        arguments = replace(arguments, video_cache_dir=os.environ[CACHE_VARIABLE])
    options = arguments.judge_options if isinstance(arguments.judge_options, dict) else None
    arguments = replace(arguments, judge_options=judge_options_from_environment(os.environ, arguments.judge, options))
    train(arguments, training, model)


def train(arguments: EnvironmentArguments, training: GRPOConfig, model: ModelConfig) -> None:
    """Trains and saves.

    Args:
        arguments: Ours.
        training: TRL's.
        model: TRL's.

    Raises:
        ConfigError: As :func:`main`.
    """
    from trl import GRPOTrainer, get_peft_config, get_quantization_config

    from trl_ext.callbacks import KeepRecord

    arguments = _bound_turns(arguments, training)
    name = resolve_model(model.model_name_or_path)
    processor = load_processor(
        name,
        chat_template=arguments.chat_template,
        calls_per_turn=arguments.calls_per_turn,
        revision=model.model_revision,
        trust_remote_code=training.trust_remote_code,
    )
    ledger = _ledger(arguments, training, processor)
    spec = VideoToolSpec(
        arguments.rows or "",
        arguments.tools,
        arguments.judge,
        judge_options=arguments.judge_options if isinstance(arguments.judge_options, dict) else None,
        reward_funcs=arguments.reward_funcs,
        preset=arguments.reward_preset,
        judge_patience=arguments.judge_patience,
        judge_check=arguments.judge_check,
        ledger=ledger,
        keeper=_keeper(arguments, training, name, processor),
        **arguments.environment,
    )
    if arguments.reward_preset is not None and training.reward_weights is not None:
        raise ConfigError(f"the reward preset {arguments.reward_preset!r} has its weights: leave out reward_weights")
    training.reward_weights = training.reward_weights or spec.reward_weights
    suppress_media_tokens(training, processor)
    warn_of_resizing(processor, overview=spec.config.overview, crop=spec.config.crop)
    set_loading(training, model)
    trainer = GRPOTrainer(
        model=name,
        args=training,
        processing_class=processor,
        train_dataset=spec.train_dataset,
        eval_dataset=spec.load_rows(arguments.eval_rows) if arguments.eval_rows is not None else None,
        environment_factory=spec.environment_factory,
        reward_funcs=spec.reward_funcs,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
    )
    _share_vision(trainer, arguments.vision_cache_mb)
    refuse_waiting_processes(
        training, processes=trainer.accelerator.num_processes, sharded=_is_sharded(trainer), tools=bool(arguments.tools)
    )
    generate_alone(trainer)
    spec.add_callbacks(trainer, drop_mastered=arguments.drop_mastered)
    resumed_from = checkpoint_to_resume(
        training.resume_from_checkpoint, training.output_dir, processes=trainer.accelerator.num_processes
    )
    if trainer.accelerator.is_main_process:
        settings = {**asdict(arguments), **asdict(model), **training.to_dict()}
        record = run_record(settings, rows=spec.rows, processes=trainer.accelerator.num_processes)
        trainer.add_callback(KeepRecord(record, resumed_from))
    try:
        trainer.train(resume_from_checkpoint=resumed_from)
    finally:
        spec.close()
    save_and_end(trainer)


def _bound_turns(arguments: EnvironmentArguments, training: GRPOConfig) -> EnvironmentArguments:
    """Makes TRL's loop and the environment agree on the turns: the last calls that get a reply are refused."""
    iterations = training.max_tool_calling_iterations
    if iterations == 0:
        return arguments  # no call is run at all
    if iterations is not None:
        if arguments.max_turns not in (None, iterations + 1):
            raise ConfigError(
                f"max_turns {arguments.max_turns} and max_tool_calling_iterations {iterations} contradict each other: "
                "the calls of all turns but the last are run. Leave out max_tool_calling_iterations"
            )
        arguments = replace(arguments, max_turns=iterations + 1)
    if arguments.turns is not None:
        training.max_tool_calling_iterations = arguments.turns - 1
    return arguments


def _ledger(arguments: EnvironmentArguments, training: GRPOConfig, processor: Any) -> Ledger | None:
    """The ledger of a recipe that bounds its turns, whose bound it puts into the generation."""
    if arguments.turn_tokens is None:
        return None
    if not training.max_completion_length:
        raise ConfigError("turn_tokens needs max_completion_length, the room that the turns are a part of")
    ledger = Ledger(processor, training.max_completion_length, arguments.turn_tokens, arguments.tell_left)
    training.generation_kwargs = {
        **(training.generation_kwargs or {}),
        **ledger.generation_kwargs(use_vllm=training.use_vllm),
    }
    return ledger


def _share_vision(trainer: Any, max_mb: int) -> None:
    """Computes each picture once, for the families whose vision towers are known to allow it."""
    if not max_mb or trainer.model.config.model_type not in FAMILIES:
        return
    share_vision(trainer.model, max_mb=max_mb, keep=not _is_sharded(trainer))


def _is_sharded(trainer: Any) -> bool:
    """Whether no process holds all weights, so that they have to run the model together."""
    deepspeed = getattr(trainer.args, "deepspeed_plugin", None)
    return trainer.is_fsdp_enabled or (deepspeed is not None and deepspeed.zero_stage == 3)


def _keeper(arguments: EnvironmentArguments, training: GRPOConfig, model: str, processor: Any) -> RolloutKeeper | None:
    if arguments.rollouts_dir is None:
        return None
    return RolloutKeeper(
        arguments.rollouts_dir,
        model=model,
        tokenizer=processor.tokenizer,
        max_completion_length=training.max_completion_length,
    )


def _parse(argv: list[str]) -> tuple[EnvironmentArguments, GRPOConfig, ModelConfig, list[str], list[str]]:
    """The three configurations, and what is left of the recipe and of the command line: the launcher's keys."""
    parser = make_parser()
    parsed: Any = parser.parse_args_and_config(argv, return_remaining_strings=True, separate_remaining_strings=True)
    *_, of_recipe, of_command = parsed
    refuse_unknown([*of_recipe, *of_command], parser, program=PROGRAM, replaced=_REPLACED)
    arguments, training, model, of_recipe, of_command = parsed
    if not model.model_name_or_path:
        raise ConfigError("the recipe needs the key model_name_or_path: a checkpoint's folder or its name on the Hub")
    if training.eval_strategy != "no" and arguments.eval_rows is None:
        raise ConfigError("eval_strategy needs the key eval_rows: a file of rows to evaluate on")
    return arguments, training, model, of_recipe, of_command


if __name__ == "__main__":

    def _train_here() -> None:
        main(sys.argv[1:])

    sys.exit(run_command(PROGRAM, _train_here))
