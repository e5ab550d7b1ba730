"""One step by itself: a recipe of one line, whose results are also written as JSON lines.

::

    out/kept.jsonl      {"id": "01-8f2c...", "path": "/data/lectures/01.mp4", "duration": 3601.2, ...}
    out/dropped.jsonl   {"record": {"path": ...}, "reason": "shorter than 60 s"}
    out/failed.jsonl    {"record": {"path": ...}, "error": "NotAVideoError: ..."}
    out/step.json       {"step": "probe_video", "version": 1, "config": {"min_seconds": 60.0}, "input": "videos"}

``kept.jsonl`` is the input of the next step. One share of several writes ``kept-00003-of-00008.jsonl``. The work
folder of the run lies beside these files: run again, it goes on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from datapipe.plan import config_record, installed_steps
from datapipe.recipe import Recipe, RecipeStep
from datapipe.run import RunOptions, run_recipe
from datapipe.runner import RunResult, View
from datapipe.source import Shard
from datapipe.store import SOURCE, Store
from datapipe.workdir import STORE
from longvt_plugins.chat import ChatConfig
from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from datapipe.step import Step
    from longvt_plugins.registry import Registry


@dataclass(frozen=True)
class StepSettings:
    """How a step is run by itself.

    Attributes:
        config: Its fields.
        beside: Files with the records that it looks at besides, by the names in ``Step.beside``.
        models: Who may be asked, by name; as :func:`datapipe.recipe.read_models` gives them.
        offline: Which of them are the offline reader.
        seed: Of everything that is drawn.
        options: Which share, and how much.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Path] = field(default_factory=dict)
    models: Mapping[str, ChatConfig] = field(default_factory=dict)
    offline: tuple[str, ...] = ()
    seed: int = 0
    options: RunOptions = field(default_factory=RunOptions)


def run_step(
    name: str,
    source: str | Path,
    output: str | Path,
    settings: StepSettings,
    *,
    view: View | None = None,
    steps: Registry[type[Step[Any, Any]]] | None = None,
) -> tuple[Counter[str], RunResult]:
    """Runs a step and writes the files.

    Args:
        name: Of an installed step.
        source: See :func:`datapipe.source.read_source`.
        output: Folder for the results.
        settings: How.
        view: Is told how it goes.
        steps: Those that may be named; None: the installed ones.

    Returns:
        How many outcomes were ``"kept"``, ``"dropped"`` and ``"failed"``, and how the run ended.

    Raises:
        ConfigError: The source cannot be read, the folder not be written, or a setting makes no sense.
    """
    output = Path(output)
    shard = settings.options.shard
    suffix = "" if shard.count == 1 else shard.name.removeprefix("shard")
    files = {kind: output / f"{kind}{suffix}.jsonl" for kind in ("kept", "dropped", "failed")}
    for given in [Path(source), *settings.beside.values()]:
        if given.resolve() in [path.resolve() for path in files.values()]:
            raise ConfigError(f"input {given} would be overwritten by the results: give another --output")
    if not Path(source).exists():
        raise ConfigError(f"input {source} cannot be read: No such file or directory")
    steps = steps or installed_steps()
    step = steps.get(name).from_config(settings.config)
    beside = {wanted: f"@{wanted}" for wanted in settings.beside}
    recipe = Recipe(
        where=f"step {name}",
        source=Path(source),
        models=settings.models if step.uses_chat else {},
        offline=settings.offline if step.uses_chat else (),
        steps=(RecipeStep(name, name, beside=beside, config=settings.config),),
        seed=settings.seed,
        more_inputs={f"@{wanted}": path for wanted, path in settings.beside.items()},
    )
    try:
        output.mkdir(parents=True, exist_ok=True)
        told = {"step": name, "version": step.version, "config": config_record(step), "input": str(source)}
        (output / "step.json").write_text(json.dumps(told, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"output {output} cannot be written: {error.strerror}") from error
    try:
        result = run_recipe(recipe, output, settings.options, view=view, steps=steps)
    finally:
        counts = write_results(output, shard, name, files)
    return counts, result


def write_results(output: Path, shard: Shard, step: str, files: Mapping[str, Path]) -> Counter[str]:
    """Writes what a share has come to so far as JSON lines.

    Returns:
        How many lines each file has.
    """
    counts: Counter[str] = Counter(dict.fromkeys(files, 0))
    path = output / shard.name / STORE
    if not path.is_file():
        return counts
    store = Store(path, read_only=True)
    try:
        counts["kept"] = _write_lines(files["kept"], store.kept(step))
        counts["dropped"] = _write_lines(files["dropped"], _rejected(store, step, "dropped", "reason"))
        counts["failed"] = _write_lines(files["failed"], _rejected(store, step, "failed", "error"))
    finally:
        store.close()
    return counts


def _rejected(store: Store, step: str, kind: Literal["dropped", "failed"], said: str) -> Iterable[dict[str, Any]]:
    for entry in store.rejected(step, kind):
        # What a step did not name is what it was given; of a step per video, the video's id.
        given = entry["record"] if entry["record"] is not None else store.record(SOURCE, entry["unit"])
        yield {"record": given if given is not None else entry["unit"], said: entry["reason"]}


def _write_lines(path: Path, values: Iterable[Any]) -> int:
    count = 0
    unfinished = path.with_name(f".{path.name}")
    with unfinished.open("w", encoding="utf-8") as file:
        for value in values:
            file.write(json.dumps(value, ensure_ascii=False) + "\n")
            count += 1
    unfinished.replace(path)
    return count
