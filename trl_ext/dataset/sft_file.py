"""SFT files: conversations with their frames beside them, as the stock ``trl sft`` reads them.

::

    write_sft("sft.parquet", [{"id": "demo/12/row-3/0", "source": "rollout", "messages": [...]}])

    datasets:                                  # the recipe of a stock `trl sft --config sft.yaml`
      - path: parquet
        data_files: sft.parquet

The columns are ``id``, ``source``, ``messages`` (JSON text) and ``images`` (always ``[]``), and where it was asked for
``length``, a conversation's tokens. Frames are files in a folder beside it, named by their pixels, so that a frame
which many conversations show is stored once; blocks hold their absolute path, since TRL opens them from wherever it
was started. It mixes and weights nothing: see :mod:`trl_ext.dataset.mixture`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import Message
from trl_ext.dataset.blocks import copied, image_blocks

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Features
    from PIL import Image

_BATCH = 64
"""Conversations held in memory while an SFT file is written; their frames are on disk by then."""


class SftExample(TypedDict):
    """One conversation to imitate. Images of its messages are PIL images, or paths where it was read from a file."""

    id: str
    source: str
    messages: list[Message]
    length: NotRequired[int]


def write_sft(
    path: str | Path,
    examples: Iterable[SftExample],
    *,
    lossless: bool = False,
    lengths: bool = False,
    images: str | Path | None = None,
) -> int:
    """Writes an SFT file and the frames that it shows.

    Args:
        path: A ``.parquet`` file; it appears once it is complete.
        examples: Taken one by one, so they may be a generator over more than fits into memory.
        lossless: Frames as PNG instead of JPEG (quality 95, full colour).
        lengths: Whether every conversation has its ``length`` in tokens, for a column of that name.
        images: Folder of the frames; ``<name>_images`` beside the file by default.

    Returns:
        How many conversations were written.

    Raises:
        ConfigError: Another format, or an image that is neither a PIL image nor a path.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path).absolute()
    if path.suffix != ".parquet":
        raise ConfigError(f"SFT data is written as .parquet, not {path.name}")
    folder = Path(images).absolute() if images is not None else _images_folder(path)
    store = _FrameStore(folder, lossless=lossless)
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = _sft_features(lengths=lengths).arrow_schema
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    written = 0
    try:
        with pq.ParquetWriter(unfinished, schema) as writer:
            for batch in _batches(store.with_files(example) for example in examples):
                writer.write_table(_table(batch, schema, pa))
                written += len(batch)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return written


def read_sft(path: str | Path) -> list[SftExample]:
    """Reads an SFT file; images are paths, found beside the file if both were moved.

    Raises:
        ConfigError: No such file, other columns, or frames that are nowhere.
    """
    import pyarrow.parquet as pq

    path = Path(path).absolute()
    if not path.is_file():
        raise ConfigError(f"no SFT data at {path}")
    table = pq.read_table(path)
    columns = ["id", "source", "messages"]
    if missing := [name for name in columns if name not in table.column_names]:
        raise ConfigError(f"{path} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")
    examples = []
    for record in table.select(columns).to_pylist():
        messages = json.loads(record["messages"])
        for block in image_blocks(messages):
            block["image"] = _found(block["image"], path)
        examples.append(cast(SftExample, {**record, "messages": messages}))
    return examples


class _FrameStore:
    """A folder of frames, each stored once under a name made of its pixels."""

    def __init__(self, folder: Path, *, lossless: bool) -> None:
        self._folder = folder
        self._lossless = lossless

    def with_files(self, example: SftExample) -> SftExample:
        messages = [copied(message) for message in example["messages"]]
        for block in image_blocks(messages):
            block["image"] = self._file(block["image"], example["id"])
        return {**example, "messages": messages}

    def _file(self, image: Any, where: str) -> str:
        from PIL import Image

        if isinstance(image, str) and Path(image).is_file():
            return str(Path(image).absolute())
        if not isinstance(image, Image.Image):
            raise ConfigError(f"{where}: an image must be a PIL image or the path of a file, not {str(image)[:80]!r}")
        pixels = f"{image.mode} {image.size} ".encode() + image.tobytes()
        path = self._folder / f"{hashlib.sha256(pixels).hexdigest()[:32]}.{'png' if self._lossless else 'jpg'}"
        if not path.exists():
            self._save(image, path)
        return str(path)

    def _save(self, image: Image.Image, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
        if self._lossless:
            image.save(unfinished, format="PNG", compress_level=1)
        else:
            image.convert("RGB").save(unfinished, format="JPEG", quality=95, subsampling=0)
        unfinished.replace(path)


def _images_folder(path: Path) -> Path:
    return path.with_name(f"{path.stem}_images")


def _found(image: Any, path: Path) -> str:
    for candidate in (Path(image), _images_folder(path) / Path(image).name):
        if candidate.is_file():
            return str(candidate)
    raise ConfigError(f"{path} shows {image}, which is neither there nor in {_images_folder(path)}")


def _batches(examples: Iterable[SftExample]) -> Iterator[list[SftExample]]:
    batch: list[SftExample] = []
    for example in examples:
        batch.append(example)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _sft_features(*, lengths: bool) -> Features:
    from datasets import Features, Json, List, Value

    # JSON, because Arrow would merge the blocks into one struct and fill the fields that each lacks with nulls.
    columns = {"id": Value("string"), "source": Value("string"), "messages": Json(), "images": List(Value("string"))}
    return Features(columns | ({"length": Value("int64")} if lengths else {}))


def _table(batch: list[SftExample], schema: pa.Schema, arrow: Any) -> pa.Table:
    texts = arrow.array([json.dumps(example["messages"], ensure_ascii=False) for example in batch])
    columns = [
        arrow.array([example["id"] for example in batch]),
        arrow.array([example["source"] for example in batch]),
        arrow.ExtensionArray.from_storage(schema.field("messages").type, texts),
        arrow.array([[] for _ in batch], schema.field("images").type),
    ]
    if "length" in schema.names:
        columns.append(arrow.array([example["length"] for example in batch], schema.field("length").type))
    return arrow.Table.from_arrays(columns, schema=schema)
