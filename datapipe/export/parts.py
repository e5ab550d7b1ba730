"""A long list as files of a bounded size: one file while it is short, numbered parts when it is long.

>>> write_parts(rows, Path("data/rl.parquet"), 50_000, write_rows)
['rl-00000.parquet', 'rl-00001.parquet']

Only one part is in memory. Earlier files of the same name are removed, so that no old part is left among new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any


@dataclass
class Written:
    """What was written.

    Attributes:
        files: Their names, in order.
        records: How many records.
    """

    files: list[str] = field(default_factory=list)
    records: int = 0


def write_parts(records: Iterable[Any], path: Path, most: int, write: Callable[[list[Any], Path], object]) -> Written:
    """Writes records to one file or several.

    Args:
        records: Any number; nothing is written of none.
        path: Of the one file.
        most: Records of a file.
        write: Writes one file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in [path, *path.parent.glob(f"{path.stem}-[0-9][0-9][0-9][0-9][0-9]{path.suffix}")]:
        old.unlink(missing_ok=True)
    written = Written()
    source = iter(records)
    part = list(islice(source, most))
    ahead = list(islice(source, most)) if len(part) == most else []
    if part and not ahead:
        write(part, path)
        return Written([path.name], len(part))
    for number, batch in enumerate(_batches(part, ahead, source, most)):
        name = f"{path.stem}-{number:05d}{path.suffix}"
        write(batch, path.with_name(name))
        written.files.append(name)
        written.records += len(batch)
    return written


def _batches(first: list[Any], second: list[Any], rest: Iterator[Any], most: int) -> Iterator[list[Any]]:
    batch = first
    while batch:
        yield batch
        batch, second = second or list(islice(rest, most)), []
