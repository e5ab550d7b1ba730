"""Makes the stock ``trl sft --config sft.yaml`` keep the record of its run and go on with it, as ``longvt sft`` does.

The command line of TRL has no key for a callback, but it opens its data by fsspec, which knows the file systems of
installed packages by their prefix. Naming ours, and only that, turns the bridge on::

    datasets:
      - path: parquet
        data_files: longvt://data/sft/sft-*.parquet      # files of this machine, as without the prefix
        split: train
    resume_from_checkpoint: last

Every ``SFTTrainer`` of the process then writes ``longvt_run.json`` beside its checkpoints, understands ``last``, loads
the weights of a checkpoint by their names, and draws the order of an epoch from its seed, so that a run that was
stopped goes on as if it had not been. It decodes nothing: see :mod:`trl_ext.dataset.lazy`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar

from fsspec.implementations.local import LocalFileSystem

from trl_ext.dataset.files import KEPT
from trl_ext.dataset.order import order_by_epoch
from trl_ext.resume import checkpoint_to_resume, load_weights_by_model
from trl_ext.run_record import fingerprint, run_record

_MARK = "__longvt_bridge__"


class KeptFiles(LocalFileSystem):  # type: ignore[misc]
    """Files of this machine; opening it installs the bridge. Registered with fsspec as ``longvt``."""

    protocol = KEPT.removesuffix("://")
    named: ClassVar[dict[str, None]] = {}
    """Files that the data sets of this process were made of, in their order."""

    def __init__(self, *positional: Any, **given: Any) -> None:
        super().__init__(*positional, **given)
        install()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return super()._strip_protocol(str(path).removeprefix(KEPT))

    def unstrip_protocol(self, name: str) -> str:
        """The name with its prefix."""
        return KEPT + str(self._strip_protocol(name))

    def glob(self, path: str, **given: Any) -> Any:
        """As any file system has it; what is found is what is trained on."""
        found = super().glob(path, **given)
        self.named.update(dict.fromkeys(name for name in map(str, found) if Path(name).is_file()))
        return found


def install() -> None:
    """Lets every ``SFTTrainer`` of this process keep its record and go on; a second call does nothing."""
    from trl import SFTTrainer

    train = SFTTrainer.train
    if hasattr(train, _MARK):
        return

    @functools.wraps(train)
    def with_record(self: Any, resume_from_checkpoint: Any = None, *positional: Any, **given: Any) -> Any:
        return train(self, follow(self, resume_from_checkpoint), *positional, **given)

    setattr(with_record, _MARK, True)
    SFTTrainer.train = with_record


def follow(trainer: Any, resume_from_checkpoint: Any) -> Any:
    """Prepares a trainer as the module says; one that keeps a record already is left alone.

    Args:
        trainer: An ``SFTTrainer`` that is about to train.
        resume_from_checkpoint: As ``train`` was given it.

    Returns:
        What ``train`` is to go on with: a folder, or None.

    Raises:
        ConfigError: A whole checkpoint must be there, and is not.
    """
    from trl_ext.callbacks.record import KeepRecord

    if any(isinstance(callback, KeepRecord) for callback in trainer.callback_handler.callbacks):
        return resume_from_checkpoint
    args, processes = trainer.args, trainer.accelerator.num_processes
    load_weights_by_model(trainer)
    order_by_epoch(trainer)
    resumed_from = checkpoint_to_resume(resume_from_checkpoint, args.output_dir, processes=processes)
    if trainer.accelerator.is_main_process:
        files = [Path(name) for name in KeptFiles.named if Path(name).is_file()]
        settings = {"model_name_or_path": trainer.model.name_or_path, **args.to_dict()}
        for name, adapter in (getattr(trainer.model, "peft_config", None) or {}).items():
            settings[f"peft_{name}"] = adapter.to_dict()
        # A data set that is streamed has no length.
        count = len(trainer.train_dataset) if hasattr(trainer.train_dataset, "__len__") else None
        known = fingerprint(files, count, ())
        trainer.add_callback(KeepRecord(run_record(settings, data=known, processes=processes), resumed_from))
    return resumed_from
