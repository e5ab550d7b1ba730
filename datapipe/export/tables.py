"""The records of any stage as a table, for `datasets` and for whoever likes tables.

::

    records_table("runs/demo", "caption")                       # a datasets.Dataset
    write_table(records, Path("captions.parquet"))              # or .jsonl

Parts that differ from record to record, such as provenance, messages and verdicts, are JSON text in parquet: as
structs, Arrow would fill the fields that one of them lacks with nulls.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapipe.compare import merged
from datapipe.workdir import open_stores
from longvt_plugins.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from datasets import Dataset


def records_table(work_dir: str | Path, step: str) -> Dataset:
    """What a step kept, as a data set of Hugging Face.

    Args:
        work_dir: Of the run.
        step: Its name in the recipe.

    Raises:
        ConfigError: No such run, or no records of that step.
        MissingExtraError: `datasets` is not installed.
    """
    try:
        from datasets import Dataset
    except ImportError as error:
        raise MissingExtraError("datasets", "curate", "to read records as a data set") from error
    stores = open_stores(work_dir)
    try:
        rows = [flat(record) for _, record in merged(stores, step)]
    finally:
        for store in stores:
            store.close()
    if not rows:
        raise ConfigError(f"step {step!r} of {work_dir} has kept no records")
    return Dataset.from_list(rows)


def flat(record: Any) -> dict[str, Any]:
    """A record with texts, numbers and lists of these; anything deeper is JSON text."""
    fields = record if isinstance(record, Mapping) else {"value": record}
    return {name: _cell(value) for name, value in fields.items()}


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and any(isinstance(part, Mapping | list) for part in value):
        return json.dumps(value, ensure_ascii=False)
    return value


def write_table(records: Iterable[Any], path: Path) -> None:
    """Writes records to a ``.parquet`` or ``.jsonl`` file.

    Raises:
        ConfigError: Another format.
    """
    if path.suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            for record in records:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [flat(record) for record in records]
        names = list({name: None for row in rows for name in row})
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    else:
        raise ConfigError(f"records are written as .parquet or .jsonl, not {path.name}")
