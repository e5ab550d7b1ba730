"""Keeps the record of a run beside each of its checkpoints, and tells what has changed when one is gone on with.

::

    trainer.add_callback(KeepRecord(run_record(settings, rows="rl.parquet"), resumed_from="rl/checkpoint-20"))

What is recorded says :mod:`trl_ext.run_record`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trl_ext.run_record import differences, read_record, write_record

logger = logging.getLogger(__name__)


class KeepRecord(TrainerCallback):  # type: ignore[misc]
    """Writes ``longvt_run.json`` into the output folder and into every checkpoint.

    Args:
        record: Of this run.
        resumed_from: Checkpoint that it goes on with.
    """

    def __init__(self, record: Mapping[str, Any], resumed_from: str | None = None) -> None:
        self._record = {**record, "resumed_from": resumed_from}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Writes the record; of a run that goes on, warns of what is not as it was."""
        if not state.is_world_process_zero:
            return
        resumed_from = self._record["resumed_from"]
        before = read_record(resumed_from) if resumed_from is not None else None
        for difference in differences(before, self._record) if before is not None else ():
            logger.warning("not as it was when %s was written: %s", resumed_from, difference)
        write_record(self._record, args.output_dir)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Puts it beside the checkpoint."""
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and checkpoint.is_dir():
            write_record(self._record, checkpoint)
