"""Where records come from: a folder of videos, a text file with a path a line, or JSONL.

::

    lectures/01.mp4   ->   {"path": "/data/lectures/01.mp4", "place": "lectures/01.mp4"}

``place`` is where the file lies in its collection, so that ids stay when the collection is moved. What a
previous step wrote (``kept.jsonl``) is given on unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError

VIDEO_SUFFIXES = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv")


def read_source(path: str | Path) -> list[Any]:
    """Reads all records; they are small, and a fault in line 9,000 is told before any work is done.

    Args:
        path: A folder (searched with its sub-folders, in the order of the names), a ``.jsonl`` file, or a
            text file. A relative ``path`` lies beside the file; the rest of a JSON record is not touched.

    Raises:
        ConfigError: Nothing there, nothing in it, or a faulty line, by its number.
    """
    path = Path(path)
    try:
        records = list(_folder(path) if path.is_dir() else _lines(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not UTF-8 text: {error}"
        raise ConfigError(f"input {path} cannot be read: {reason}") from error
    if not records:
        wanted = f"a video ({', '.join(VIDEO_SUFFIXES)})" if path.is_dir() else "a record"
        raise ConfigError(f"input {path} does not hold {wanted}")
    return records


def _folder(root: Path) -> Iterator[dict[str, str]]:
    for file in sorted(root.rglob("*")):
        if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file():
            yield {"path": str(file.absolute()), "place": file.relative_to(root).as_posix()}


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if path.suffix != ".jsonl":
                yield _placed({"path": line.strip()}, path.parent)
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{path}, line {number} is not JSON: {error}") from None
            yield _placed(value, path.parent)


def _placed(value: Any, folder: Path) -> Any:
    """A relative ``path`` becomes an absolute one, and is remembered as the place."""
    if isinstance(value, dict) and isinstance(value.get("path"), str) and not Path(value["path"]).is_absolute():
        return {"place": value["path"], **value, "path": str((folder / value["path"]).absolute())}
    return value
