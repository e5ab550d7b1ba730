"""The rows of a task whose questions are a file that an environment variable names.

>>> read_task_rows({"LONGVT_DATA": "runs/demo/data"}, "LONGVT_DATA")[0]["question"]      # its test.parquet
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import Row, read_rows

IN_FOLDER = "test.parquet"
"""The file of a folder."""


def read_task_rows(environ: Mapping[str, str], variable: str) -> list[Row]:
    """The rows that a variable names.

    Args:
        environ: ``os.environ``, at the edge.
        variable: Its name.

    Raises:
        ConfigError: It names none, or a file without a row.
    """
    named = environ.get(variable)
    if not named:
        raise ConfigError(f"set {variable} to a rows file (.parquet or .jsonl), or to a folder with {IN_FOLDER}")
    path = Path(named)
    rows = read_rows(path / IN_FOLDER if path.is_dir() else path)
    if not rows:
        raise ConfigError(f"{variable}={named}: no rows in it")
    return rows
