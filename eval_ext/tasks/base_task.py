"""The task of lmms-eval behind one of our benchmarks: its documents, prompts and files, as installed.

::

    base = load_base("lvbench/lvbench.yaml", environ)
    base.docs[0]["question"], base.text(base.docs[0]), base.video(base.docs[0])

Nothing of it is copied here. Its files lie in a folder of its own, such as ``lvbench``, below ``LONGVT_DATA`` or else
``HF_HOME``; annotations that lie there too are read, others come from the Hub by lmms-eval's own download.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_ext.tasks.benchmarks.benchmark import Doc
from longvt_plugins.errors import ConfigError

DATA_VARIABLE, HOME_VARIABLE = "LONGVT_DATA", "HF_HOME"
DEFAULT_HOME = "~/.cache/huggingface"
"""lmms-eval's own, where ``HF_HOME`` is not set."""

_SPLITS = {"test": ("test",), "train": ("train",), "validation": ("validation", "val")}
"""What files of a split are called."""


@dataclass(frozen=True)
class Base:
    """A task of lmms-eval, as far as ours need it.

    Attributes:
        name: Its own.
        docs: All documents, without their pictures.
        text: The prompt of a document.
        video: The file of a document; None where it is not there.
        generation: How its answers are generated.
        folder: Where its videos are looked for.
        hub: Its data set.
    """

    name: str
    docs: Sequence[Doc]
    text: Callable[[Doc], str]
    video: Callable[[Doc], Path | None]
    generation: Mapping[str, Any]
    folder: Path
    hub: str

    @property
    def command(self) -> str:
        """Gets what is missing."""
        return f"hf download {self.hub} --repo-type dataset --local-dir {self.folder}, and unpack its archives there"


def load_base(yaml: str, environ: Mapping[str, str]) -> Base:
    """Loads a task of lmms-eval.

    Args:
        yaml: Below ``lmms_eval/tasks``.
        environ: ``os.environ``, at the edge.

    Raises:
        ConfigError: This lmms-eval has no such task, or its documents could not be had.
    """
    return _load(yaml, data_roots(environ))


def data_roots(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The folders below which the folder of a benchmark is looked for, the last one being lmms-eval's own.

    Args:
        environ: ``os.environ``, at the edge.
    """
    roots = [environ.get(DATA_VARIABLE), environ.get(HOME_VARIABLE) or DEFAULT_HOME]
    return tuple(str(Path(root).expanduser().absolute()) for root in roots if root)


def folder_in(roots: Sequence[str], inner: str) -> Path:
    """The folder of a benchmark.

    Args:
        roots: See :func:`data_roots`.
        inner: What lmms-eval calls it.
    """
    return next((folder for root in roots if (folder := Path(root, inner)).is_dir()), Path(roots[-1], inner))


# Every form and control of a benchmark asks about the same documents; there are nine benchmarks.
@functools.lru_cache(maxsize=16)
def _load(yaml: str, roots: tuple[str, ...]) -> Base:
    import lmms_eval.tasks
    from lmms_eval.api.task import ConfigurableTask
    from lmms_eval.utils import load_yaml_config
    from tenacity import RetryError

    path = Path(lmms_eval.tasks.__file__).parent / yaml
    if not path.is_file():
        raise ConfigError(f"this lmms-eval has no task {yaml}; ours were made for lmms-eval 0.7")
    simple = load_yaml_config(str(path), mode="simple")
    inner, split = simple["dataset_kwargs"]["cache_dir"], simple["test_split"]
    folder = folder_in(roots, inner)
    root = next(root for root in roots if Path(root, inner) == folder)
    files = annotation_files(folder, simple.get("dataset_name"), split)
    with _home(root):
        # Its functions find their files where this variable pointed when they were loaded.
        config = load_yaml_config(str(path), mode="full")
    generation, hub = dict(config.get("generation_kwargs") or {}), config["dataset_path"]
    if files:
        builder = "parquet" if files[0].endswith(".parquet") else "json"
        local = {"data_files": {split: files}}
        config |= {"dataset_path": builder, "dataset_name": None, "dataset_kwargs": local}
    try:
        task = ConfigurableTask(config=config)
    except Exception as error:
        where = f"{', '.join(files)}" if files else f"the Hub, since there are no annotations in {folder}"
        # lmms-eval tries a download five times and then says only that it did.
        cause = error.last_attempt.exception() if isinstance(error, RetryError) else error
        reason = " ".join(f"{type(cause).__name__}: {cause}".split())
        hint = f"hf download {hub} --repo-type dataset --local-dir {folder}"
        raise ConfigError(
            f"{simple['task']}: no documents from {where}: {reason[:300]}; get them with: {hint}"
        ) from error
    return Base(
        name=simple["task"],
        docs=[dict(doc) for doc in task.dataset_no_image[split]],
        text=lambda doc: str(task.doc_to_text(dict(doc))),
        video=lambda doc: _video(task, doc, root),
        generation=generation,
        folder=folder,
        hub=hub,
    )


def annotation_files(folder: Path, config: str | None, split: str) -> list[str]:
    """The files with the documents of a local copy, in the order of their names; none where there is no such copy.

    Args:
        folder: Of the benchmark.
        config: Part of the data set, such as ``Adaptation``, which is then a part of their paths.
        split: Such as ``test``, which is then a part of their names.
    """
    if not folder.is_dir():
        return []
    parquet = [path for path in folder.rglob("*.parquet") if _is_of(path.relative_to(folder), config, split)]
    # Deeper down there are subtitles and other things that are JSON, too.
    text = [path for ending in ("jsonl", "json") for path in folder.glob(f"*.{ending}")]
    text = [path for path in text if _is_of(path.relative_to(folder), config, split)]
    return sorted(map(str, parquet)) or sorted(map(str, text))


def _is_of(path: Path, config: str | None, split: str) -> bool:
    if any(part.startswith(".") for part in path.parts):
        return False
    if config is not None and config.casefold() not in str(path).casefold():
        return False
    words = path.stem.casefold().replace("_", "-").split("-")
    return any(name in words for name in _SPLITS.get(split, (split,)))


def _video(task: Any, doc: Doc, root: str) -> Path | None:
    try:
        with _home(root):
            (file,) = task.doc_to_visual(dict(doc))
    except (SystemExit, AssertionError):
        return None  # that is how they say that there is none
    return Path(file) if Path(file).is_file() else None


@contextlib.contextmanager
def _home(root: str) -> Iterator[None]:
    """``HF_HOME`` is this folder, for lmms-eval's functions, which take no other argument."""
    before = os.environ.get(HOME_VARIABLE)
    os.environ[HOME_VARIABLE] = root
    try:
        yield
    finally:
        if before is None:
            del os.environ[HOME_VARIABLE]
        else:
            os.environ[HOME_VARIABLE] = before
