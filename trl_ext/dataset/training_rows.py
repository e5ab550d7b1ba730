"""Training rows as ``GRPOTrainer`` takes them.

::

    load_training_rows("rl.parquet")                    # ours
    load_training_rows("longvt_rl_selfqa_1k6.parquet")  # LongVT's, its videos beside it
    # a datasets.Dataset: a row's columns, and the prompt, whose user message the environment fills

It decodes no video: the environment does, when a rollout starts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from longvt_plugins.conversation import Form, system_message
from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import Row
from trl_ext.dataset.questions import read_questions

if TYPE_CHECKING:
    from datasets import Dataset


def load_training_rows(path: str | Path, *, form: Form = "tool", prompts_dir: str | Path | None = None) -> Dataset:
    """Rows as a dataset for ``GRPOTrainer``.

    Args:
        path: Rows in ``.parquet`` or ``.jsonl``, ours or LongVT's, see :mod:`trl_ext.dataset.questions`.
        form: How the model is told to answer.
        prompts_dir: Folder with prompts of your own.

    Returns:
        A row's columns, ``videos`` as JSON text, and ``prompt``: the system message and an empty
        user message, which the environment fills.

    Raises:
        ConfigError: A faulty row, or videos that are not there: that is told now, not at step 130.
    """
    rows = read_questions(path)
    if not rows:
        raise ConfigError(f"{path} holds no rows")
    return rows_to_dataset(rows, where=str(path), form=form, prompts_dir=prompts_dir)


def rows_to_dataset(
    rows: Sequence[Row], *, where: str = "rows", form: Form = "tool", prompts_dir: str | Path | None = None
) -> Dataset:
    """Rows that were read already as a dataset, see :func:`load_training_rows`.

    Args:
        rows: With files as they can be opened from here.
        where: Named in messages.
        form: How the model is told to answer.
        prompts_dir: Folder with prompts of your own.

    Raises:
        ConfigError: Videos that are not there.
    """
    from datasets import Dataset, Features, List, Value

    missing = sorted({file for row in rows for file in row["videos"].values() if not Path(file).is_file()})
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ConfigError(f"{where} names videos that are not there: {', '.join(missing[:3])}{more}")
    system = system_message(form, prompts_dir=prompts_dir)
    prompt = [{"role": "system", "content": system["content"]}, {"role": "user", "content": ""}]
    text = Value("string")
    features = Features(
        {
            "prompt": List({"role": text, "content": text}),
            "id": text,
            "videos": text,
            "kind": text,
            "question": text,
            "answer": text,
            "video_segment": List(Value("float64")),
            "options": List(text),
            "source": text,
        }
    )
    examples = [{**row, "videos": json.dumps(row["videos"]), "prompt": prompt} for row in rows]
    return Dataset.from_list(examples, features=features)
