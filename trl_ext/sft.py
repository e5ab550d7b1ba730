"""``longvt sft --config sft.yaml``: TRL's SFT on videos that are decoded while it trains.

::

    longvt sft --config recipes/sft.yaml --mixture mixture.yaml --num_processes 8
    python -m trl_ext.sft --config recipes/sft.yaml          # one process, no launcher

Keys are TRL's (``SFTConfig``, ``ModelConfig``, ``datasets``), those of how videos are shown
(:class:`~trl_ext.environment.EnvironmentConfig`) and those of ``accelerate launch``. A recipe of the stock ``trl sft``
whose ``datasets`` are files trains here the same. It needs transformers 5.18 or newer, as TRL's loss on the assistant's
tokens of vision data does.
"""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from longvt_plugins.console import run_command
from longvt_plugins.errors import ConfigError
from longvt_plugins.synthetic import resolve_model
from longvt_plugins.video.config import CACHE_VARIABLE
from trl_ext.dataset.files import local
from trl_ext.dataset.mixture import Mixture, Source, read_mixture
from trl_ext.environment import EnvironmentConfig
from trl_ext.launching import launch_module, make_trl_parser, refuse_unknown, save_and_end, set_loading
from trl_ext.model_setup import load_processor, warn_of_resizing
from trl_ext.resume import checkpoint_to_resume, load_weights_by_model
from trl_ext.run_record import fingerprint, run_record

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import DatasetMixtureConfig, ModelConfig, SFTConfig, TrlParser

PROGRAM = "longvt sft"

_REPLACED = dict.fromkeys(
    ("dataset_name", "dataset_config", "dataset_streaming"), "name files under `datasets`, or a `mixture`"
)
_BY_LENGTH = ("group_by_length", "batch_rebalance")
_FILES = ("parquet", "json")
"""Kinds of ``datasets`` that are files, as the ``datasets`` library names them."""


