"""A benchmark whose questions are a file of rows, named by an environment variable.

::

    task: longvt_synthetic_tool
    class: !function eval_ext.tasks.rows_task.RowsTask
    metadata:
      version: 1.0
      longvt_form: tool                # tool, reasoning or non_think
      longvt_oracle: false             # true: the right window is looked at before the first turn
      longvt_judge: exact              # beside the exact one, where LONGVT_JUDGE names none
      longvt_data: LONGVT_DATA         # a rows file, or a folder with test.parquet

Everything else has a default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from eval_ext.tasks.questions_task import QuestionsTask, form_of
from eval_ext.tasks.row_files import read_task_rows


class RowsTask(QuestionsTask):
    """A task of lmms-eval over a file of rows.

    Args:
        config: The YAML.

    Raises:
        ConfigError: The metadata names no form, or the variable no rows.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        form_of(config)  # before any file is read
        metadata = config.get("metadata") or {}
        super().__init__(
            config, read_task_rows(os.environ, metadata.get("longvt_data", "LONGVT_DATA")), text=doc_to_text
        )


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """The question, with its options."""
    options = doc["options"]
    return f"{doc['question']} Choose one of: {'; '.join(options)}." if options else str(doc["question"])
