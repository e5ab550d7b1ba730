"""The same data in the shape in which LongVT published its own (`longvideotool/LongVT-Parquet`).

::

    longvt_sft_datapipe_1k2.parquet     id, messages: the video as a block, calls and replies as text, frames as files
    longvt_rl_datapipe_340.parquet      data_source, prompt, videos, ability, reward_model, extra_info: verl's columns
    frames/                             what `crop_video` replied, a JPEG each

The columns of RL are those that LongVT's preparation and reward scripts read; those of SFT are OpenAI's, as far as
projects that use the files show. Whole frames are decoded anew from the videos, in the size in which they were shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapipe.export.parts import Written
from datapipe.export.training import ExportedFile, ExportOptions, questions, traces
from datapipe.records import QAPair, Trace, digest
from datapipe.store import Store
from longvt_plugins.errors import ConfigError
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.types import text_of
from longvt_plugins.video.config import VideoConfig
from longvt_plugins.video.library import VideoLibrary
from longvt_plugins.video.sampling import OVERVIEW, FrameSampling

if TYPE_CHECKING:
    import pyarrow as pa

DATA_SOURCE = "datapipe"
ABILITY = "video_tool"

_BATCH = 64
"""Rows held in memory."""

_MULTIPLE = 28
"""Width and height of frames are multiples of it (Qwen2.5-VL)."""


def size_name(count: int) -> str:
    """How LongVT writes a number into a file's name: 340, 1k2, 15k3, 166k.

    >>> [size_name(count) for count in (340, 1_240, 15_353, 165_575)]
    ['340', '1k2', '15k4', '166k']
    """
    if count < 1_000:
        return str(count)
    if count < 100_000:
        tenths = round(count / 100)
        return f"{tenths // 10}k{tenths % 10}" if tenths % 10 else f"{tenths // 10}k"
    return f"{round(count / 1_000)}k"


def verl_rows(pairs: Iterable[QAPair]) -> Iterator[dict[str, Any]]:
    """Questions as verl reads them; what has fields of its own is a struct of fixed fields or JSON text."""
    for index, pair in enumerate(pairs):
        window = [pair.start, pair.end]
        yield {
            "data_source": DATA_SOURCE,
            "prompt": [{"role": "user", "content": f"<video>{pair.question}"}],
            "videos": [
                {
                    "type": "video",
                    "video": pair.path,
                    "fps": OVERVIEW.fps,
                    "max_frames": OVERVIEW.max_frames,
                    "max_pixels": OVERVIEW.max_pixels,
                }
            ],
            "ability": ABILITY,
            "reward_model": {"style": "model", "ground_truth": pair.answer},
            "extra_info": {
                "index": index,
                "id": pair.id,
                "question": pair.question,
                "answer": pair.answer,
                "video_segment": window,
                "options": list(pair.options) if pair.options is not None else None,
                "need_tools_kwargs": True,
                "tools_kwargs": {"crop_video": {"create_kwargs": {"video_path": pair.path}}},
            },
        }


def sft_rows(traces: Iterable[Trace], folder: Path, library: VideoLibrary) -> Iterator[dict[str, Any]]:
    """Traces as LongVT's conversations; frames are written below the folder.

    Args:
        traces: With the references of their frames.
        folder: Of the file; ``frames`` is made in it.
        library: Opens the videos.

    Raises:
        VideoError: A frame cannot be read again.
    """
    for trace in traces:
        yield {"id": trace.id, "source": DATA_SOURCE, "messages": list(_messages(trace, folder, library))}


def _messages(trace: Trace, folder: Path, library: VideoLibrary) -> Iterator[dict[str, Any]]:
    is_asked = False
    replies = 0
    for message in trace.messages:
        role = message["role"]
        if role == "user" and not is_asked:
            is_asked = True
            # The overview is the video itself: its frames are sampled when it is read.
            yield _message("user", [_block("video_url", trace.path), _block("text", trace.question)])
        elif role == "tool":
            frames = _frames(trace, message, folder, replies, library)
            said = text_of(_texts_alone(message))
            yield _message(
                "user",
                [
                    _block("text", "<tool_response>"),
                    *(_block("image_url", frame) for frame in frames),
                    _block("text", f"{said}</tool_response>"),
                ],
            )
            replies += 1
        else:
            yield _message(role, [_block("text", _said(message, trace))])


def _said(message: Mapping[str, Any], trace: Trace) -> str:
    """What was written in a turn, its calls as text, the video by its file."""
    calls = []
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = function["arguments"]
        if isinstance(arguments, dict) and "video_path" in arguments:
            arguments = {**arguments, "video_path": trace.path}
        written = json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)
        calls.append(f"<tool_call>{written}</tool_call>")
    return "\n".join(part for part in (text_of(_texts_alone(message)), *calls) if part)


def _texts_alone(message: Mapping[str, Any]) -> Any:
    content = message.get("content")
    if isinstance(content, str) or content is None:
        return {"content": content}
    return {"content": [block for block in content if block.get("type") == "text"]}


def _frames(trace: Trace, message: Mapping[str, Any], folder: Path, reply: int, library: VideoLibrary) -> list[str]:
    content = message.get("content")
    blocks = content if isinstance(content, list | tuple) else ()
    shown = [block["image"] for block in blocks if block.get("type") == "image"]
    if not shown:
        return []
    sampling = _Given(width=int(shown[0]["width"]), height=int(shown[0]["height"]))
    # Ids hold letters that not every file system takes.
    stem = digest([trace.id, reply])[:16]
    places = []
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    with library.open(trace.path) as video:
        frames = video.frames([float(image["time"]) for image in shown], sampling)
        for number, (frame, image) in enumerate(zip(frames, shown, strict=True)):
            if image.get("region"):
                part = video.frame_at(float(image["time"])).cut(image["region"])
                frame = part.resized((int(image["width"]), int(image["height"])))  # noqa: PLW2901 - the same, but a part
            name = f"frames/{stem}_{number}.jpg"
            # 44 dB at a twentieth of the time that PNG takes; thin coloured text survives.
            frame.image.convert("RGB").save(folder / name, "JPEG", quality=95, subsampling=0)
            places.append(name)
    return places


@dataclass(frozen=True)
class _Given(FrameSampling):
    """Frames of the size in which they were shown."""

    width: int = _MULTIPLE
    height: int = _MULTIPLE

    def size(self, width: int, height: int, *, frames: int = 1) -> tuple[int, int]:
        return self.width, self.height


def _message(role: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"role": role, "content": content}


def _block(kind: str, value: str) -> dict[str, Any]:
    """All blocks have the same fields, as Arrow stores them in the published files."""
    empty: dict[str, Any] = {"type": kind, "text": None, "image_url": None, "video_url": None}
    return {**empty, kind: value if kind == "text" else {"url": value}}


def export_published(stores: Sequence[Store], folder: Path, options: ExportOptions) -> list[ExportedFile]:
    """Writes the files for which there are steps, one of each kind.

    Args:
        stores: All shares of a run.
        folder: Where to.
        options: What.

    Raises:
        ConfigError: Nothing to export, or a step whose records are of another kind.
        VideoError: A frame of a trace cannot be read again.
    """
    known = {step for store in stores for step in store.steps()}
    done = []
    for name, step in options.steps.items():
        if step not in known:
            continue
        file = ExportedFile(name, step)
        for old in folder.glob(f"longvt_{_stage(name)}_*.parquet"):
            old.unlink()
        unfinished = folder / f".{name}.parquet"
        if name in ("rl", "benchmark"):
            count = _write(verl_rows(questions(stores, file, options)), unfinished, _verl_schema())
        else:
            library = VideoLibrary(VideoConfig(), create_plugin_manager())
            try:
                count = _write(sft_rows(traces(stores, file, options), folder, library), unfinished, _sft_schema())
            finally:
                library.close()
        final = f"longvt_{_stage(name)}_{DATA_SOURCE}_{size_name(count)}.parquet"
        if count:
            unfinished.replace(folder / final)
        else:
            unfinished.unlink()
        file.written = Written([final] if count else [], count)
        done.append(file)
    if not done:
        raise ConfigError(f"nothing to export; the run has the steps {', '.join(sorted(known)) or 'none'}")
    return done


def _stage(name: str) -> str:
    """LongVT's benchmark file is the validation part of RL."""
    return "rl_val" if name == "benchmark" else name


