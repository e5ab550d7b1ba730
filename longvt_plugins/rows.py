"""Training and benchmark rows: a question about videos, its answer, and where the evidence is.

One row on disk (JSONL; in parquet ``videos`` is the same JSON as text)::

    {"id": "tiny-7-00012-what", "videos": {"video_1.mp4": "videos/00012.mp4"}, "kind": "choice",
     "question": "Which colour does the lamp flash in video_1.mp4?", "answer": "red",
     "video_segment": [48.6, 79.1], "options": ["red", "blue"], "source": "longvt_synthetic"}

``videos`` maps the names that the model reads to files; relative files lie beside the rows file. A file is
read whole or not at all: one faulty row raises, by its line, rather than being left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import TimeSpan

RowKind = Literal["open", "choice", "grounding"]


class Row(TypedDict):
    """A question about videos. ``video_segment`` is ``[start, end]`` in seconds, or None where it is not known."""

    id: str
    videos: dict[str, str]
    kind: RowKind
    question: str
    answer: str
    video_segment: list[float] | None
    options: list[str] | None
    source: str


COLUMNS = tuple(Row.__annotations__)


def parse_row(values: Mapping[str, Any], *, where: str = "row", root: Path | None = None) -> Row:
    """Checks one row and brings it into its one shape.

    Args:
        values: From JSON, parquet or a dataset; columns that are not a row's are left out.
        where: Named in messages.
        root: Folder against which relative files are resolved; None leaves them as they are.

    Raises:
        ConfigError: What is wrong with which column.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: a row is an object with {', '.join(COLUMNS)}, not {type(values).__name__}")
    missing = [name for name in ("id", "videos", "question", "answer") if values.get(name) in (None, "")]
    if missing:
        raise ConfigError(f"{where}: no {', '.join(missing)}; a row has {', '.join(COLUMNS)}")
    kind: Any = values.get("kind") or "open"
    if kind not in get_args(RowKind):
        raise ConfigError(f"{where}: kind must be one of {', '.join(get_args(RowKind))}, not {kind!r}")
    options = values.get("options")
    if isinstance(options, str):
        options = _json(options, "options", where)
    if options is not None and not (isinstance(options, list) and all(isinstance(item, str) for item in options)):
        raise ConfigError(f"{where}: options must be a list of texts or null")
    return {
        "id": _text(values["id"], "id", where),
        "videos": _videos(values["videos"], where, root),
        "kind": kind,
        "question": _text(values["question"], "question", where),
        "answer": _text(values["answer"], "answer", where),
        "video_segment": _segment(values.get("video_segment"), where),
        "options": list(options) if options is not None else None,
        "source": _text(values.get("source") or "", "source", where),
    }


def row_span(row: Row) -> TimeSpan | None:
    """Where the evidence is, or None where the row does not say."""
    return TimeSpan(*row["video_segment"]) if row["video_segment"] is not None else None


def read_rows(path: str | Path) -> list[Row]:
    """Reads rows from a ``.parquet`` or ``.jsonl`` file; relative video files are resolved beside it.

    Raises:
        ConfigError: No such file, another format, a faulty row, or two rows of one id, named by their numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"no rows file {path}")
    root = path.parent.absolute()
    rows: dict[str, tuple[str, Row]] = {}
    for where, values in _raw_rows(path):
        row = parse_row(values, where=f"{path}, {where}", root=root)
        if row["id"] in rows:
            raise ConfigError(f"{path}, {where}: id {row['id']!r} is that of {rows[row['id']][0]} already")
        rows[row["id"]] = (where, row)
    return [row for _, row in rows.values()]


def write_rows(rows: Iterable[Row], path: str | Path) -> None:
    """Writes rows to a ``.parquet`` or ``.jsonl`` file.

    Args:
        rows: Files below the folder of ``path`` are written as relative paths; files that are relative
            already count as relative to that folder.
        path: The file.

    Raises:
        ConfigError: Another format.
    """
    path = Path(path)
    root = path.parent.absolute()
    written = [{**row, "videos": {name: _relative(file, root) for name, file in row["videos"].items()}} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in written), encoding="utf-8")
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        text, numbers = pa.string(), pa.list_(pa.float64())
        types = {"video_segment": numbers, "options": pa.list_(text)}
        schema = pa.schema([(name, types.get(name, text)) for name in COLUMNS])
        # A map of names would become a struct whose missing fields are filled with nulls: JSON text has no such trap.
        table = [{**row, "videos": json.dumps(row["videos"], ensure_ascii=False)} for row in written]
        pq.write_table(pa.Table.from_pylist(table, schema=schema), path)
    else:
        raise ConfigError(f"rows are written as .parquet or .jsonl, not {path.name}")


def _raw_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Each row, not checked yet, after the place where it stands."""
    if path.suffix == ".jsonl":
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not UTF-8 text: {error}") from None
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"line {number}", _json(line, "the line", f"{path}, line {number}")
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except pa.ArrowException as error:
            raise ConfigError(f"{path} is not a parquet file that can be read: {error}") from None
        for number, values in enumerate(table.to_pylist(), start=1):
            yield f"row {number}", values
    else:
        raise ConfigError(f"rows are read from .parquet or .jsonl, not {path.name}")


def parse_object(line: str, where: str) -> dict[str, Any]:
    """A line of a JSONL file as an object.

    Args:
        line: The line.
        where: The file and the number of the line, for the error.

    Raises:
        ConfigError: It is not JSON, or something else than an object.
    """
    values = _json(line, "the line", where)
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: the line must be a JSON object, not {type(values).__name__}")
    return values


def _json(text: str, what: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: {what} is not JSON: {error}") from None


def _text(value: Any, column: str, where: str) -> str:
    if isinstance(value, str):
        return value
    # Ids and answers are often numbers in JSON; anything else would be turned into its Python spelling.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ConfigError(f"{where}: {column} must be text, not {value!r}")


def _videos(value: Any, where: str, root: Path | None) -> dict[str, str]:
    if isinstance(value, str):
        value = _json(value, "videos", where)
    # Arrow fills the keys that a row lacks with nulls when a table holds maps as structs.
    files = {name: file for name, file in value.items() if file is not None} if isinstance(value, dict) else {}
    if not files or not all(isinstance(file, str) for file in files.values()):
        raise ConfigError(f"{where}: videos must map at least one name to a file")
    return {name: str(root / file) if root is not None else file for name, file in files.items()}


def _segment(value: Any, where: str) -> list[float] | None:
    if value is None:
        return None
    numbers = list(value) if isinstance(value, list | tuple) else []
    # Text is refused even where float() would read it: "12" is not the span from 1 to 2.
    if len(numbers) != 2 or not all(isinstance(number, int | float) for number in numbers):
        raise ConfigError(f"{where}: video_segment must be [start, end] in seconds or null, not {value!r}")
    start, end = map(float, numbers)
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
        raise ConfigError(f"{where}: video_segment must satisfy 0 <= start < end, not [{start}, {end}]")
    return [start, end]


def _relative(file: str, root: Path) -> str:
    path = Path(file)
    return str(path.relative_to(root)) if path.is_absolute() and path.is_relative_to(root) else str(path)
