"""Training data as TRL reads it: rows for GRPO, conversations for SFT.

::

    load_training_rows("rl.parquet")           # a datasets.Dataset for GRPOTrainer: a row's columns and its prompt
    write_sft("sft.parquet", [{"id": "demo/12/row-3/0", "source": "rollout", "messages": [...]}])

    datasets:                                  # the recipe of a stock `trl sft --config sft.yaml`
      - path: parquet
        data_files: sft.parquet

An SFT file has the columns ``id``, ``source``, ``messages`` (JSON text) and ``images`` (always ``[]``). Frames
are files in a folder beside it, named by their pixels, so that a frame which many conversations show is stored
once; blocks hold their absolute path, since TRL opens them from wherever it was started.
It mixes and weights nothing: TRL's ``datasets`` takes several files and a fraction for each.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from longvt_plugins.chat_templates import render_tools_into_system
from longvt_plugins.conversation import Form, system_message
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import Rollout
from longvt_plugins.rows import Row, read_rows
from longvt_plugins.types import Message, text_of
from longvt_plugins.video.library import VideoLibrary
from longvt_plugins.video.sampling import FrameSampling

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, Features
    from PIL import Image

_BATCH = 64
"""Conversations held in memory while an SFT file is written; their frames are on disk by then."""


class SftExample(TypedDict):
    """One conversation to imitate. Images of its messages are PIL images, or paths where it was read from a file."""

    id: str
    source: str
    messages: list[Message]


def load_training_rows(path: str | Path, *, form: Form = "tool", prompts_dir: str | Path | None = None) -> Dataset:
    """Rows as a dataset for ``GRPOTrainer``.

    Args:
        path: Rows in ``.parquet`` or ``.jsonl``, see :mod:`longvt_plugins.rows`.
        form: How the model is told to answer.
        prompts_dir: Folder with prompts of your own.

    Returns:
        A row's columns, ``videos`` as JSON text, and ``prompt``: the system message and an empty
        user message, which the environment fills.

    Raises:
        ConfigError: A faulty row, or videos that are not there: that is told now, not at step 130.
    """
    rows = read_rows(path)
    if not rows:
        raise ConfigError(f"{path} holds no rows")
    return rows_to_dataset(rows, where=str(path), form=form, prompts_dir=prompts_dir)


def rows_to_dataset(
    rows: Sequence[Row], *, where: str = "rows", form: Form = "tool", prompts_dir: str | Path | None = None
) -> Dataset:
    """Rows that were read already as a dataset, see :func:`load_training_rows`.

    Args:
        rows: With files as they can be opened from here.
        where: Named in messages.
        form: How the model is told to answer.
        prompts_dir: Folder with prompts of your own.

    Raises:
        ConfigError: Videos that are not there.
    """
    from datasets import Dataset, Features, List, Value

    missing = sorted({file for row in rows for file in row["videos"].values() if not Path(file).is_file()})
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ConfigError(f"{where} names videos that are not there: {', '.join(missing[:3])}{more}")
    system = system_message(form, prompts_dir=prompts_dir)
    prompt = [{"role": "system", "content": system["content"]}, {"role": "user", "content": ""}]
    text = Value("string")
    features = Features(
        {
            "prompt": List({"role": text, "content": text}),
            "id": text,
            "videos": text,
            "kind": text,
            "question": text,
            "answer": text,
            "video_segment": List(Value("float64")),
            "options": List(text),
            "source": text,
        }
    )
    examples = [{**row, "videos": json.dumps(row["videos"]), "prompt": prompt} for row in rows]
    return Dataset.from_list(examples, features=features)


def messages_to_sft(messages: Sequence[Message], schemas: Sequence[Mapping[str, Any]] = ()) -> list[Message]:
    """A conversation as SFT wants it: the tools described in the system message.

    TRL drops ``tools`` for vision data; the text is the one that the chat template makes of them, so that the
    model reads the same in SFT and in RL.

    Args:
        messages: A conversation that starts with a system message, as the agent and the trace generator make them.
        schemas: Of the tools that the conversation may call, :attr:`Tool.schema`.

    Raises:
        ConfigError: Tools but no system message to describe them in.
    """
    if not schemas:
        return list(messages)
    if not messages or messages[0]["role"] != "system":
        raise ConfigError("a conversation with tools must start with a system message, which describes them")
    described = render_tools_into_system(text_of(messages[0]), schemas)
    return [{"role": "system", "content": described}, *messages[1:]]


def rollouts_to_sft(
    rollouts: Iterable[Rollout],
    schemas: Sequence[Mapping[str, Any]],
    *,
    source: str = "rollout",
    library: VideoLibrary | None = None,
) -> Iterator[SftExample]:
    """Rollouts as conversations to imitate (RFT): their frames are read from the videos again.

    Args:
        rollouts: Those worth imitating, see :func:`longvt_plugins.selection.select_rft`.
        schemas: Of the tools that the rollouts might call.
        source: Where the conversations come from, for the column of that name.
        library: Opens the videos; None is one of its own, with the built-in reader.

    Raises:
        ConfigError: A frame's video is not one of its row's.
        VideoError: A video cannot be read.
    """
    with contextlib.nullcontext(library) if library is not None else VideoLibrary() as videos:
        for rollout in rollouts:
            messages = _with_frames(rollout, videos)
            yield {"id": rollout.id, "source": source, "messages": messages_to_sft(messages, schemas)}


def write_sft(path: str | Path, examples: Iterable[SftExample], *, lossless: bool = False) -> int:
    """Writes an SFT file and the frames that it shows, which go into ``<name>_images`` beside it.

    Args:
        path: A ``.parquet`` file; it appears once it is complete.
        examples: Taken one by one, so they may be a generator over more than fits into memory.
        lossless: Frames as PNG instead of JPEG (quality 95, full colour).

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
    store = _FrameStore(_images_folder(path), lossless=lossless)
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = _sft_features().arrow_schema
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
    columns = list(SftExample.__annotations__)
    if missing := [name for name in columns if name not in table.column_names]:
        raise ConfigError(f"{path} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")
    examples = []
    for record in table.select(columns).to_pylist():
        messages = json.loads(record["messages"])
        for block in _image_blocks(messages):
            block["image"] = _found(block["image"], path)
        examples.append(cast(SftExample, {**record, "messages": messages}))
    return examples