@dataclass(frozen=True)
class SftArguments(EnvironmentConfig):
    """What ``longvt sft`` trains on and how it is shown.

    Raises:
        ConfigError: A value that makes no sense, named.
    """

    mixture: str | None = field(
        default=None, metadata={"help": "Sources and weights: a YAML file, in place of datasets."}
    )
    eval_mixture: str | None = field(default=None, metadata={"help": "The same, to evaluate on during training."})
    skip_faulty: bool = field(
        default=False, metadata={"help": "Leave out faulty conversations with a warning, instead of refusing them."}
    )
    chat_template: Literal["ours", "model"] = field(
        default="ours", metadata={"help": "ours puts in the template of the model's family; model keeps its own."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form != EnvironmentConfig.form:
            raise ConfigError("form is that of each conversation here: tool, reasoning or non_think; leave the key out")

    @property
    def shown(self) -> EnvironmentConfig:
        """How videos are shown, without the keys that are only ours."""
        return EnvironmentConfig(**{known.name: getattr(self, known.name) for known in fields(EnvironmentConfig)})


def make_parser() -> TrlParser:
    """The parser of TRL's SFT script, its single data set replaced by ours.

    Raises:
        MissingExtraError: TRL is not installed.
    """
    return make_trl_parser(PROGRAM, SftArguments, "SFTConfig", "ModelConfig", "DatasetMixtureConfig")


def run(argv: Sequence[str]) -> int:
    """The sub-command ``longvt sft``, see :mod:`longvt_plugins.commands`: starts it under ``accelerate launch``.

    Raises:
        ConfigError: An unknown key, or one that makes no sense; nothing has been started then.
    """
    *_, of_recipe, of_command = _parse(list(argv))
    launch_module("trl_ext.sft", argv, of_recipe, of_command)
    return 0


def main(argv: Sequence[str]) -> None:
    """Trains in this process, which may be one of many.

    Args:
        argv: As for :func:`run`; keys of the launcher are left to it.

    Raises:
        ConfigError: A recipe or data that cannot be used as they stand.
    """
    arguments, training, model, data, *_ = _parse(list(argv))
    # The command's edge: nothing below reads the environment.
    if arguments.video_cache_dir is None and os.environ.get(CACHE_VARIABLE):
        arguments = replace(arguments, video_cache_dir=os.environ[CACHE_VARIABLE])
    train(arguments, training, model, data)


def train(arguments: SftArguments, training: SFTConfig, model: ModelConfig, data: DatasetMixtureConfig) -> None:
    """Trains and saves.

    Args:
        arguments: Ours.
        training: TRL's.
        model: TRL's.
        data: TRL's; its ``datasets`` are used where there is no mixture.

    Raises:
        ConfigError: As :func:`main`.
    """
    from trl import SFTTrainer, get_peft_config, get_quantization_config

    from trl_ext.callbacks.record import KeepRecord
    from trl_ext.dataset.lazy import ReplayCollator
    from trl_ext.dataset.order import order_by_epoch

    name = resolve_model(model.model_name_or_path)
    processor = load_processor(
        name,
        chat_template=arguments.chat_template,
        revision=model.model_revision,
        trust_remote_code=training.trust_remote_code,
    )
    warn_of_resizing(processor, overview=arguments.overview, crop=arguments.crop)
    mixture = read_mixture(arguments.mixture) if arguments.mixture is not None else _of_datasets(data)
    train_set = _load(mixture, arguments, training, processor)
    eval_set = None
    if training.eval_strategy != "no" and arguments.eval_mixture is not None:
        eval_set = _load(read_mixture(arguments.eval_mixture), arguments, training, processor)
    # Left to our own loading: TRL would cut conversations in the middle of a picture.
    max_length, training.max_length = training.max_length, None
    # The columns that frames are read by are none of the model's.
    training.remove_unused_columns = False
    set_loading(training, model)
    trainer = SFTTrainer(
        model=name,
        args=training,
        train_dataset=train_set,
        eval_dataset=eval_set,
        processing_class=processor,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
    )
    trainer.data_collator = ReplayCollator(trainer.data_collator, arguments.shown, train_set)
    load_weights_by_model(trainer)
    order_by_epoch(trainer)
    resumed_from = checkpoint_to_resume(
        training.resume_from_checkpoint, training.output_dir, processes=trainer.accelerator.num_processes
    )
    if trainer.accelerator.is_main_process:
        settings = {**asdict(arguments), **asdict(model), **training.to_dict(), "max_length": max_length}
        files = [mixture.file(source) for source in mixture.sources]
        videos = {file for told in set(train_set["videos"]) for file in json.loads(told).values()}
        known = fingerprint(files, len(train_set), videos)
        record = run_record(settings, data=known, processes=trainer.accelerator.num_processes)
        trainer.add_callback(KeepRecord(record, resumed_from))
    trainer.train(resume_from_checkpoint=resumed_from)
    save_and_end(trainer)


def _load(mixture: Mixture, arguments: SftArguments, training: SFTConfig, processor: Any) -> Dataset:
    from trl_ext.dataset.lazy import load_conversations

    counted = training.max_length is not None or training.train_sampling_strategy in _BY_LENGTH
    # The first process of each machine makes the rows, the others find them made.
    with training.main_process_first(desc="conversations"):
        return load_conversations(
            mixture,
            arguments.shown,
            processor=processor if counted else None,
            max_length=training.max_length,
            skip_faulty=arguments.skip_faulty,
        )


def _of_datasets(data: DatasetMixtureConfig) -> Mixture:
    """TRL's ``datasets``, where they are files, as sources."""
    if not data.datasets:
        raise ConfigError("the recipe needs the key mixture, a YAML file of sources, or datasets, as `trl sft` has it")
    sources = []
    for number, told in enumerate(data.datasets):
        where = f"datasets[{number}]"
        if told.path not in _FILES or not told.data_files:
            raise ConfigError(f"{where}: path must be parquet or json, with data_files; else give a mixture")
        if told.fraction is not None:
            raise ConfigError(f"{where}: fraction is for `trl sft`; a mixture has weights")
        if told.split not in (None, "train"):
            raise ConfigError(f"{where}: split must be train, not {told.split!r}: files have no others")
        patterns = [told.data_files] if isinstance(told.data_files, str) else list(told.data_files)
        for pattern in map(local, patterns):
            # A name that no file matches is kept, so that its reader tells what is missing.
            sources += sorted(glob.glob(str(Path(pattern).expanduser()))) or [pattern]  # noqa: PTH207 - may be absolute
    return Mixture([Source(path) for path in sources], folder=str(Path.cwd()))


def _parse(argv: list[str]) -> tuple[SftArguments, SFTConfig, ModelConfig, DatasetMixtureConfig, list[str], list[str]]:
    """The four configurations, and what is left of the recipe and of the command line: the launcher's keys."""
    parser = make_parser()
    try:
        parsed: Any = parser.parse_args_and_config(argv, return_remaining_strings=True, separate_remaining_strings=True)
    except ValueError as error:
        raise ConfigError(f"TRL refuses the settings: {error}") from None
    arguments, training, model, data, of_recipe, of_command = parsed
    refuse_unknown([*of_recipe, *of_command], parser, program=PROGRAM, replaced=_REPLACED)
    if not model.model_name_or_path:
        raise ConfigError("the recipe needs the key model_name_or_path: a checkpoint's folder or its name on the Hub")
    if training.eval_strategy != "no" and arguments.eval_mixture is None:
        raise ConfigError("eval_strategy needs the key eval_mixture: a YAML file of sources to evaluate on")
    if data.streaming or data.test_split_size is not None:
        raise ConfigError("streaming and test_split_size are for `trl sft`; here there is eval_mixture")
    template = training.chat_template_path
    if template is not None and not Path(template).is_file():
        raise ConfigError(
            f"no chat template {template}: `longvt template NAME > {template}` writes it, "
            "or leave chat_template_path out: the template of the model's family is used"
        )
    return arguments, training, model, data, of_recipe, of_command


if __name__ == "__main__":

    def _train_here() -> None:
        main(sys.argv[1:])

    sys.exit(run_command(PROGRAM, _train_here))
