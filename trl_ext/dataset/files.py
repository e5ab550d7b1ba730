"""Records of a ``.parquet`` or ``.jsonl`` file, one after another, whatever they hold.

>>> next(read_records("rft.parquet"))
('rft.parquet, row 1', {'id': 'rft_9397', 'messages': [...]})

A few hundred records are in memory at a time. It maps no columns: see :mod:`trl_ext.dataset.conversations`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError
from trl_ext.dataset.faults import DataFault
from trl_ext.dataset.published import annotations_line

KEPT = "longvt://"
"""Stands before ``data_files`` of a stock ``trl sft`` whose runs keep their record: :mod:`trl_ext.sft_bridge`."""

_BATCH = 256


def local(pattern: str) -> str:
    """A name or pattern of files without that prefix."""
    return pattern.removeprefix(KEPT)


def columns_of(path: str | Path) -> list[str]:
    """Names of a file's columns; of JSONL, those of its first record, none of an empty one.

    Raises:
        ConfigError: No such file, or not one of the two formats.
    """
    path = _existing(path)
    if path.suffix == ".parquet":
        return list(_parquet(path).schema_arrow.names)
    for _, record in read_records(path):
        if isinstance(record, DataFault):
            raise record
        return list(record)
    return []


def read_records(path: str | Path) -> Iterator[tuple[str, dict[str, Any] | DataFault]]:
    """Every record after the place where it stands; in place of a line that is no object in JSON, what is wrong.

    Raises:
        ConfigError: No such file, or not one of the two formats.
    """
    path = _existing(path)
    if path.suffix == ".parquet":
        number = 0
        for batch in _parquet(path).iter_batches(batch_size=_BATCH):
            for record in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", record
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(_text_lines(lines, path), start=1):
            if line.strip():
                yield f"{path}, line {number}", _object(line, f"{path}, line {number}")


def parse_json(text: Any, what: str, where: str) -> Any:
    """JSON that a column holds as text; anything that is not text is given back as it is.

    Raises:
        DataFault: Not JSON.
    """
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataFault("schema", where, f"{what} is not JSON: {error}") from None


def _object(line: str, where: str) -> dict[str, Any] | DataFault:
    try:
        value = parse_json(line, "the line", where)
    except DataFault as fault:
        return fault
    if isinstance(value, dict):
        return value
    return DataFault("schema", where, f"the line is not an object but {type(value).__name__}")


def _text_lines(lines: Any, path: Path) -> Iterator[str]:
    try:
        yield from lines
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from None


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix not in (".parquet", ".jsonl"):
        raise ConfigError(f"training data is read from .parquet or .jsonl, not {path.name}")
    if not path.is_file():
        line = annotations_line(path)
        raise ConfigError(f"no file {path}{f'; it is published: {line}' if line else ''}")
    return path


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise ConfigError(f"{path} is not a parquet file that can be read: {error}") from None