def _write(rows: Iterable[dict[str, Any]], path: Path, schema: pa.Schema) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    source = iter(rows)
    with pq.ParquetWriter(path, schema) as writer:
        while batch := list(islice(source, _BATCH)):
            count += len(batch)
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    return count


def _verl_schema() -> pa.Schema:
    import pyarrow as pa

    text, whole = pa.string(), pa.int64()
    video = pa.struct(
        [("type", text), ("video", text), ("fps", pa.float64()), ("max_frames", whole), ("max_pixels", whole)]
    )
    create = pa.struct([("create_kwargs", pa.struct([("video_path", text)]))])
    extra = pa.struct(
        [
            ("index", whole),
            ("id", text),
            ("question", text),
            ("answer", text),
            ("video_segment", pa.list_(pa.float64())),
            ("options", pa.list_(text)),
            ("need_tools_kwargs", pa.bool_()),
            ("tools_kwargs", pa.struct([("crop_video", create)])),
        ]
    )
    return pa.schema(
        [
            ("data_source", text),
            ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("videos", pa.list_(video)),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", extra),
        ]
    )


def _sft_schema() -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    url = pa.struct([("url", text)])
    block = pa.struct([("type", text), ("text", text), ("image_url", url), ("video_url", url)])
    message = pa.struct([("role", text), ("content", pa.list_(block))])
    return pa.schema([("id", text), ("source", text), ("messages", pa.list_(message))])
