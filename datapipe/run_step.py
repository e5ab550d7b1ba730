"""Runs one step over all its records and writes what came of each.

::

    out/kept.jsonl      {"id": "01-8f2c...", "path": "/data/lectures/01.mp4", "duration": 3601.2, ...}
    out/dropped.jsonl   {"record": {"path": ...}, "reason": "shorter than 60 s"}
    out/failed.jsonl    {"record": {"path": ...}, "error": "NotAVideoError: ..."}
    out/step.json       {"step": "probe_video", "version": 1, "config": {"min_seconds": 60.0}, "input": "videos"}

One process, one record after another, every line flushed when it is known. It does not resume.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from datapipe.records import Dropped, Failed, Kept
from datapipe.source import read_source
from datapipe.step import Step
from longvt_plugins.errors import ConfigError

OUTCOMES = {Kept: "kept", Dropped: "dropped", Failed: "failed"}


def run_step(step: Step[Any, Any], source: str | Path, output: str | Path) -> Counter[str]:
    """Runs a step and writes the three files.

    Args:
        step: With its configuration.
        source: See :func:`datapipe.source.read_source`.
        output: Folder for the results; those of an earlier run are overwritten.

    Returns:
        How many records were ``"kept"``, ``"dropped"`` and ``"failed"``.

    Raises:
        ConfigError: The source cannot be read, or the folder not be written.
    """
    output = Path(output)
    records = read_source(source)
    paths = {name: output / f"{name}.jsonl" for name in OUTCOMES.values()}
    if Path(source).resolve() in [path.resolve() for path in paths.values()]:
        raise ConfigError(f"input {source} would be overwritten by the results: give another --output")
    counts: Counter[str] = Counter(dict.fromkeys(OUTCOMES.values(), 0))
    with ExitStack() as stack:
        try:
            output.mkdir(parents=True, exist_ok=True)
            (output / "step.json").write_text(_json(_provenance(step, source)) + "\n", encoding="utf-8")
            files = {name: stack.enter_context(path.open("w", encoding="utf-8")) for name, path in paths.items()}
        except OSError as error:
            raise ConfigError(f"output {output} cannot be written: {error.strerror}") from error
        for name, line in _outcomes(step, records):
            counts[name] += 1
            _write_line(files[name], line)
    return counts


def _outcomes(step: Step[Any, Any], records: list[Any]) -> Iterator[tuple[str, Any]]:
    for value in records:
        try:
            record = step.read_record(value)
        except ConfigError as error:
            yield "failed", {"record": value, "error": f"ConfigError: {error}"}
            continue
        match step.attempt(record):
            case Kept(made):
                yield "kept", made
            case Dropped(reason):
                yield "dropped", {"record": value, "reason": reason}
            case Failed(message):
                yield "failed", {"record": value, "error": message}


def _provenance(step: Step[Any, Any], source: str | Path) -> Mapping[str, Any]:
    return {"step": step.name, "version": step.version, "config": step, "input": str(source)}


def _write_line(file: TextIO, value: Any) -> None:
    file.write(_json(value) + "\n")
    file.flush()


def _json(value: Any) -> str:
    from pydantic_core import to_jsonable_python

    return json.dumps(to_jsonable_python(value), ensure_ascii=False)