class _FrameStore:
    """A folder of frames, each stored once under a name made of its pixels."""

    def __init__(self, folder: Path, *, lossless: bool) -> None:
        self._folder = folder
        self._lossless = lossless

    def with_files(self, example: SftExample) -> SftExample:
        messages = [_copied(message) for message in example["messages"]]
        for block in _image_blocks(messages):
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


@dataclass(frozen=True)
class _SizeAsShown(FrameSampling):
    """Frames of one given size: that in which a rollout showed them."""

    width: int = 28
    height: int = 28

    def size(self, width: int, height: int, *, frames: int = 1) -> tuple[int, int]:
        return self.width, self.height


def _with_frames(rollout: Rollout, library: VideoLibrary) -> list[Message]:
    """The conversation with PIL images instead of references; each video is read in one go."""
    messages = [_copied(message) for message in rollout.messages]
    wanted: dict[str, dict[tuple[int, int], list[dict[str, Any]]]] = {}
    for block in _image_blocks(messages):
        reference = block["image"]
        if isinstance(reference, Mapping):
            size = (reference["width"], reference["height"])
            wanted.setdefault(reference["video"], {}).setdefault(size, []).append(block)
    for name, sizes in wanted.items():
        if name not in rollout.row["videos"]:
            raise ConfigError(f"rollout {rollout.id}: a frame is of {name!r}, which is not a video of its row")
        with library.open(rollout.row["videos"][name]) as video:
            for (width, height), blocks in sizes.items():
                times = sorted({block["image"]["time"] for block in blocks})
                frames = video.frames(times, _SizeAsShown(width=width, height=height))
                images = {time: frame.image for time, frame in zip(times, frames, strict=True)}
                for block in blocks:
                    block["image"] = images[block["image"]["time"]]
    return messages


def _copied(message: Message) -> Message:
    content = message["content"]
    return {**message, "content": [block.copy() for block in content] if isinstance(content, list) else content}


def _image_blocks(messages: Iterable[Message]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message["content"]
        for block in content if isinstance(content, list) else ():
            if block["type"] == "image":
                yield cast(dict[str, Any], block)


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


def _sft_features() -> Features:
    from datasets import Features, Json, List, Value

    # JSON, because Arrow would merge the blocks into one struct and fill the fields that each lacks with nulls.
    return Features(
        {"id": Value("string"), "source": Value("string"), "messages": Json(), "images": List(Value("string"))}
    )


def _table(batch: list[SftExample], schema: pa.Schema, arrow: Any) -> pa.Table:
    texts = arrow.array([json.dumps(example["messages"], ensure_ascii=False) for example in batch])
    columns = [
        arrow.array([example["id"] for example in batch]),
        arrow.array([example["source"] for example in batch]),
        arrow.ExtensionArray.from_storage(schema.field("messages").type, texts),
        arrow.array([[] for _ in batch], schema.field("images").type),
    ]
    return arrow.Table.from_arrays(columns, schema=schema)
