"""Whether the data of the tasks that are asked for is there and its videos open, without lmms-eval's slow start.

::

    list(check_data(known_tasks(["lvbench_tool"]), os.environ))      # one finding for each benchmark

A few videos of each folder are opened and one frame of each is read. Whether every video of every question is there is
said by the tasks themselves, before the first question is asked.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_ext.tasks.base_task import DATA_VARIABLE, annotation_files, data_roots, folder_in
from eval_ext.tasks.benchmarks import BENCHMARKS
from eval_ext.tasks.catalogue import SYNTHETIC, Entry
from eval_ext.tasks.row_files import read_task_rows
from longvt_plugins.errors import LongvtError, MissingExtraError
from longvt_plugins.finding import Finding, blocker, ok, warning
from longvt_plugins.video.container import VIDEO_SUFFIXES
from longvt_plugins.video.video import Video

SAMPLE = 3
"""Videos of each benchmark that are opened."""

PATIENCE_SECONDS = 60.0
"""For each of them."""

_MOST_FILES = 20_000
"""Files of a folder that are looked at to find some videos."""


def check_data(named: Iterable[Entry], environ: Mapping[str, str]) -> Iterator[Finding]:
    """Looks at the data of tasks.

    Args:
        named: Tasks of ours.
        environ: ``os.environ``, at the edge: it says where data lies.
    """
    asked = {(entry.benchmark, entry.form): entry for entry in named}
    folders: dict[Path, Finding] = {}
    for (name, form), entry in asked.items():
        if name == SYNTHETIC:
            folders.setdefault(Path(SYNTHETIC), _rows(environ))
            continue
        benchmark = next(known for known in BENCHMARKS if known.name == name)
        assert form is not None, "a task has one form"
        task = _read_yaml(benchmark.base_for(form))
        if task is None:
            yield blocker("data", f"this lmms-eval has no task behind {entry.name}", "pip install 'lmms-eval>=0.7.3'")
            continue
        folder = folder_in(data_roots(environ), task["dataset_kwargs"]["cache_dir"])
        if folder not in folders:
            folders[folder] = _benchmark(name, folder, task, environ)
    yield from folders.values()


def _benchmark(name: str, folder: Path, task: Mapping[str, Any], environ: Mapping[str, str]) -> Finding:
    hub = task["dataset_path"]
    cure = f"hf download {hub} --repo-type dataset --local-dir {folder}, and unpack its archives there"
    if not annotation_files(folder, task.get("dataset_name"), task["test_split"]):
        if environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
            return blocker("data", f"{name}: no annotations in {folder}, and HF_HUB_OFFLINE is set", cure)
        return warning("data", f"{name}: no annotations in {folder}: lmms-eval will get {hub}, videos and all", cure)
    videos = list(itertools.islice(_videos(folder), SAMPLE))
    if not videos:
        return blocker("data", f"{name}: no videos in {folder}", cure)
    return _opened(name, videos, f"annotations in {folder}")


def _rows(environ: Mapping[str, str]) -> Finding:
    try:
        rows = read_task_rows(environ, DATA_VARIABLE)
    except (LongvtError, OSError) as error:
        return blocker("data", f"{SYNTHETIC}: {error}", "longvt synth makes such data: docs/guide.md")
    files = dict.fromkeys(Path(file) for row in rows for file in row["videos"].values())
    return _opened(SYNTHETIC, list(files)[:SAMPLE], f"{len(rows)} questions")


def _opened(name: str, videos: Sequence[Path], there: str) -> Finding:
    for file in videos:
        try:
            with Video.open(file, time_limit=PATIENCE_SECONDS) as video:
                video.frame_at(0.0)
        except LongvtError as error:
            return blocker(
                "data", f"{name}: {error}", "get the file again: longvt video probe tells what is wrong with it"
            )
    return ok("data", f"{name}: {there}; of the videos {len(videos)} were opened")


def _videos(folder: Path) -> Iterator[Path]:
    """Videos below a folder, found without listing all of a large one."""
    seen = 0
    for where, _, names in os.walk(folder):
        for name in sorted(names):
            seen += 1
            if seen > _MOST_FILES:
                return
            if name.lower().endswith(VIDEO_SUFFIXES):
                yield Path(where, name)


def _read_yaml(yaml_file: str) -> dict[str, Any] | None:
    """A task of lmms-eval as its file has it, what it includes taken in and functions left out; None without one."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads data; what a tag such as ``!function`` names is not looked up."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    spec = importlib.util.find_spec("lmms_eval")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("lmms-eval", "eval", "to evaluate")
    path = Path(spec.submodule_search_locations[0], "tasks", yaml_file)
    if not path.is_file():
        return None
    task: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader)
    included = task.pop("include", None)
    if isinstance(included, str) and path.with_name(included).is_file():
        task = yaml.load(path.with_name(included).read_text(encoding="utf-8"), Loader) | task
    return task
